import http from "node:http";
import { setTimeout as sleep } from "node:timers/promises";

/** What came of requests that were sent one after the other on several connections. */
export interface SteadyReport {
  readonly requests: number;
  /** What was seen instead of a 200, in words. */
  readonly failures: readonly string[];
}

const lanes = 4;

/** Keeps asking, a few requests at a time, until it is stopped; each on a connection of its own, or on the same few. */
export function askSteadily(
  options: http.RequestOptions,
  { keepsConnections }: { readonly keepsConnections: boolean },
): { stop(): Promise<SteadyReport> } {
  const agent = new http.Agent({ keepAlive: keepsConnections, maxSockets: lanes });
  const failures: string[] = [];
  let requests = 0;
  const running = new AbortController();
  const ask = (): Promise<void> =>
    new Promise((resolve) => {
      const request = http.request({ ...options, agent }, (response) => {
        if (response.statusCode !== 200) failures.push(`status ${response.statusCode}`);
        response.resume();
        response.once("close", resolve);
      });
      request.once("error", (error) => {
        failures.push(error.message);
        resolve();
      });
      request.end();
    });
  const lane = async (): Promise<void> => {
    while (!running.signal.aborted) {
      requests += 1;
      await ask();
      await sleep(2);
    }
  };
  const asking = Promise.all(Array.from({ length: lanes }, lane));
  return {
    stop: async () => {
      running.abort();
      await asking;
      agent.destroy();
      return { requests, failures };
    },
  };
}
