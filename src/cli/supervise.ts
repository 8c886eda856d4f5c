import { type ChildProcess, spawn } from "node:child_process";
import { closeSync, openSync, renameSync, statSync } from "node:fs";
import { ownEnvironment } from "./compile-cache.ts";
import { CliError, exitCode } from "./exit-codes.ts";
import { parseChildMessage } from "./until-stopped.ts";

const restartMillisMin = 200;
const restartMillisMax = 5_000;
const stopMillisMax = 8_000;
const logBytesMax = 16 * 1024 * 1024;

/** What is supervised. */
export interface Supervised {
  readonly name: string;
  /** Arguments of `troth`. */
  readonly args: readonly string[];
  /** Where standard output and error go; a full one is put aside at the next start. */
  readonly logFile: string;
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

class ChildSupervisor implements Supervisor {
  readonly #what: Supervised;
  readonly #onRestart: (() => void) | undefined;
  #child: ChildProcess | undefined;
  #addresses: Readonly<Record<string, string>> = {};
  #delay = restartMillisMin;
  #isStopping = false;
  #restartTimer: NodeJS.Timeout | undefined;
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
    const { name, args, logFile } = this.#what;
    const log = openLogFile(logFile);
    const child = spawn(process.execPath, [mainScript(), ...args], {
      stdio: ["ignore", log, log, "ipc"],
      env: ownEnvironment(),
    });
    closeSync(log);
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
    const child = this.#child;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const gone = new Promise<void>((resolve) => child.once("exit", () => resolve()));
    child.kill("SIGTERM");
    const killer = setTimeout(() => child.kill("SIGKILL"), stopMillisMax);
    await gone;
    clearTimeout(killer);
  }

  #restart(): void {
    if (this.#isStopping) return;
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

/** The program itself, as it was started. */
export function mainScript(): string {
  return process.argv[1] ?? "";
}

function openLogFile(path: string): number {
  const size = statSync(path, { throwIfNoEntry: false })?.size ?? 0;
  if (size > logBytesMax) renameSync(path, `${path}.1`);
  return openSync(path, "a", 0o600);
}
