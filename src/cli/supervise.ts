import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import { resolvesWithin } from "../transport/index.ts";
import { CliError, exitCode } from "./exit-codes.ts";
import type { HeldPort } from "./held-port.ts";
import { type SpawnedChild, spawnChild } from "./spawn-child.ts";
import type { ParentMessage } from "./until-stopped.ts";
import { parseChildMessage } from "./until-stopped.ts";

const restartMillisMin = 200;
const restartMillisMax = 5_000;
const stopMillisMax = 8_000;
/** How long a child that takes another's place may take to be ready. */
const replacementMillisMax = 90_000;
/** Children that have been replaced and end what they have, at once; each is a whole process. */
const retiringMax = 12;
/** How long connections to a held port wait for a child that does not become ready; then they are reset. */
const heldMillisMax = 30_000;
/** How long an application is called on while its callers leave, before it is stopped. */
const withdrawMillisMax = 7_000;

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
  /** Called where the child ends because its instance was revoked, in place of starting another one. */
  readonly revoked?: (message: string) => void;
}

/** A child that is started again whenever it ends unasked. */
export interface Supervisor extends AsyncDisposable {
  /** The addresses that the child last reported. */
  readonly addresses: Readonly<Record<string, string>>;
  /** The present process, for tests that kill it. */
  readonly pid: number | undefined;
  readonly restarts: number;
  /** How many have been replaced and still end what they had. */
  readonly retiring: number;
  /**
   * Starts another child, of the program as it is on disk now, and once it is ready has the present one end what it has,
   * for so long at most. Throws why there is no other, and the present one serves on.
   */
  readonly replace: (drainSeconds: number) => Promise<void>;
  /** Has the child be called no more and waits, for a while, for the requests under way. */
  readonly withdraw: () => Promise<void>;
  /** Tells every child that there is and that will be, before it is ready; what was told before is told no more. */
  readonly tellAll: (message: ParentMessage) => void;
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
  /** The one that is ready, or, at a start, is to be. */
  #child: ChildProcess | undefined;
  /** The one that is to take its place. */
  #successor: ChildProcess | undefined;
  readonly #retiring = new Set<ChildProcess>();
  #addresses: Readonly<Record<string, string>> = {};
  #delay = restartMillisMin;
  #isStopping = false;
  #restartTimer: NodeJS.Timeout | undefined;
  #releaseTimer: NodeJS.Timeout | undefined;
  #standing: ParentMessage | undefined;
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

  get retiring(): number {
    return this.#retiring.size;
  }

  tellAll(message: ParentMessage): void {
    this.#standing = message;
    for (const child of [this.#child, this.#successor, ...this.#retiring])
      if (child !== undefined && !hasEnded(child)) tell(child, message);
  }

  async start(): Promise<void> {
    const child = this.#spawn();
    this.#child = child.process;
    this.#adopt(child.process, await child.ready);
  }

  async replace(drainSeconds: number): Promise<void> {
    const { name, heldPort } = this.#what;
    const refuse = (why: string): CliError => new CliError(exitCode.no, `${name}: ${why}`);
    const before = this.#child;
    if (heldPort === undefined)
      throw refuse(
        "replacing it takes a newer Node.js, which can hand a port on; end troth run and start it again",
      );
    if (this.#successor !== undefined) throw refuse("it is being replaced already");
    if (this.#isStopping || before === undefined || hasEnded(before))
      throw refuse("it is being stopped or started again");
    if (this.#retiring.size >= retiringMax)
      throw refuse(
        `${retiringMax} that were replaced still end what they have; try again once one has, or give them less time (--drain-seconds)`,
      );
    const child = this.#spawn(["--replaces"]);
    this.#successor = child.process;
    try {
      if (!(await resolvesWithin(child.ready, replacementMillisMax)))
        throw refuse(
          `the new one is not ready after ${replacementMillisMax / 1000} s; see ${this.#what.logFile}`,
        );
      const addresses = await child.ready;
      if (this.#isStopping || hasEnded(child.process)) throw refuse("the new one has ended again");
      this.#successor = undefined;
      this.#child = child.process;
      this.#adopt(child.process, addresses);
      this.#retire(before, drainSeconds);
    } catch (error) {
      void end(child.process);
      // Nobody started it again while its successor might have come.
      if (hasEnded(before)) this.#restart();
      throw error;
    } finally {
      this.#successor = undefined;
    }
  }

  async withdraw(): Promise<void> {
    const child = this.#child;
    if (child === undefined || hasEnded(child)) return;
    const hasWithdrawn = new Promise<void>((resolve) => {
      child.once("exit", () => resolve());
      child.on("message", (raw) => {
        if (parseChildMessage(raw)?.kind === "withdrawn") resolve();
      });
    });
    tell(child, { kind: "withdraw" });
    await resolvesWithin(hasWithdrawn, withdrawMillisMax);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isStopping = true;
    clearTimeout(this.#restartTimer);
    clearTimeout(this.#releaseTimer);
    const children = [this.#child, this.#successor, ...this.#retiring].filter((child) => child !== undefined);
    await Promise.all(children.map((child) => end(child)));
  }

  #spawn(more?: readonly string[]): SpawnedChild {
    const child = spawnChild(this.#what, more);
    if (this.#standing !== undefined && child.process.pid !== undefined) tell(child.process, this.#standing);
    return child;
  }

  /** Takes a child that is ready for the one that serves. */
  #adopt(child: ChildProcess, addresses: Readonly<Record<string, string>>): void {
    this.#addresses = addresses;
    this.#delay = restartMillisMin;
    clearTimeout(this.#restartTimer);
    clearTimeout(this.#releaseTimer);
    this.#releaseTimer = undefined;
    let revoked: string | undefined;
    child.on("message", (raw) => {
      const message = parseChildMessage(raw);
      if (message?.kind === "revoked") revoked = message.message;
    });
    const ended = (): void => {
      if (revoked !== undefined && this.#what.revoked !== undefined)
        return this.#isStopping ? undefined : this.#what.revoked(revoked);
      // Another may have its place, or be about to take it.
      if (this.#child === child && this.#successor === undefined) this.#restart();
    };
    if (hasEnded(child)) ended();
    else child.once("exit", ended);
  }

  #retire(child: ChildProcess, drainSeconds: number): void {
    if (hasEnded(child)) return;
    this.#retiring.add(child);
    const timer = setTimeout(() => void end(child), drainSeconds * 1000 + stopMillisMax);
    child.once("exit", () => {
      clearTimeout(timer);
      this.#retiring.delete(child);
    });
    tell(child, { kind: "retire", drainSeconds });
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

function hasEnded(child: ChildProcess): boolean {
  return child.pid === undefined || child.exitCode !== null || child.signalCode !== null;
}

/** What a child that ends just then does not hear needs no answer. */
function tell(child: ChildProcess, message: ParentMessage): void {
  if (child.connected) child.send(message, () => {});
}

/** Asks a child to end, and sees to it. */
async function end(child: ChildProcess): Promise<void> {
  if (hasEnded(child)) return;
  const gone = once(child, "exit");
  child.kill("SIGTERM");
  const killer = setTimeout(() => child.kill("SIGKILL"), stopMillisMax);
  await gone;
  clearTimeout(killer);
}
