import { openPlainApp, type PlainApp } from "./plain-app.ts";

/** An application that takes its time, and counts what it is asked at a time. */
export interface TimedApp extends PlainApp {
  /** How long an answer takes from now on. */
  millis: number;
  readonly requests: number;
  readonly inFlight: number;
  /** The most requests that it ever had at a time. */
  readonly inFlightPeak: number;
}

/** Opens it on loopback. */
export async function openTimedApp(millis: number, port = 0): Promise<TimedApp> {
  const counts = { requests: 0, inFlight: 0, inFlightPeak: 0 };
  const plain = await openPlainApp({
    port,
    answer: (_, response) => {
      counts.requests += 1;
      counts.inFlight += 1;
      counts.inFlightPeak = Math.max(counts.inFlightPeak, counts.inFlight);
      // Nobody needs to know later what was asked.
      plain.seen.length = 0;
      setTimeout(() => {
        counts.inFlight -= 1;
        response.end("ok");
      }, app.millis);
    },
  });
  const app: TimedApp = {
    ...plain,
    millis,
    get requests() {
      return counts.requests;
    },
    get inFlight() {
      return counts.inFlight;
    },
    get inFlightPeak() {
      return counts.inFlightPeak;
    },
  };
  return app;
}
