import { spawnSync } from "node:child_process";
import { readdirSync } from "node:fs";
import { readFile } from "node:fs/promises";
import net from "node:net";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { slowConnections } from "../../apparatus/floods.ts";
import { httpCall } from "../../apparatus/http-call.ts";
import { canSeeProcesses, processesMarked } from "../../apparatus/marked-processes.ts";
import {
  openMesh,
  openService,
  processesOf,
  type RunningMesh,
  statusOf,
  troth,
} from "../../apparatus/running-mesh.ts";
import { type Claim, failed, ok, skipped } from "../claim.ts";

const spareDescriptors = 4;
const crowdSize = 200;
const emptyMillis = 4_000;
const epochMillis = 11_000;
const backMillisMax = 60_000;
const saidLinesMax = 50;

/** A process that has run out of file descriptors, and where it listens and logs. */
interface Exhausted {
  readonly name: string;
  readonly pid: number;
  readonly address: string;
  readonly logFile: string;
  /** How long it stays without. */
  readonly millis: number;
}

export const claim: Claim = {
  text: "a sidecar and a control plane that run out of file descriptors serve the connections that are open, say so in their logs, and take new ones by themselves once there are descriptors",
  run: async () => {
    if (!canSeeProcesses()) return skipped("finding the processes takes procfs");
    if (spawnSync("prlimit", ["--version"]).status !== 0) return skipped("prlimit is not installed");
    await using mesh = await openMesh({ kind: "up" });
    await using callee = await openService(mesh, "/proof/callee");
    await using caller = await openService(mesh, "/proof/caller");
    const allowed = await troth(mesh.path, "allow", "/proof/caller", "/proof/callee");
    if (allowed.code !== 0) return failed(`troth allow: ${allowed.stderr}`);
    const ask = (): ReturnType<typeof httpCall> =>
      httpCall({ address: caller.outboundAddress, host: "callee.proof.mesh", path: "/" });
    const before = await ask();
    if (before.status !== 200) return failed(`before: ${before.status} ${before.body}`);
    const { treeSize } = await statusOf(mesh.path);

    const sidecar = processesMarked(callee.command.mark).find(({ command }) => command[2] === "sidecar");
    const [controlPlane] = processesOf(mesh, "control-plane");
    if (sidecar === undefined || controlPlane === undefined) return failed("a process is missing");
    const { logs } = mesh.directory;
    const logFile = join(logs, "sidecar.proof.callee.log");
    const address = callee.status.address;
    const seen: string[] = [];
    for (const one of [
      { name: "sidecar", pid: sidecar.pid, address, logFile, millis: emptyMillis },
      {
        name: "control plane",
        pid: controlPlane,
        address: mesh.domain.address,
        logFile: join(logs, "control-plane.log"),
        // An epoch comes due meanwhile, for which a file has to be written.
        millis: epochMillis,
      },
    ]) {
      const problem = await runOut(one, { mesh, ask, seen });
      if (problem !== undefined) return failed(`${one.name}: ${problem}`);
    }
    const verified = await troth(mesh.path, "log", "verify");
    if (verified.code !== 0) return failed(`troth log verify: ${verified.stdout}`);
    const after = await statusOf(mesh.path);
    return after.treeSize > treeSize ? ok(seen.join("; ")) : failed("the log does not grow any more");
  },
};

async function runOut(
  { name, pid, address, logFile, millis }: Exhausted,
  {
    mesh,
    ask,
    seen,
  }: { readonly mesh: RunningMesh; readonly ask: () => ReturnType<typeof httpCall>; readonly seen: string[] },
): Promise<string | undefined> {
  const saidBefore = await linesOf(logFile);
  const limitBefore = limitOf(pid);
  limit(pid, String(readdirSync(`/proc/${pid}/fd`).length + spareDescriptors));
  const started = performance.now();
  let isOver = false;
  const crowd = slowConnections(address, crowdSize)(() => isOver);
  let answered = 0;
  try {
    while (performance.now() - started < millis) {
      const { status, body } = await ask();
      if (status !== 200) return `an open connection gets ${status} ${body}`;
      answered += 1;
      await sleep(20);
    }
  } finally {
    limit(pid, limitBefore);
    isOver = true;
    await crowd;
  }
  const said = (await linesOf(logFile))
    .slice(saidBefore.length)
    .filter((line) => /EMFILE|too many open files/.test(line));
  if (said.length === 0) return "its log does not say so";
  if (said.length > saidLinesMax) return `its log says so ${said.length} times`;
  const over = performance.now();
  for (;;) {
    const isTaken = await isAnswered(address);
    const allowed = await troth(mesh.path, "allow", "/proof/callee", "/proof/caller");
    if (isTaken && allowed.code === 0 && (await ask()).status === 200) break;
    if (performance.now() - over > backMillisMax)
      return `it does not take connections again: ${allowed.stderr}`;
  }
  const seconds = ((performance.now() - over) / 1000).toFixed(1);
  seen.push(
    `${name}: ${answered} of ${answered} requests answered without descriptors, ${said.length} lines in its log, new connections taken ${seconds} s after`,
  );
  return undefined;
}

function limit(pid: number, soft: string): void {
  const set = spawnSync("prlimit", ["--pid", String(pid), `--nofile=${soft}:`]);
  if (set.status !== 0) throw new Error(`prlimit: ${String(set.stderr)}`);
}

function limitOf(pid: number): string {
  const shown = spawnSync("prlimit", ["--pid", String(pid), "--nofile", "--noheadings", "--output", "SOFT"]);
  return String(shown.stdout).trim();
}

/** Whether a connection lasts for a moment: one that cannot be taken is closed at once. */
async function isAnswered(address: string): Promise<boolean> {
  const [host = "", port = ""] = address.split(":");
  const socket = net.connect({ host, port: Number(port) });
  socket.on("error", () => socket.destroy());
  await sleep(300);
  const isOpen = !socket.destroyed;
  socket.destroy();
  return isOpen;
}

async function linesOf(path: string): Promise<string[]> {
  return (await readFile(path, "utf8")).split("\n").filter((line) => line !== "");
}
