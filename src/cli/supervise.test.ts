import { once } from "node:events";
import { writeFileSync } from "node:fs";
import net from "node:net";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, expect, it } from "vitest";
import { repository } from "../../test/apparatus/running-mesh.ts";
import { temporaryFolder } from "../../test/contracts/temporary-folder.ts";
import { freePort } from "./free-port.ts";
import { HeldPort } from "./held-port.ts";
import { supervise } from "./supervise.ts";

const [node = "", script = ""] = process.argv;

// What a supervisor starts is the program that it is itself.
beforeAll(() => {
  process.argv = [node, join(repository, "test", "apparatus", "supervised-child.ts")];
});
afterAll(() => {
  process.argv = [node, script];
});

/** A supervised child on a held port, whose next start does what it is told. */
async function openSupervised(stack: AsyncDisposableStack) {
  const { path } = stack.use(await temporaryFolder());
  const heldPort = HeldPort.open(await freePort());
  if (heldPort === undefined) throw new Error("this Node.js has no BoundSocket");
  stack.use(heldPort);
  const next = (behaviour: "serve" | "fail" | "tell" | "hang"): void =>
    writeFileSync(join(path, "behaviour"), behaviour);
  next("serve");
  const supervisor = stack.use(
    await supervise({
      name: "the child",
      args: [join(path, "behaviour")],
      logFile: join(path, "log"),
      heldPort,
    }),
  );
  return { supervisor, next, ask: () => ask(heldPort.port) };
}

async function ask(port: number): Promise<number> {
  const socket = net.connect({ host: "127.0.0.1", port });
  let text = "";
  socket.on("data", (chunk) => {
    text += chunk.toString();
  });
  await once(socket, "close");
  return Number(text);
}

async function until(isSo: () => boolean): Promise<void> {
  while (!isSo()) await sleep(10);
}

function kill(pid: number | undefined): void {
  if (pid !== undefined) process.kill(pid, "SIGKILL");
}

it("gives the place of a child to another, and no connection is refused or lost meanwhile", async () => {
  await using stack = new AsyncDisposableStack();
  const { supervisor, ask: answered } = await openSupervised(stack);
  const before = supervisor.pid;
  const pids = new Set<number>();
  const over = new AbortController();
  const asking = (async () => {
    while (!over.signal.aborted) pids.add(await answered());
  })();

  await supervisor.replace(0);
  await until(() => supervisor.retiring === 0);
  const [after] = [await answered()];
  over.abort();
  await asking;

  expect(after).toBe(supervisor.pid);
  expect(after).not.toBe(before);
  expect([...pids].filter((pid) => pid !== before && pid !== after)).toEqual([]);
  expect(supervisor.addresses["args"]).toContain("--replaces");
  expect(supervisor.restarts).toBe(0);
});

it.each([
  ["fail", /^the child: it ended with 9; see .*: the last line of the log$/],
  ["tell", /^the child: no certificate$/],
] as const)("keeps the child where another does not come up, and says why: %s", async (behaviour, why) => {
  await using stack = new AsyncDisposableStack();
  const { supervisor, next, ask: answered } = await openSupervised(stack);
  const before = supervisor.pid;
  next(behaviour);

  await expect(supervisor.replace(0)).rejects.toThrow(why);

  expect(await answered()).toBe(before);
  expect([supervisor.pid, supervisor.retiring, supervisor.restarts]).toEqual([before, 0, 0]);
});

it("replaces one at a time, and none while it is started again or stopped", async () => {
  await using stack = new AsyncDisposableStack();
  const { supervisor, next } = await openSupervised(stack);
  const first = supervisor.replace(0);

  await expect(supervisor.replace(0)).rejects.toThrow("it is being replaced already");
  await first;
  next("hang");
  kill(supervisor.pid);
  await until(() => supervisor.restarts === 1);
  await expect(supervisor.replace(0)).rejects.toThrow("it is being stopped or started again");
  await supervisor[Symbol.asyncDispose]();
  await expect(supervisor.replace(0)).rejects.toThrow("it is being stopped or started again");
});

it("has one that serves where the child is killed while another is to take its place", async () => {
  await using stack = new AsyncDisposableStack();
  const { supervisor, ask: answered } = await openSupervised(stack);
  const replacing = supervisor.replace(0);
  kill(supervisor.pid);

  await replacing;

  expect(await answered()).toBe(supervisor.pid);
  expect([supervisor.retiring, supervisor.restarts]).toEqual([0, 0]);
});

it("starts the child again where it is killed while another fails to take its place", async () => {
  await using stack = new AsyncDisposableStack();
  const { supervisor, next, ask: answered } = await openSupervised(stack);
  next("tell");
  const replacing = supervisor.replace(0);
  kill(supervisor.pid);
  await expect(replacing).rejects.toThrow("no certificate");
  next("serve");

  expect(await answered()).toBe(supervisor.pid);
});

it("starts another where the one that has taken the place is killed, while the first ends what it has", async () => {
  await using stack = new AsyncDisposableStack();
  const { supervisor, ask: answered } = await openSupervised(stack);
  const before = supervisor.pid;
  await supervisor.replace(600);
  const successor = supervisor.pid;

  kill(successor);

  expect(await answered()).not.toBe(successor);
  expect([supervisor.retiring, supervisor.restarts]).toEqual([1, 1]);
  expect(supervisor.pid).not.toBe(before);
});

it("ends those that were replaced together with the child", async () => {
  await using stack = new AsyncDisposableStack();
  const { supervisor } = await openSupervised(stack);
  const pids = [supervisor.pid];
  await supervisor.replace(600);
  pids.push(supervisor.pid);

  await supervisor[Symbol.asyncDispose]();

  for (const pid of pids) expect(() => process.kill(pid ?? 0, 0)).toThrow("ESRCH");
  expect(supervisor.retiring).toBe(0);
});

it("lets no more than twelve end what they have at once", async () => {
  await using stack = new AsyncDisposableStack();
  const { supervisor } = await openSupervised(stack);
  for (let count = 0; count < 12; count += 1) await supervisor.replace(600);

  await expect(supervisor.replace(600)).rejects.toThrow("12 that were replaced still end what they have");

  expect(supervisor.retiring).toBe(12);
}, 60_000);
