import type { Clock } from "../../base/clock.ts";
import type { ExhaustedRetries, RequestHead } from "../forwarding/index.ts";

/** Traces that are remembered, the latest. */
const exhaustedTracesMax = 1_000;
/** How long one is. */
const exhaustedTraceMillis = 60_000;

/**
 * Traces in which a call of this application failed although it was repeated as often as it may be. A request that came
 * with such a trace and fails as well is marked in its response, and the caller's proxy does not repeat it: so the
 * attempts of several levels of services add up and do not multiply. An application takes part by handing `traceparent`
 * on; where it does not, the budgets bound what comes of it.
 */
export class ExhaustedTraces implements ExhaustedRetries {
  readonly #clock: Clock;
  /** When each was added, oldest first. */
  readonly #since = new Map<string, number>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  get isEmpty(): boolean {
    return this.#since.size === 0;
  }

  /** Takes note that attempts at this request are used up. */
  add(request: RequestHead): void {
    const trace = traceOf(request);
    if (trace === undefined) return;
    const now = this.#clock.monotonicMillis();
    this.#since.delete(trace);
    this.#since.set(trace, now);
    for (const [old, since] of this.#since) {
      if (this.#since.size <= exhaustedTracesMax && now - since < exhaustedTraceMillis) break;
      this.#since.delete(old);
    }
  }

  covers(request: RequestHead): boolean {
    const trace = traceOf(request);
    const since = trace === undefined ? undefined : this.#since.get(trace);
    return since !== undefined && this.#clock.monotonicMillis() - since < exhaustedTraceMillis;
  }
}

/** The id of the trace that a request is part of (W3C Trace Context, 3.2.2.3). */
function traceOf(request: RequestHead): string | undefined {
  const [first = "", second] = request.valuesOf("traceparent");
  return second === undefined ? /^[0-9a-f]{2}-([0-9a-f]{32})-/.exec(first)?.[1] : undefined;
}
