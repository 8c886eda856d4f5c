import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, beforeAll, expect, test } from "vitest";
import { GoHttp1Reader } from "../apparatus/go-http1-reader.ts";
import { missingForGoPeer } from "../apparatus/go-peer.ts";
import { Http1Ground } from "../apparatus/http1-ground.ts";
import { openScriptedApp, type ScriptedApp } from "../apparatus/scripted-app.ts";
import { assail, mutant } from "./http1-mesh-mutations.ts";
import { assailWithResponse, responseMutant } from "./http1-response-mutations.ts";

const folder = mkdtempSync(join(tmpdir(), "troth-http1-mutations-"));
const isGoHere = missingForGoPeer("http1-reader") === undefined;
let hostile: ScriptedApp;
let ground: Http1Ground;
let go: GoHttp1Reader | undefined;

beforeAll(async () => {
  hostile = await openScriptedApp();
  ground = await Http1Ground.open({ "/shop/hostile": hostile });
  if (isGoHere) go = await GoHttp1Reader.open(folder);
}, 120_000);
afterAll(async () => {
  await go?.[Symbol.asyncDispose]();
  await ground[Symbol.asyncDispose]();
  rmSync(folder, { recursive: true });
});

test("no mutated request is answered otherwise than it was read, or read otherwise by Go than by llhttp", {
  timeout: 120_000,
}, async () => {
  const statuses = new Set<number>();
  let reached = 0;

  await fc.assert(
    fc.asyncProperty(fc.array(mutant, { minLength: 10, maxLength: 40 }), async (mutants) => {
      const survival = await assail(ground, go, mutants);

      expect(survival.complaints).toEqual([]);
      reached += survival.reached;
      for (const status of survival.statuses) statuses.add(status);
    }),
    { numRuns: 60, interruptAfterTimeLimit: 60_000 },
  );

  // The mutants get to the application, and are refused for many reasons.
  expect(reached).toBeGreaterThan(200);
  expect(statuses.size).toBeGreaterThan(5);
});

test("no mutated response answers another request, or is read otherwise by Go than by llhttp", {
  timeout: 120_000,
}, async () => {
  const statuses = new Set<number>();
  const address = ground.caller.sidecar.outboundAddress;
  const at = { address, app: hostile, host: "hostile.shop.mesh", go };

  await fc.assert(
    fc.asyncProperty(responseMutant, async (response) => {
      const survival = await assailWithResponse(at, response);

      expect(survival.complaints).toEqual([]);
      statuses.add(survival.status);
    }),
    { numRuns: 500, interruptAfterTimeLimit: 60_000 },
  );

  expect(statuses).toContain(200);
  expect(statuses).toContain(502);
});
