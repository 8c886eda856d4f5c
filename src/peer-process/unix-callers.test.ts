import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import net from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it } from "vitest";
import { systemProgram } from "./system-program.ts";
import { UnixCallers } from "./unix-callers.ts";

const isLinux = process.platform === "linux";

it.runIf(isLinux)("names the process at the other end of each of two connections to one socket", async () => {
  await using caller = await callsFromChildren();
  const callers = new UnixCallers();

  const found = await Promise.all(caller.sockets.map((socket) => callers.identify(socket)));

  const pids = found.map((one) => (one.ok ? one.value.processes.map(({ pid }) => pid) : one));
  expect(pids).toEqual(caller.pids.map((pid) => [pid]));
});

const canMakeNamespaces =
  isLinux && spawnSync("unshare", ["-n", "true"]).status === 0 && systemProgram("nsenter") !== undefined;

it.runIf(canMakeNamespaces)(
  "names the process at the other end where that is in a network namespace of its own, as in a container (needs root, util-linux)",
  async () => {
    await using caller = await callsFromChildren((node) => ["unshare", ["-n", ...node]]);
    const callers = new UnixCallers();

    const found = await Promise.all(caller.sockets.map((socket) => callers.identify(socket)));

    const pids = found.map((one) => (one.ok ? one.value.processes.map(({ pid }) => pid) : one));
    expect(pids).toEqual(caller.pids.map((pid) => [pid]));
  },
);

it.runIf(isLinux)("says of a connection that was closed that it is over", async () => {
  await using caller = await callsFromChildren();
  const [socket] = caller.sockets;
  socket?.destroy();

  expect(await new UnixCallers().identify(socket ?? new net.Socket())).toMatchObject({
    ok: false,
    reason: "connection-over",
  });
});

/** Two processes that have called at one Unix socket, one after the other. */
async function callsFromChildren(
  command: (node: string[]) => [string, string[]] = ([file = "", ...args]) => [file, args],
): Promise<
  AsyncDisposable & {
    readonly sockets: readonly net.Socket[];
    readonly pids: readonly (number | undefined)[];
  }
> {
  const folder = await mkdtemp(join(tmpdir(), "troth-unix-"));
  const path = join(folder, "socket");
  const server = net.createServer().listen(path);
  await once(server, "listening");
  const sockets: net.Socket[] = [];
  const children: ReturnType<typeof spawn>[] = [];
  for (let count = 0; count < 2; count += 1) {
    const accepted = once(server, "connection");
    const script = `require("net").connect(${JSON.stringify(path)})`;
    children.push(spawn(...command([process.execPath, "-e", script])));
    const [socket]: net.Socket[] = await accepted;
    if (socket !== undefined) sockets.push(socket);
  }
  return {
    sockets,
    pids: children.map(({ pid }) => pid),
    [Symbol.asyncDispose]: async () => {
      for (const child of children) child.kill("SIGKILL");
      for (const socket of sockets) socket.destroy();
      server.close();
      await rm(folder, { recursive: true, force: true });
    },
  };
}
