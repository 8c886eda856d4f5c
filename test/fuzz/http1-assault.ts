import fc from "fast-check";
import type { Http1Ground } from "../apparatus/http1-ground.ts";
import type { ResponseGround } from "../conformance/http1/judge-response.ts";
import { assail, mutant } from "./http1-mesh-mutations.ts";
import { assailWithResponse, responseMutant } from "./http1-response-mutations.ts";

/** What came of an assault in which nothing was to be complained of. */
export interface AssaultFigures {
  /** Messages sent to the sidecars. */
  readonly requests: number;
  /** Requests that reached the application. */
  readonly reached: number;
  readonly responses: number;
  /** By what the other side got, and how often. */
  readonly outcomes: ReadonlyMap<string, number>;
  readonly heapBytesMax: number;
}

/**
 * Sends mutated requests for a while, and mutated responses back for as long. Throws on the first complaint, with the
 * smallest mutant that shows it and the seed.
 */
export async function assailFor(
  ground: Http1Ground,
  responses: ResponseGround,
  { seconds, seed }: { readonly seconds: number; readonly seed: number },
): Promise<AssaultFigures> {
  const outcomes = new Map<string, number>();
  const counts = { requests: 0, reached: 0, responses: 0 };
  let heapBytesMax = 0;
  const count = (what: string): void => {
    outcomes.set(what, (outcomes.get(what) ?? 0) + 1);
  };
  const judge = (complaints: readonly string[]): void => {
    heapBytesMax = Math.max(heapBytesMax, process.memoryUsage().heapUsed);
    if (complaints.length > 0) throw new Error(complaints.join("\n"));
  };
  const settings = { seed, numRuns: Number.MAX_SAFE_INTEGER, interruptAfterTimeLimit: seconds * 500 };
  await fc.assert(
    fc.asyncProperty(fc.array(mutant, { minLength: 1, maxLength: 60 }), async (mutants) => {
      const survival = await assail(ground, responses.go, mutants);
      judge(survival.complaints);
      counts.requests += mutants.length;
      counts.reached += survival.reached;
      for (const status of survival.statuses) count(`request answered ${status}`);
    }),
    settings,
  );
  await fc.assert(
    fc.asyncProperty(responseMutant, async (response) => {
      const survival = await assailWithResponse(responses, response);
      judge(survival.complaints);
      counts.responses += 1;
      count(survival.status === 0 ? "response broken off" : `response of ${survival.status}`);
    }),
    settings,
  );
  return { ...counts, outcomes, heapBytesMax };
}
