import type { Upstream } from "../../src/data-plane/forwarding/index.ts";
import { ExhaustedTraces, type TrafficCounts, TrafficPolicies } from "../../src/data-plane/traffic/index.ts";
import type { TrafficRow } from "../../src/trust-log/index.ts";
import { type FakeClock, fakeClock } from "../fakes/fake-clock.ts";
import { silentLog } from "../fakes/silent-log.ts";
import { type Hop, type HopOptions, openHop } from "../fuzz/http1-hop.ts";

/** The service that the policies of a hop are about, and the one that gets its copies. */
export const policedService = "/shop/pay";
export const mirrorService = "/shop/shadow";

/** One proxy with traffic policies in it, whose time for them stands still until it is moved. */
export interface PolicedHop extends AsyncDisposable {
  readonly hop: Hop;
  readonly port: number;
  readonly clock: FakeClock;
  readonly policies: TrafficPolicies;
  readonly exhausted: ExhaustedTraces;
  /** What was counted, as `kind value`. */
  readonly counted: string[];
  /** Puts a policy in force, or ends it. */
  police(row: Partial<TrafficRow> | undefined): void;
  /** Lets time pass by so much; what waits for it goes on within 10 ms. */
  pass(millis: number): void;
  /** How often something was counted. */
  countOf(what: string): number;
}

/** Opens one before a port; copies go to `mirror`. */
export async function openPolicedHop(
  upstreamPort: number,
  options: HopOptions & { readonly mirror?: Upstream; readonly random?: () => number } = {},
): Promise<PolicedHop> {
  const clock = fakeClock();
  const rows = new Map<string, TrafficRow>();
  const counted: string[] = [];
  const tally = (kind: string): { add: (value: string) => void } => ({
    add: (value) => void counted.push(`${kind} ${value}`),
  });
  const counts: TrafficCounts = {
    retries: tally("retries"),
    timeouts: tally("timeouts"),
    mirrored: tally("mirrored"),
    faults: tally("faults"),
  };
  const exhausted = new ExhaustedTraces(clock);
  const policies = new TrafficPolicies({
    rows: () => rows,
    clock,
    log: silentLog,
    counts,
    exhausted,
    upstreamOf: (service) => (service === mirrorService ? options.mirror : undefined),
    random: options.random ?? (() => 0),
  });
  const hop = await openHop(upstreamPort, {
    ...options,
    decide: (_, forward) =>
      forward.kind === "forward"
        ? { ...forward, upstream: policies.over(policedService, forward.upstream) }
        : forward,
  });
  return {
    hop,
    port: hop.port,
    clock,
    policies,
    exhausted,
    counted,
    police: (row) => {
      if (row === undefined) rows.delete(policedService);
      else rows.set(policedService, { protocol: "http", routes: [], ...row });
    },
    pass: (millis) => clock.advanceSeconds(millis / 1000),
    countOf: (what) => counted.filter((one) => one === what).length,
    [Symbol.asyncDispose]: async () => {
      policies.close();
      await hop[Symbol.asyncDispose]();
    },
  };
}
