import { type ChildProcess, spawn } from "node:child_process";
import { closeSync, openSync, renameSync, statSync } from "node:fs";
import { ownEnvironment } from "./compile-cache.ts";
import { CliError, exitCode } from "./exit-codes.ts";
import type { HeldPort } from "./held-port.ts";
import { parseChildMessage } from "./until-stopped.ts";

const restartMillisMin = 200;
const restartMillisMax = 5_000;
const stopMillisMax = 8_000;
const logBytesMax = 16 * 1024 * 1024;
/** How long connections to a held port wait for a child that does not become ready; then they are reset. */
const heldMillisMax = 30_000;
/** The descriptor under which a child finds the first of its held ports: after input, output, errors and the channel. */
const heldDescriptor = 4;

/** What is supervised. */
export interface Supervised {
  readonly name: string;
  /** Arguments of `troth`. */
  readonly args: readonly string[];
  /** Where standard output and error go; a full one is put aside at the next start. */
  readonly logFile: string;
  /** Flags of Node itself. */
  readonly flags?: readonly string[];
  /** What its environment has beside that of all processes of Troth. */
  readonly environment?: Readonly<Record<string, string>>;
  /** A port that stays open while the child is started again; the child is told with `--outbound-descriptor`. */
  readonly heldPort?: HeldPort;
  /** More such ports; the child is told with `--tcp-descriptors`, in the same order. */
  readonly heldTcpPorts?: readonly HeldPort[];
}

/** A child that is started again whenever it ends unasked. */
export interface Supervisor extends AsyncDisposable {
  /** The addresses that the child last reported. */
  readonly addresses: Readonly<Record<string, string>>;
  /** The present process, for tests that kill it. */
  readonly pid: number | undefined;
  readonly restarts: number;
}

/** Starts a child of this program and resolves when it is ready; throws what it failed with. */
export async function supervise(what: Supervised, onRestart?: () => void): Promise<Supervisor> {
  const supervisor = new ChildSupervisor(what, onRestart);
  await supervisor.start();
  return supervisor;
}

/** As {@link supervise}, and the child belongs to `stack` before it is ready: it ends with what it was started for. */
export async function superviseIn(stack: AsyncDisposableStack, what: Supervised): Promise<Supervisor> {
  const supervisor = stack.use(new ChildSupervisor(what));
  await supervisor.start();
  return supervisor;
}

class ChildSupervisor implements Supervisor {
  readonly #what: Supervised;
  readonly #onRestart: (() => void) | undefined;
  #child: ChildProcess | undefined;
  #addresses: Readonly<Record<string, string>> = {};
  #delay = restartMillisMin;
  #isStopping = false;
  #restartTimer: NodeJS.Timeout | undefined;
  #releaseTimer: NodeJS.Timeout | undefined;
  restarts = 0;

  constructor(what: Supervised, onRestart?: () => void) {
    this.#what = what;
    this.#onRestart = onRestart;
  }

  get addresses(): Readonly<Record<string, string>> {
    return this.#addresses;
  }

  get pid(): number | undefined {
    return this.#child?.pid;
  }

  async start(): Promise<void> {
    const { name, logFile } = this.#what;
    const child = this.#spawn();
    this.#child = child;
    let failure = "";
    await new Promise<void>((resolve, reject) => {
      child.once("error", reject);
      child.on("message", (raw) => {
        const message = parseChildMessage(raw);
        if (message?.kind === "failed") failure = message.message;
        if (message?.kind !== "ready") return;
        this.#addresses = message.addresses;
        this.#delay = restartMillisMin;
        clearTimeout(this.#releaseTimer);
        this.#releaseTimer = undefined;
        resolve();
      });
      child.once("exit", (code, signal) => {
        const why = failure === "" ? `it ended with ${signal ?? code}; see ${logFile}` : failure;
        reject(new CliError(exitCode.failed, `${name}: ${why}`));
      });
    });
    child.once("exit", () => this.#restart());
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isStopping = true;
    clearTimeout(this.#restartTimer);
    clearTimeout(this.#releaseTimer);
    const child = this.#child;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const gone = new Promise<void>((resolve) => child.once("exit", () => resolve()));
    child.kill("SIGTERM");
    const killer = setTimeout(() => child.kill("SIGKILL"), stopMillisMax);
    await gone;
    clearTimeout(killer);
  }

  #spawn(): ChildProcess {
    const { args, flags = [], logFile } = this.#what;
    const { held, heldArgs } = inherited(this.#what);
    const log = openLogFile(logFile);
    try {
      return spawn(process.execPath, [...flags, mainScript(), ...args, ...heldArgs], {
        stdio: ["ignore", log, log, "ipc", ...held],
        env: { ...ownEnvironment(), ...this.#what.environment },
      });
    } finally {
      closeSync(log);
    }
  }

  #restart(): void {
    if (this.#isStopping) return;
    this.#releaseTimer ??= setTimeout(() => {
      for (const port of [this.#what.heldPort, ...(this.#what.heldTcpPorts ?? [])]) port?.release();
    }, heldMillisMax);
    this.restarts += 1;
    this.#restartTimer = setTimeout(() => {
      this.start().then(
        () => this.#onRestart?.(),
        // It ended before it was ready: try again, later each time.
        () => this.#restart(),
      );
    }, this.#delay);
    this.#delay = Math.min(this.#delay * 2, restartMillisMax);
  }
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
