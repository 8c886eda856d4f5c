import { readFile } from "node:fs/promises";
import type { Socket } from "node:net";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { Code, ConnectError } from "@connectrpc/connect";
import { bytesOf, textOf } from "../base/bytes.ts";
import type { Clock } from "../base/clock.ts";
import type { Log } from "../base/log.ts";
import { messageOf } from "../base/mesh-error.ts";
import { fail, ok, type Result } from "../base/result.ts";
import type { CallerRefusal, UnixCallers } from "../peer-process/index.ts";
import { readFileIfPresent, writeFileAtomically } from "../storage/index.ts";
import { InstanceOwners } from "./instance-owners.ts";

/** A process that has just been started by another shares its files for a moment. */
const looksMax = 4;
const lookPauseMillis = 25;
/** Of the same instance, an alarm is not raised again sooner. */
const alarmPauseMillis = 60_000;
const alarmedMax = 1_000;
const bootIdFile = "/proc/sys/kernel/random/boot_id";
/** The owner of instances whose process is none that the agent may look at, or that no platform tells. */
const untold = "out-of-sight";
const theAgent = "agent";

/** What telling the callers of the agent's socket takes. */
export interface SidecarCallersOptions {
  /** The agent's own. */
  readonly folder: string;
  readonly callers: Pick<UnixCallers, "tellsCallers" | "identify">;
  /** Whether an instance is here, or in the log as one of this node. */
  readonly isKnown: (instance: string) => boolean;
  readonly alarm: (reason: string, detail: string) => void;
  readonly clock: Clock;
  readonly log: Log;
}

/**
 * Sees to it that who calls at the agent's socket acts as its own instances alone. The kernel says once per connection
 * which process calls (its number, its start, its user), and an instance is the process's that first acted as it, through
 * restarts of the agent too. It cannot say which service a process may be: any process that may open the socket may
 * register a new instance of any service of the node.
 */
export class SidecarCallers {
  readonly #options: SidecarCallersOptions;
  readonly #owners: InstanceOwners;
  readonly #told = new WeakMap<Socket, Promise<Result<string, CallerRefusal>>>();
  readonly #alarmed = new Map<string, number>();
  /** The last write that was begun or waits, and the one that has yet to begin. */
  #keeping: Promise<void> = Promise.resolve();
  #next: Promise<void> | undefined;

  private constructor(options: SidecarCallersOptions, owners: InstanceOwners) {
    this.#options = options;
    this.#owners = owners;
  }

  /** Reads whose the instances were before the agent was started again. */
  static async open(options: SidecarCallersOptions): Promise<SidecarCallers> {
    const { folder, callers, isKnown, clock, log } = options;
    const bootId = (await readFile(bootIdFile, "latin1").catch(() => "")).trim();
    const isTold = callers.tellsCallers && bootId !== "";
    if (!isTold)
      log.warn(
        "which process calls at the agent's socket is not told here: its folder alone keeps others out",
      );
    // Where nobody is told any more, nobody could be who they were.
    const kept = isTold
      ? textOf((await readFileIfPresent(ownersFile(folder))) ?? new Uint8Array(0))
      : undefined;
    return new SidecarCallers(options, new InstanceOwners({ text: kept, bootId }, clock, isKnown));
  }

  /** Resolves once the caller is known to be the instance; throws, for the caller, where it is not. */
  async admit(connection: Socket | undefined, instance: string): Promise<void> {
    const owner = await this.#ownerAt(connection);
    const claimed = this.#owners.claim(instance, owner);
    if (claimed.ok) {
      if (claimed.value.isNew) await this.#keep();
      return;
    }
    if (claimed.reason === "too-many-instances")
      throw new ConnectError(claimed.detail, Code.ResourceExhausted);
    this.#alarm(instance, claimed.detail);
    throw new ConnectError(
      `${claimed.reason}: ${instance} belongs to the process that registered it, and this is another`,
      Code.PermissionDenied,
    );
  }

  /** What tells one caller from another: its process, or its connection where no process is told. */
  async callerAt(connection: Socket | undefined): Promise<string | Socket> {
    const owner = await this.#ownerAt(connection);
    return owner === untold && connection !== undefined ? connection : owner;
  }

  /** Whether the caller has been admitted as the instance before. */
  async isOwn(connection: Socket | undefined, instance: string): Promise<boolean> {
    return this.#owners.has(instance, await this.#ownerAt(connection));
  }

  /** Whether the caller has any instance. */
  async hasAny(connection: Socket | undefined): Promise<boolean> {
    return this.#owners.hasAny(await this.#ownerAt(connection));
  }

  /** An instance is the agent's own: nobody else acts as it. */
  own(instance: string): void {
    this.#owners.claim(instance, theAgent);
    void this.#keep();
  }

  async #ownerAt(connection: Socket | undefined): Promise<string> {
    if (connection === undefined)
      throw new ConnectError("no connection of the agent's socket", Code.Internal);
    if (!this.#options.callers.tellsCallers) return untold;
    const telling = this.#told.get(connection) ?? this.#tell(connection);
    this.#told.set(connection, telling);
    const told = await telling;
    if (told.ok) return told.value;
    this.#told.delete(connection);
    const isFinal = told.reason === "too-many-processes";
    throw new ConnectError(
      `the caller is not known (${told.reason}): ${told.detail}`,
      isFinal ? Code.PermissionDenied : Code.Unavailable,
    );
  }

  async #tell(connection: Socket): Promise<Result<string, CallerRefusal>> {
    for (let look = 1; look <= looksMax; look += 1) {
      const caller = await this.#options.callers.identify(connection);
      if (!caller.ok && caller.reason === "out-of-sight") return ok(untold);
      if (!caller.ok) return caller;
      const [{ pid, startedTicks, uid }, ...others] = caller.value.processes;
      if (others.length === 0) return ok(`${pid}:${startedTicks}:${uid}`);
      await sleep(lookPauseMillis * look);
    }
    return fail(
      "too-many-processes",
      "several processes have the connection open, and an instance is of one",
    );
  }

  #alarm(instance: string, detail: string): void {
    const nowMillis = this.#options.clock.monotonicMillis();
    if (nowMillis - (this.#alarmed.get(instance) ?? -Infinity) < alarmPauseMillis) return;
    if (this.#alarmed.size >= alarmedMax) this.#alarmed.clear();
    this.#alarmed.set(instance, nowMillis);
    this.#options.alarm("instance-of-another-process", `${instance} was asked for: ${detail}`);
  }

  /** Writes what is there when it begins; what comes meanwhile is written by the next. */
  #keep(): Promise<void> {
    if (this.#next !== undefined) return this.#next;
    const next = this.#keeping.then(async () => {
      this.#next = undefined;
      const { folder, log } = this.#options;
      try {
        await writeFileAtomically(ownersFile(folder), bytesOf(this.#owners.text()), 0o600);
      } catch (error) {
        log.warn("whose instances there are is not kept", { error: messageOf(error) });
      }
    });
    this.#next = next;
    this.#keeping = next;
    return next;
  }
}

function ownersFile(folder: string): string {
  return join(folder, "instance-owners");
}
