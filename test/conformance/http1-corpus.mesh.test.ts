import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { GoHttp1Reader } from "../apparatus/go-http1-reader.ts";
import { missingForGoPeer } from "../apparatus/go-peer.ts";
import { Http1Ground } from "../apparatus/http1-ground.ts";
import { openScriptedApp, type ScriptedApp } from "../apparatus/scripted-app.ts";
import { isEndedClientWaitedFor, rowsAwaitingRepair } from "./http1/awaiting-repair.ts";
import { corpus } from "./http1/corpus.ts";
import { judgeEarlyAnswer, judgeResponse } from "./http1/judge-response.ts";
import type { Sending } from "./http1/judge-row.ts";
import { type ResponseRow, responseRows } from "./http1/response-rows.ts";
import { isEndedClientAwaited, runCorpus, runStalled } from "./http1/run-corpus.ts";

const missing = missingForGoPeer("http1-reader");
if (missing !== undefined) console.log(`Go's net/http does not read along: ${missing}`);

const folder = mkdtempSync(join(tmpdir(), "troth-http1-corpus-"));
let hostile: ScriptedApp;
let ground: Http1Ground;
let go: GoHttp1Reader | undefined;

beforeAll(async () => {
  hostile = await openScriptedApp();
  ground = await Http1Ground.open({ "/shop/hostile": hostile });
  if (missing === undefined) go = await GoHttp1Reader.open(folder);
}, 120_000);
afterAll(async () => {
  await go?.[Symbol.asyncDispose]();
  await ground[Symbol.asyncDispose]();
  rmSync(folder, { recursive: true });
});

/** What a hostile sidecar sends is tried by the proof: a handshake for each row takes its time. */
const ways: readonly (readonly [string, Sending])[] = [
  ["by an application", { edge: "outbound" }],
  ["by an application, in pieces", { edge: "outbound", pieceBytes: 7 }],
];
const rows = corpus.filter(({ name }) => !rowsAwaitingRepair.has(name));

test("each row is a different message with a name of its own", () => {
  expect(new Set(corpus.map(({ name }) => name)).size).toBe(corpus.length);
  expect(new Set(corpus.map(({ bytes }) => bytes)).size).toBe(corpus.length);
  expect(corpus.length).toBeGreaterThan(200);
});

test.each(ways)(
  "what is sent %s is refused or reaches the application in one reading",
  { timeout: 60_000 },
  async (_, sending) => {
    const { wrong, disagreements, reached } = await runCorpus(ground, rows, { sending, go });

    expect(wrong).toEqual([]);
    expect(disagreements).toEqual([]);
    expect(reached).toBeGreaterThan(100);
  },
);

test("a hostile response is refused, or the client reads one response in it and its own behind it", {
  timeout: 60_000,
}, async () => {
  const sound = responseRows.filter(({ name }) => !rowsAwaitingRepair.has(name));

  expect(await wrongResponses(sound)).toEqual([]);
});

test("the rest of a body that was answered early is no request", async () => {
  const address = ground.caller.sidecar.outboundAddress;

  expect(await judgeEarlyAnswer({ address, app: hostile, host: "hostile.shop.mesh", go })).toEqual([]);
});

test("rows that await repair fail, or they would not be on the list", async () => {
  for (const row of corpus.filter(({ name }) => rowsAwaitingRepair.has(name))) {
    const { wrong } = await runCorpus(ground, [row], { sending: { edge: "outbound" }, go });
    expect([row.name, wrong.length > 0]).toEqual([row.name, true]);
  }
  for (const row of responseRows.filter(({ name }) => rowsAwaitingRepair.has(name)))
    expect([row.name, (await wrongResponses([row])).length > 0]).toEqual([row.name, true]);
  expect(await isEndedClientAwaited(ground)).toBe(isEndedClientWaitedFor);
});

// Last, since the caller's sidecar has no news of the mesh afterwards, by its clock.
test("what stops in its middle is answered 408 in time and never completed", {
  timeout: 60_000,
}, async () => {
  expect(await runStalled(ground)).toEqual([]);
});

async function wrongResponses(of: readonly ResponseRow[]): Promise<string[]> {
  const at = { address: ground.caller.sidecar.outboundAddress, app: hostile, host: "hostile.shop.mesh", go };
  const wrong: string[] = [];
  for (const row of of)
    for (const complaint of await judgeResponse(at, row)) wrong.push(`${row.name}: ${complaint}`);
  return wrong;
}
