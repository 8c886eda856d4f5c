import { type ChildProcess, spawn } from "node:child_process";
import { closeSync, fstatSync, openSync, readSync, renameSync, statSync } from "node:fs";
import { ownEnvironment } from "./compile-cache.ts";
import { CliError, exitCode } from "./exit-codes.ts";
import type { Supervised } from "./supervise.ts";
import { parseChildMessage } from "./until-stopped.ts";

const logBytesMax = 16 * 1024 * 1024;
/** How much of a log file is looked at for the line that says why a child ended. */
const tailBytesMax = 4 * 1024;
/** The descriptor under which a child finds the first of its held ports: after input, output, errors and the channel. */
const heldDescriptor = 4;

/** A child that has been started. */
export interface SpawnedChild {
  readonly process: ChildProcess;
  /** Resolves to its addresses once it is ready; rejects with why it ended before. */
  readonly ready: Promise<Readonly<Record<string, string>>>;
}

/** Starts this program, as it is on disk now, as a child. */
export function spawnChild(what: Supervised, more: readonly string[] = []): SpawnedChild {
  const { args, flags = [], logFile } = what;
  const { held, heldArgs } = inherited(what);
  const log = openLogFile(logFile);
  try {
    const logBytes = fstatSync(log).size;
    const child = spawn(process.execPath, [...flags, mainScript(), ...args, ...heldArgs, ...more], {
      stdio: ["ignore", log, log, "ipc", ...held],
      env: { ...ownEnvironment(), ...what.environment },
    });
    const ready = untilReady(child, what, logBytes);
    // Told to whoever waits for it; that may be nobody any more.
    ready.catch(() => {});
    return { process: child, ready };
  } finally {
    closeSync(log);
  }
}

function untilReady(
  child: ChildProcess,
  { name, logFile }: Supervised,
  logBytes: number,
): Promise<Readonly<Record<string, string>>> {
  let failure = "";
  return new Promise((resolve, reject) => {
    child.once("error", reject);
    child.on("message", (raw) => {
      const message = parseChildMessage(raw);
      if (message?.kind === "failed") failure = message.message;
      if (message?.kind === "ready") resolve(message.addresses);
    });
    child.once("exit", (code, signal) => {
      const ended = `it ended with ${signal ?? code}; see ${logFile}`;
      const why = failure === "" ? [ended, lastLine(logFile, logBytes)].filter(Boolean).join(": ") : failure;
      reject(new CliError(exitCode.failed, `${name}: ${why}`));
    });
  });
}

/** The descriptors that a child inherits, and the arguments that tell it of them. */
function inherited({ heldPort, heldTcpPorts = [] }: Supervised): { held: number[]; heldArgs: string[] } {
  const held: number[] = [];
  const heldArgs: string[] = [];
  const outbound = heldPort?.descriptor;
  if (outbound !== undefined) {
    held.push(outbound);
    heldArgs.push("--outbound-descriptor", String(heldDescriptor));
  }
  const tcp = heldTcpPorts.map(({ descriptor }) => descriptor).filter((one) => one !== undefined);
  if (tcp.length > 0 && tcp.length === heldTcpPorts.length) {
    const places = tcp.map((_, place) => heldDescriptor + held.length + place);
    held.push(...tcp);
    heldArgs.push("--tcp-descriptors", places.join(","));
  }
  return { held, heldArgs };
}

/** The program itself, as it was started. */
export function mainScript(): string {
  return process.argv[1] ?? "";
}

function openLogFile(path: string): number {
  const size = statSync(path, { throwIfNoEntry: false })?.size ?? 0;
  if (size > logBytesMax) renameSync(path, `${path}.1`);
  return openSync(path, "a", 0o600);
}

/** The last line that was added to a file after its first `from` bytes; empty where there is none. */
function lastLine(path: string, from: number): string {
  try {
    const file = openSync(path, "r");
    try {
      const { size } = fstatSync(file);
      const start = Math.max(from, size - tailBytesMax);
      const bytes = Buffer.alloc(Math.max(0, size - start));
      readSync(file, bytes, 0, bytes.length, start);
      return bytes.toString("utf8").trimEnd().split("\n").at(-1) ?? "";
    } finally {
      closeSync(file);
    }
  } catch {
    return "";
  }
}
