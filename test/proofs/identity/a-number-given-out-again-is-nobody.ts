import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { writeFileSync } from "node:fs";
import net from "node:net";
import { endsOf, identifyCaller, ProcessTree, Procfs } from "../../../src/peer-process/index.ts";
import { type Claim, failed, ok, skipped } from "../claim.ts";

const attemptsMax = 200;
const mark = { name: "TROTH_PROOF_TREE", value: "of the application that has ended" };

/** The kernel numbers processes anew from the beginning; what counted for a number must not count for the next that has it. */
export const claim: Claim = {
  text: "a process that was given the number of an ended application is not taken for it",
  run: async () => {
    if (process.platform !== "linux") return skipped("telling who calls takes Linux");
    const application = spawn("sleep", ["600"]);
    const { pid = 0 } = application;
    const planted = new Procfs().stat(pid);
    if (planted === undefined) return failed("the application did not start");
    using tree = new ProcessTree(mark);
    tree.plant(planted);
    const ended = once(application, "exit");
    application.kill("SIGKILL");
    await ended;

    const server = net.createServer().listen(0, "127.0.0.1");
    await once(server, "listening");
    const address = server.address();
    const port = typeof address === "object" ? (address?.port ?? 0) : 0;
    let stranger: ChildProcess | undefined;
    let socket: net.Socket | undefined;
    try {
      const found = startedAs(pid);
      if (typeof found === "string") return skipped(found);
      stranger = found;
      const accepted = once(server, "connection");
      stranger.stdin?.write(`${port}\n`);
      const [come]: net.Socket[] = await accepted;
      socket = come;
      const ends = socket === undefined ? undefined : endsOf(socket);
      if (ends === undefined) return failed("no connection");
      const [caller, membership] = [await identifyCaller(ends), await tree.judge(ends)];
      if (!caller.ok) return failed(`the caller is not known: ${caller.reason}`);
      const [only] = caller.value.processes;
      if (only.pid !== pid) return failed(`the caller is ${only.pid}, not ${pid}`);
      if (membership.ok) return failed("it was taken for the application");
      return ok(
        `process ${pid} of tick ${planted.startedTicks} is refused as ${membership.reason} when it is one of tick ${only.startedTicks}`,
      );
    } finally {
      stranger?.kill("SIGKILL");
      socket?.destroy();
      server.close();
    }
  },
};

/** Starts a process that has the number; others take numbers at the same time. */
function startedAs(pid: number): ChildProcess | string {
  const program = `process.stdin.once("data", (port) => require("node:net").connect(+port, "127.0.0.1").on("error", () => {})); setInterval(() => {}, 1e6)`;
  for (let attempt = 0; attempt < attemptsMax; attempt += 1) {
    try {
      writeFileSync("/proc/sys/kernel/ns_last_pid", String(pid - 1));
    } catch {
      return "choosing a process's number takes root, and /proc/sys/kernel/ns_last_pid to be writable";
    }
    const child = spawn(process.execPath, ["-e", program], { stdio: ["pipe", "ignore", "ignore"] });
    if (child.pid === pid) return child;
    child.kill("SIGKILL");
  }
  return `other processes took the number ${attemptsMax} times`;
}
