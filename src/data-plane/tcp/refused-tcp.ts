import type { Log } from "../../base/log.ts";
import type { CoarseTimer, Deadline } from "../coarse-timer.ts";

/** How often what was refused again and again is written down. */
const repeatedMillis = 10_000;

/** A connection of the application that goes nowhere. */
export interface RefusedTcp {
  readonly service: string;
  /** From a closed set. */
  readonly reason: string;
  readonly detail: string;
  /** Of the record in the callee's audit log; empty where there is none. */
  readonly decisionId: string;
}

/** Writes down which connections went nowhere: the first of a kind at once, those like it together now and then. */
export class RefusedTcpLog implements Deadline, Disposable {
  deadlineMillis = Number.POSITIVE_INFINITY;
  readonly #log: Log;
  readonly #timer: CoarseTimer;
  /** By service and reason, both from closed sets: the ports that there are, and our own words. */
  readonly #repeated = new Map<string, { like: RefusedTcp; count: number }>();

  constructor(log: Log, timer: CoarseTimer) {
    this.#log = log;
    this.#timer = timer;
    timer.add(this);
  }

  /** Takes note of one. */
  note(refused: RefusedTcp): void {
    const known = this.#repeated.get(keyOf(refused));
    if (known !== undefined) {
      known.like = refused;
      known.count += 1;
      return;
    }
    this.#write(refused, 1);
    this.#repeated.set(keyOf(refused), { like: refused, count: 0 });
    if (this.deadlineMillis === Number.POSITIVE_INFINITY)
      this.deadlineMillis = this.#timer.in(repeatedMillis);
  }

  onDeadline(): void {
    for (const { like, count } of this.#repeated.values()) if (count > 0) this.#write(like, count);
    this.#repeated.clear();
  }

  [Symbol.dispose](): void {
    this.#timer.remove(this);
    this.onDeadline();
  }

  #write({ service, reason, detail, decisionId }: RefusedTcp, count: number): void {
    this.#log.warn("TCP connection refused", { service, reason, detail, decisionId, count });
  }
}

function keyOf({ service, reason }: RefusedTcp): string {
  return `${service} ${reason}`;
}
