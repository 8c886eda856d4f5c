import http from "node:http";
import { setTimeout as sleep } from "node:timers/promises";
import { httpCall } from "./http-call.ts";

const inFlightMax = 2_000;
const connectionsMax = 128;
const answerMillisMax = 10_000;

/** One request and what came of it; status 0 when there was no answer, with the reason as the body. */
export interface AskedOnce {
  readonly number: number;
  readonly sentMillis: number;
  readonly endedMillis: number;
  readonly status: number;
  readonly body: string;
}

/** Over how long a load grows to its rate where it is to, so that it does not begin with a crowd of handshakes. */
const growSeconds = 4;

/** What was asked and what came back. */
export interface LoadReport {
  readonly requests: number;
  readonly failures: number;
  /** The first failures, in words. */
  readonly seen: readonly string[];
  readonly seconds: number;
  /** From when a request was due to its last byte, so that a stall shows in every request that waited. */
  readonly millisP50: number;
  readonly millisP99: number;
  readonly millisMax: number;
}

/**
 * Sends GETs, or POSTs of a body, at a fixed rate, whether or not earlier ones have been answered, until `isOver` says so. Whatever is not
 * answered with 200 within ten seconds is a failure, and so is what could not be sent for want of answers.
 */
export async function openLoopLoad(load: {
  readonly outboundAddress: string;
  /** Names the service. */
  readonly host: string;
  readonly requestsPerSecond: number;
  readonly isOver: () => boolean;
  readonly growsSlowly?: boolean;
  readonly body?: string;
  /** More headers, asked for at each request. */
  readonly headers?: () => Readonly<Record<string, string>>;
  /** Told of every request that was sent; its number is the query that it asked with. */
  readonly onEnd?: (asked: AskedOnce) => void;
}): Promise<LoadReport> {
  const agent = new http.Agent({ keepAlive: true, maxSockets: connectionsMax });
  const latencies: number[] = [];
  const seen: string[] = [];
  let failures = 0;
  let inFlight = 0;
  const fall = (what: string): void => {
    failures += 1;
    if (seen.length < 3) seen.push(what);
  };
  const ask = async (number: number, dueMillis: number): Promise<void> => {
    if (inFlight >= inFlightMax) return fall(`${inFlightMax} requests unanswered`);
    inFlight += 1;
    const sentMillis = performance.now();
    const { status, body } = await httpCall({
      address: load.outboundAddress,
      host: load.host,
      ...(load.body === undefined ? {} : { method: "POST", body: load.body }),
      path: load.onEnd === undefined ? "/" : `/?${number}`,
      timeoutMillis: answerMillisMax,
      agent,
      ...(load.headers === undefined ? {} : { headers: load.headers() }),
    });
    inFlight -= 1;
    const endedMillis = performance.now();
    latencies.push(endedMillis - dueMillis);
    load.onEnd?.({ number, sentMillis, endedMillis, status, body });
    return status === 200 ? undefined : fall(`${status} ${body.trim().slice(0, 200)}`);
  };
  const started = performance.now();
  const asked: Promise<void>[] = [];
  let requests = 0;
  while (!load.isOver()) {
    const elapsed = (performance.now() - started) / 1000;
    const due = Math.floor(
      dueAt(elapsed, load.growsSlowly === true ? growSeconds : 0) * load.requestsPerSecond,
    );
    for (; requests < due; requests += 1) {
      const lateSeconds = (due - requests - 1) / load.requestsPerSecond;
      asked.push(ask(requests, started + (elapsed - lateSeconds) * 1000));
    }
    await sleep(2);
  }
  const seconds = (performance.now() - started) / 1000;
  await Promise.all(asked);
  agent.destroy();
  const sorted = latencies.sort((left, right) => left - right);
  return {
    requests,
    failures,
    seen,
    seconds,
    millisP50: quantile(sorted, 0.5),
    millisP99: quantile(sorted, 0.99),
    millisMax: sorted.at(-1) ?? 0,
  };
}

/** How many seconds' worth of requests at the full rate are due after so long. */
function dueAt(seconds: number, growing: number): number {
  return seconds < growing ? seconds ** 2 / (2 * growing) : seconds - growing / 2;
}

/** The value below which a share of sorted values lies; 0 where there are none. */
export function quantile(sorted: readonly number[], share: number): number {
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0;
}
