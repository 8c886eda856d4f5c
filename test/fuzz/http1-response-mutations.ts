import fc from "fast-check";
import { LlhttpClient } from "../apparatus/llhttp-client.ts";
import { theEnd, unscripted } from "../apparatus/scripted-app.ts";
import { bytesAwaitingRepair } from "../conformance/http1/awaiting-repair.ts";
import { disagreements, type ResponseGround } from "../conformance/http1/judge-response.ts";
import { responseRows } from "../conformance/http1/response-rows.ts";
import { change } from "./http1-mesh-mutations.ts";

/** What an application of ill will sends for a request, before it ends its side. */
export interface ResponseMutant {
  readonly method: "GET" | "HEAD" | "POST";
  /** In Latin-1. */
  readonly bytes: string;
}

const bytesMax = 3_000;
const response = fc.constantFrom(
  ...responseRows
    .map(({ steps }) => steps.filter((step) => typeof step === "string").join(""))
    .filter((bytes) => bytes !== "" && bytes.length < bytesMax),
);

/** Rows of the corpus of responses, alone or one behind the other, changed in a few places. */
export const responseMutant: fc.Arbitrary<ResponseMutant> = fc
  .record({
    method: fc.constantFrom("GET", "GET", "GET", "HEAD", "POST"),
    responses: fc.array(response, { minLength: 1, maxLength: 2 }),
    changes: fc.array(change, { maxLength: 3 }),
  })
  .map(({ method, responses, changes }) => {
    const bytes = changes.reduce((changed, apply) => apply(changed), responses.join(""));
    return { method, bytes };
  })
  .filter(({ bytes }) => bytes !== "" && bytesAwaitingRepair?.test(bytes) !== true);

/** What came of a response. */
export interface ResponseSurvival {
  readonly complaints: readonly string[];
  /** The status that the client got; 0 where the response broke off. */
  readonly status: number;
}

/** Lets the application send it: the next request gets its own answer, and Go reads what llhttp reads. */
export async function assailWithResponse(
  { address, app, host, go }: ResponseGround,
  { method, bytes }: ResponseMutant,
): Promise<ResponseSurvival> {
  app.scripts.set("/mutant", [bytes, theEnd]);
  using client = new LlhttpClient(address);
  const first = await client.call({
    method,
    target: "/mutant",
    host,
    body: method === "POST" ? "a body" : "",
  });
  const next = await client.call({ method: "GET", target: "/next", host });
  const complaints: string[] = [];
  if ("brokenBy" in next || next.status !== 200 || next.body !== unscripted)
    complaints.push(`the next request got ${JSON.stringify(next)}`);
  if ("brokenBy" in first && first.brokenBy.startsWith("Parse Error")) complaints.push(first.brokenBy);
  if ("brokenBy" in first && first.brokenBy === "no answer in time") complaints.push(first.brokenBy);
  if (go !== undefined) complaints.push(...(await disagreements(go, client.tapes, [first, next])));
  const shown = JSON.stringify({ method, bytes });
  return {
    complaints: complaints.map((complaint) => `${complaint} (${shown})`),
    status: "brokenBy" in first ? 0 : first.status,
  };
}
