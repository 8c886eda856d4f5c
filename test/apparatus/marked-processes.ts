import { randomUUID } from "node:crypto";
import { existsSync, readdirSync, readFileSync, readlinkSync } from "node:fs";
import { basename, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

/** The environment variable by which a process started here is known, with everything that it starts itself. */
export const markVariable = "TROTH_PROOF_MARK";

const runMark = randomUUID();
let marks = 0;
const pollMillis = 50;

/** A mark for one thing that is started; all marks of this run begin alike. */
export function newMark(): string {
  marks += 1;
  return `${runMark}.${marks}.`;
}

/** A running process. */
export interface MarkedProcess {
  readonly pid: number;
  /** Without flags of Node itself. */
  readonly command: readonly string[];
}

/** Whether this machine shows processes and their environment, as Linux does. */
export function canSeeProcesses(): boolean {
  return existsSync("/proc/self/environ") && existsSync("/proc/net/tcp");
}

/** The living processes under a mark, however they were started and whoever their parent is by now. */
export function processesMarked(mark: string = runMark): MarkedProcess[] {
  if (!canSeeProcesses()) return [];
  const found: MarkedProcess[] = [];
  for (const name of readdirSync("/proc")) {
    if (!/^[0-9]+$/.test(name) || Number(name) === process.pid) continue;
    // A zombie has no environment left, and a process may end while it is looked at.
    if (!readText(`/proc/${name}/environ`).includes(`${markVariable}=${mark}`)) continue;
    const words = readText(`/proc/${name}/cmdline`).split("\0").slice(0, -1);
    found.push({ pid: Number(name), command: withoutNodeFlags(words) });
  }
  return found;
}

/** A command line as program, script and arguments: flags of Node itself stand between the first two. */
function withoutNodeFlags(words: readonly string[]): readonly string[] {
  const [program = "", ...rest] = words;
  const script = rest.findIndex((word) => !word.startsWith("--"));
  return basename(program) === "node" && script > 0 ? [program, ...rest.slice(script)] : words;
}

/** Kills what is left under a mark; safe to call at any time, also while the process ends. */
export function killMarked(mark: string = runMark): void {
  for (const { pid } of processesMarked(mark)) signal(pid, "SIGKILL");
}

/** Sends a signal to a process that may be gone. */
export function signal(pid: number, name: NodeJS.Signals): void {
  try {
    process.kill(pid, name);
  } catch {
    // It has ended already.
  }
}

/** Waits until nothing is left under a mark; what is left after the time. */
export async function untilGone(mark: string, timeoutMillis: number): Promise<MarkedProcess[]> {
  const deadline = performance.now() + timeoutMillis;
  for (;;) {
    const left = processesMarked(mark);
    if (left.length === 0 || performance.now() > deadline) return left;
    await sleep(pollMillis);
  }
}

/** TCP ports on which processes listen, by the inode of the socket. */
export function listeningSockets(pids: readonly number[]): Map<string, number> {
  const own = new Set(pids.flatMap(socketInodes));
  return new Map([...allListening()].filter(([inode]) => own.has(inode)));
}

const closedMillisMax = 2_000;

/** Which of these sockets still listen a moment later: a process that is killed is unmarked before its files are closed. */
export async function stillListening(sockets: ReadonlyMap<string, number>): Promise<number[]> {
  const endMillis = performance.now() + closedMillisMax;
  for (;;) {
    const now = allListening();
    const left = [...sockets].filter(([inode]) => now.has(inode)).map(([, port]) => port);
    if (left.length === 0 || performance.now() > endMillis) return left;
    await sleep(20);
  }
}

function allListening(): Map<string, number> {
  const found = new Map<string, number>();
  for (const table of ["/proc/net/tcp", "/proc/net/tcp6"])
    for (const line of readText(table).split("\n").slice(1)) {
      const fields = line.trim().split(/ +/);
      const [, local = "", , state] = fields;
      if (state === "0A") found.set(fields[9] ?? "", Number.parseInt(local.split(":")[1] ?? "", 16));
    }
  return found;
}

function socketInodes(pid: number): string[] {
  const folder = `/proc/${pid}/fd`;
  const inodes: string[] = [];
  try {
    for (const name of readdirSync(folder)) {
      const inode = /^socket:\[([0-9]+)\]$/.exec(linkOf(join(folder, name)))?.[1];
      if (inode !== undefined) inodes.push(inode);
    }
  } catch {
    // The process has ended.
  }
  return inodes;
}

function linkOf(path: string): string {
  try {
    return readlinkSync(path);
  } catch {
    return "";
  }
}

function readText(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return "";
  }
}
