import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import net from "node:net";
import { afterAll, beforeAll, expect, it, vi } from "vitest";
import { endsOf } from "./identify-caller.ts";
import { type Membership, ProcessTree } from "./process-tree.ts";
import { type ProcessStat, Procfs } from "./procfs.ts";

const isLinux = process.platform === "linux";
const isRoot = process.geteuid?.() === 0;
const mark = { name: "TEST_TREE", value: "0123456789abcdef" };

/** Runs what it is sent with node, in a way that is sent too, and says nothing. */
const connectOnce = `require("node:net").connect(+process.argv[1], "127.0.0.1").on("error", () => {}).on("close", () => process.exit())`;
/** An application that starts whatever it is told to. */
const application = `
  const { spawn } = require("node:child_process");
  process.on("message", ({ file, args, env, uid }) => spawn(file, args, { env, uid, stdio: "ignore" }));
  setInterval(() => {}, 1e6);`;

let server: net.Server;
let port: number;
let app: ChildProcess;

beforeAll(async () => {
  server = net.createServer({ pauseOnConnect: true }).listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  port = typeof address === "object" ? (address?.port ?? 0) : 0;
  app = spawn(process.execPath, ["-e", application], {
    stdio: ["ignore", "ignore", "ignore", "ipc"],
    env: marked,
  });
});

afterAll(() => {
  app.kill("SIGKILL");
  server.close();
});

const marked = { PATH: "/usr/bin:/bin", [mark.name]: mark.value };
const call = [process.execPath, "-e", connectOnce];
const quoted = (words: readonly string[]): string => words.map((word) => `'${word}'`).join(" ");

it.runIf(isLinux).each([
  [
    "a child of the application",
    (to: string) => ({ file: call[0], args: [...call.slice(1), to], env: marked }),
  ],
  [
    "a grandchild of it",
    (to: string) => ({ file: "sh", args: ["-c", `${quoted(call)} ${to}; true`], env: marked }),
  ],
  [
    "a grandchild that was given another environment",
    (to: string) => ({ file: "sh", args: ["-c", `env -i ${quoted(call)} ${to}; true`], env: marked }),
  ],
  [
    "a daemon that has left its parents, by the mark in its environment",
    (to: string) => ({
      file: "sh",
      args: ["-c", `setsid sh -c "${quoted(call).replaceAll('"', '\\"')} ${to} &"`],
      env: marked,
    }),
  ],
])("admits %s", async (_, command) => {
  const membership = await judged(newTree(), (to) => void app.send(command(to)));

  expect(membership).toMatchObject({ ok: true });
});

it.runIf(isLinux && isRoot)("admits a child of the application that has become another user", async () => {
  const membership = await judged(newTree(), (to) => {
    app.send({ file: call[0], args: [...call.slice(1), to], env: {}, uid: 65_534 });
  });

  expect(membership).toMatchObject({ ok: true });
});

it.runIf(isLinux)("refuses a process of the same user that is not of the tree, and names it", async () => {
  const membership = await judged(newTree(), (to) => spawnStranger({}, to));

  expect(membership).toMatchObject({
    ok: false,
    reason: "outside-the-tree",
    stranger: { uid: process.getuid?.(), executable: process.execPath },
  });
});

it.runIf(isLinux)("refuses a process with another mark", async () => {
  const env = { [mark.name]: `${mark.value}0`, OTHER: `${mark.name}=${mark.value}` };

  expect(await judged(newTree(), (to) => spawnStranger({ env }, to))).toMatchObject({ ok: false });
});

it.runIf(isLinux && isRoot)("refuses a process of another user, though it has the mark's name", async () => {
  const membership = await judged(newTree(), (to) => spawnStranger({ uid: 65_534, env: {} }, to));

  expect(membership).toMatchObject({ ok: false, reason: "outside-the-tree", stranger: { uid: 65_534 } });
});

it.runIf(isLinux)("refuses a daemon that has left both the tree and its environment", async () => {
  const script = `env -i setsid sh -c "${quoted(call).replaceAll('"', '\\"')} $1 &"`;

  const membership = await judged(newTree(), (to) => {
    app.send({ file: "sh", args: ["-c", script, "sh", to], env: marked });
  });

  expect(membership).toMatchObject({ ok: false, reason: "outside-the-tree" });
});

it.runIf(isLinux)("does not let a process that was given the application's number be it", async () => {
  const stranger = spawn(process.execPath, ["-e", application], {
    stdio: ["ignore", "ignore", "ignore", "ipc"],
  });
  const now = new Procfs().stat(stranger.pid ?? 0);
  class EarlierStart extends Procfs {
    /** As long as the tree is planted, the number is that of a process that started before. */
    isBefore = true;

    override stat(pid: number): ProcessStat | undefined {
      const stat = super.stat(pid);
      const isOld = this.isBefore && pid === stranger.pid && stat !== undefined;
      return isOld ? { ...stat, startedTicks: stat.startedTicks - 500 } : stat;
    }
  }
  const procfs = new EarlierStart();
  using tree = new ProcessTree(mark, procfs);
  tree.plant({ pid: stranger.pid ?? 0, startedTicks: (now?.startedTicks ?? 0) - 500 });
  procfs.isBefore = false;

  const membership = await judged(tree, (to) => {
    stranger.send({ file: call[0], args: [...call.slice(1), to], env: {} });
  });

  expect(membership).toMatchObject({ ok: false, reason: "outside-the-tree" });
  stranger.kill("SIGKILL");
});

it.runIf(isLinux)("judges what comes before the application is known once it is", async () => {
  using tree = new ProcessTree(mark);
  const waiting = judged(
    tree,
    (to) => void app.send({ file: call[0], args: [...call.slice(1), to], env: marked }),
  );
  setTimeout(() => tree.plant(statOf(app)), 50);

  expect(await waiting).toMatchObject({ ok: true });
});

it.runIf(isLinux)("answers a thousand connections at once, and refuses those beyond", async () => {
  using tree = newTree();
  const ends = { local: { address: "127.0.0.1", port: 1 }, remote: { address: "127.0.0.1", port: 2 } };

  const answers = await Promise.all(Array.from({ length: 1_100 }, () => tree.judge(ends)));

  const reasons = answers.map((answer) => (answer.ok ? "" : answer.reason));
  expect(reasons.filter((reason) => reason === "too-many-waiting").length).toBeGreaterThan(0);
  expect(new Set(reasons)).toEqual(new Set(["too-many-waiting", "not-of-this-machine"]));
});

function newTree(): ProcessTree {
  const tree = new ProcessTree(mark);
  tree.plant(statOf(app));
  return tree;
}

function statOf({ pid = 0 }: ChildProcess): ProcessStat {
  const stat = new Procfs().stat(pid);
  if (stat === undefined) throw new Error("no such process");
  return stat;
}

function spawnStranger(options: { uid?: number; env?: NodeJS.ProcessEnv }, to: string): void {
  spawn(process.execPath, ["-e", connectOnce, to], { stdio: "ignore", ...options });
}

/** Lets `connect` have somebody connect to the port that it is told, and judges the connection. */
async function judged(tree: ProcessTree, connect: (port: string) => void): Promise<Membership> {
  const accepted = once(server, "connection");
  connect(String(port));
  const [socket]: net.Socket[] = await accepted;
  const ends = socket === undefined ? undefined : endsOf(socket);
  if (socket === undefined || ends === undefined) throw new Error("no connection");
  socket.on("error", () => {});
  const membership = await tree.judge(ends);
  socket.destroy();
  return membership;
}

it.runIf(isLinux)("tells what the application and its children use, and nothing of others", async () => {
  const burning = `while (process.cpuUsage().user < 500_000); setInterval(() => {}, 1e6);`;
  const parent = spawn(process.execPath, ["-e", application], {
    stdio: ["ignore", "ignore", "ignore", "ipc"],
  });
  using tree = new ProcessTree(mark);
  tree.plant(statOf(parent));
  const mebibytes = (count: number): number => count * 1024 * 1024;
  await vi.waitUntil(() => tree.usage().memoryBytes > mebibytes(20), { timeout: 15_000 });
  const alone = tree.usage();
  parent.send({ file: process.execPath, args: ["-e", burning], env: marked });

  await vi.waitUntil(() => tree.usage().cpuMillis - alone.cpuMillis >= 300, { timeout: 15_000 });

  expect(tree.usage().memoryBytes - alone.memoryBytes).toBeGreaterThan(mebibytes(20));
  for (const pid of new Procfs().children(parent.pid ?? 0) ?? []) process.kill(pid, "SIGKILL");
  parent.kill("SIGKILL");
});
