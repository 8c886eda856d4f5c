import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import net from "node:net";
import { expect, it } from "vitest";
import { endsOf, identifyCaller, ownerOfConnection, parentsOf } from "./identify-caller.ts";
import { type ProcessStat, Procfs } from "./procfs.ts";

const isLinux = process.platform === "linux";

it.runIf(isLinux)("names the process at the other end, its user, its program and its parents", async () => {
  await using caller = await callFromChild("connect");

  const found = await identifyCaller(caller.ends);

  expect(found).toMatchObject({ ok: true, value: { uid: process.getuid?.() } });
  const [only, ...others] = found.ok ? found.value.processes : [];
  expect(others).toEqual([]);
  expect(only).toMatchObject({ pid: caller.child.pid, uid: process.getuid?.(), gid: process.getgid?.() });
  expect(only?.executable).toBe(process.execPath);
  expect(only?.parents[0]?.pid).toBe(process.pid);
  expect(only?.parents.at(-1)?.parentPid).toBe(0);
});

it.runIf(isLinux)("names every process that has the connection open", async () => {
  await using caller = await callFromChild("connect-and-share");

  const found = await identifyCaller(caller.ends);

  const pids = found.ok ? found.value.processes.map(({ pid }) => pid) : [];
  expect(pids).toHaveLength(2);
  expect(pids).toContain(caller.child.pid);
});

it.runIf(isLinux)(
  "finds a socket of IPv6 that calls an address of IPv4, and one that calls ::1",
  async () => {
    await using mapped = await callFromChild("connect", "::ffff:127.0.0.1");
    await using six = await callFromChild("connect", "::1", "::1");

    for (const { ends, child } of [mapped, six])
      expect(await identifyCaller(ends)).toMatchObject({
        ok: true,
        value: { processes: [{ pid: child.pid }] },
      });
  },
);

it.runIf(isLinux)(
  "says of a connection that the caller has closed that it is over, not that it is root's",
  async () => {
    await using caller = await callFromChild("connect");
    const exited = once(caller.child, "exit");
    caller.child.kill("SIGKILL");
    await exited;

    const owner = await ownerOfConnection(caller.ends);

    expect(owner.ok).toBe(false);
    expect(["connection-over", "not-of-this-machine"]).toContain(owner.ok ? "" : owner.reason);
  },
);

it.runIf(isLinux)("knows nobody for a connection that there is not", async () => {
  const ends = { local: { address: "127.0.0.1", port: 1 }, remote: { address: "127.0.0.1", port: 2 } };

  expect(await identifyCaller(ends)).toMatchObject({ ok: false, reason: "not-of-this-machine" });
});

it.runIf(isLinux)(
  "takes a number that was given out again while it looked for a change, not for the caller",
  async () => {
    await using caller = await callFromChild("connect");
    const { pid } = caller.child;
    class RecycledNumbers extends Procfs {
      #reads = 0;

      override stat(one: number): ProcessStat | undefined {
        const stat = super.stat(one);
        if (one !== pid || stat === undefined) return stat;
        this.#reads += 1;
        return this.#reads === 1 ? stat : { ...stat, startedTicks: stat.startedTicks + 1 };
      }
    }

    const found = await identifyCaller(caller.ends, new RecycledNumbers());

    expect(found).toMatchObject({ ok: false, reason: "changed-meanwhile" });
  },
);

it.runIf(isLinux)("takes a descriptor that means another socket by now for a change", async () => {
  await using caller = await callFromChild("connect");
  const seen = new Set<string>();
  class ReusedDescriptors extends Procfs {
    override descriptor(pid: number, descriptor: number): string | undefined {
      const key = `${pid}/${descriptor}`;
      const isFirst = !seen.has(key);
      seen.add(key);
      return isFirst ? super.descriptor(pid, descriptor) : "socket:[1]";
    }
  }

  const found = await identifyCaller(caller.ends, new ReusedDescriptors());

  expect(found).toMatchObject({ ok: false, reason: "changed-meanwhile" });
});

it("says of a platform without procfs that it cannot tell", async () => {
  const ends = { local: { address: "127.0.0.1", port: 1 }, remote: { address: "127.0.0.1", port: 2 } };

  const found = await identifyCaller(ends, new Procfs("/nowhere/proc"));

  expect(found).toMatchObject({ ok: false, reason: "platform-cannot-tell" });
});

it("does not take a process for a parent that is younger than its child", () => {
  class TwoProcesses extends Procfs {
    override stat(pid: number): ProcessStat | undefined {
      return { 7: { pid, parentPid: 5, startedTicks: 100 }, 5: { pid, parentPid: 1, startedTicks: 101 } }[
        pid
      ];
    }
  }

  expect(parentsOf({ pid: 7, parentPid: 5, startedTicks: 100 }, new TwoProcesses())).toEqual([]);
});

const programs = {
  connect: `require("node:net").connect(+process.argv[1], process.argv[2]).on("error", () => {}); setInterval(() => {}, 1e6)`,
  "connect-and-share": `
    const socket = require("node:net").connect(+process.argv[1], process.argv[2], () => {
      const script = "process.on('message', (_, s) => { process.send('have'); setInterval(() => {}, 1e6); global.s = s; });process.on('disconnect', () => process.exit())";
      const child = require("node:child_process").spawn(process.execPath, ["-e", script], { stdio: ["ignore", socket, "ignore", "ipc"] });
      child.send("wait"); child.on("message", () => socket.write("shared"));
    });
    socket.on("error", () => {}); setInterval(() => {}, 1e6)`,
};

async function callFromChild(
  what: keyof typeof programs,
  host = "127.0.0.1",
  listenOn = "127.0.0.1",
): Promise<{ ends: NonNullable<ReturnType<typeof endsOf>>; child: ChildProcess } & AsyncDisposable> {
  const server = net.createServer().listen(0, listenOn);
  await once(server, "listening");
  const address = server.address();
  const port = typeof address === "object" ? (address?.port ?? 0) : 0;
  const accepted = once(server, "connection");
  const child = spawn(process.execPath, ["-e", programs[what], String(port), host], { stdio: "ignore" });
  const [socket]: net.Socket[] = await accepted;
  if (socket === undefined) throw new Error("no connection");
  socket.on("error", () => {});
  const ends = endsOf(socket);
  if (ends === undefined) throw new Error("no ends");
  if (what === "connect-and-share") await once(socket, "data");
  return {
    ends,
    child,
    [Symbol.asyncDispose]: async () => {
      child.kill("SIGKILL");
      socket.destroy();
      server.close();
      await once(server, "close");
    },
  };
}
