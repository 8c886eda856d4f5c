import fc from "fast-check";
import { defaultHttp1Limits, scanRequestHead } from "../../src/data-plane/http1/index.ts";
import { anyRequestHead, compareWithLlhttp, mutatedHead } from "./http1-llhttp.ts";
import {
  assaultClient,
  assaultServer,
  clientAssault,
  type Survival,
  serverAssault,
} from "./http2-mutations.ts";
import {
  anyScripts,
  nodeThroughBothProxies,
  nodeWithOurClient,
  nodeWithOurServer,
  type Pairing,
} from "./http2-node.ts";

/** Tries out inputs until it finds one that does what none may do, or until its time is over. */
export interface Fuzzer {
  readonly name: string;
  /** Part of the time that all of them have together. */
  readonly share: number;
  readonly run: (budget: Budget) => Promise<Findings>;
}

/** What a fuzzer is given. */
export interface Budget {
  readonly millis: number;
  readonly seed: number;
}

/** What came of it. */
export interface Findings {
  readonly executions: number;
  /** An input that shows it, and what it shows; undefined where nothing was found. */
  readonly found: string | undefined;
  /** Whether what it shows is that it never ends. */
  readonly isHang: boolean;
}

/** How long one input may take, where the usual one takes some milliseconds. */
const hangMillis = 10_000;
const batchMin = 10;
const batchMax = 2_000;

/** All of them. */
export const fuzzers: readonly Fuzzer[] = [
  {
    name: "HTTP/1.1 heads against llhttp",
    share: 0.15,
    run: async (budget) => check(fc.asyncProperty(anyRequestHead, agreeWithLlhttp), budget),
  },
  {
    name: "mutated HTTP/1.1 heads against llhttp",
    share: 0.15,
    run: async (budget) => check(fc.asyncProperty(mutatedHead, agreeWithLlhttp), budget),
  },
  {
    name: "any bytes as a head of HTTP/1.1",
    share: 0.05,
    run: async (budget) => check(fc.asyncProperty(fc.uint8Array({ maxLength: 400 }), scanAny), budget),
  },
  {
    name: "frames of a client of ill will",
    share: 0.15,
    run: async (budget) => check(fc.asyncProperty(clientAssault, survive(assaultServer)), budget),
  },
  {
    name: "frames of a server of ill will",
    share: 0.15,
    run: async (budget) => check(fc.asyncProperty(serverAssault, survive(assaultClient)), budget),
  },
  { name: "nghttp2 as client of ours", share: 0.1, run: async (budget) => pair(nodeWithOurServer, budget) },
  { name: "nghttp2 as server of ours", share: 0.1, run: async (budget) => pair(nodeWithOurClient, budget) },
  {
    name: "nghttp2 with itself through both proxies",
    share: 0.15,
    run: async (budget) => pair(nodeThroughBothProxies, budget),
  },
];

async function agreeWithLlhttp(head: string): Promise<void> {
  const { disagreement } = await compareWithLlhttp(head);
  if (disagreement !== undefined) throw new Error(disagreement);
}

async function scanAny(bytes: Uint8Array): Promise<void> {
  scanRequestHead(Buffer.from(bytes), 0, bytes.length, defaultHttp1Limits);
}

function survive<Assault>(assault: (input: Assault) => Survival): (input: Assault) => Promise<void> {
  return async (input) => {
    const { complaint } = assault(input);
    if (complaint !== undefined) throw new Error(complaint);
  };
}

async function pair(open: () => Promise<Pairing>, budget: Budget): Promise<Findings> {
  await using pairing = await open();
  const property = fc.asyncProperty(anyScripts, async (scripts) => {
    const disagreement = await pairing.disagreement(scripts);
    if (disagreement !== undefined) throw new Error(disagreement);
  });
  return await check(property, budget);
}

/** In batches, since an input that is being tried when the time is over must have its time as well: it may hang. */
async function check<Input>(property: fc.IAsyncProperty<Input>, { millis, seed }: Budget): Promise<Findings> {
  const ends = performance.now() + millis;
  let executions = 0;
  for (let batch = 0; performance.now() < ends; batch += 1) {
    const numRuns = Math.max(batchMin, Math.floor(executions / 10));
    const settings = { seed: seed + batch, numRuns: Math.min(numRuns, batchMax), timeout: hangMillis };
    const details = await fc.check(property, { ...settings, endOnFailure: true });
    executions += details.numRuns;
    if (!details.failed) continue;
    const why = String(details.errorInstance);
    const input = JSON.stringify(details.counterexample);
    return { executions, found: `seed ${settings.seed}: ${input}: ${why}`, isHang: why.includes("timeout") };
  }
  return { executions, found: undefined, isHang: false };
}
