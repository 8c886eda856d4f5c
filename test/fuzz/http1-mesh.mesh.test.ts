import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { expect, test } from "vitest";
import { GoHttp1Reader } from "../apparatus/go-http1-reader.ts";
import { missingForGoPeer } from "../apparatus/go-peer.ts";
import { Http1Ground } from "../apparatus/http1-ground.ts";
import { assail, mutant } from "./http1-mesh-mutations.ts";

test("no mutated request is answered otherwise than it was read, or read otherwise by Go than by llhttp", {
  timeout: 120_000,
}, async () => {
  const folder = mkdtempSync(join(tmpdir(), "troth-http1-mutations-"));
  const go = missingForGoPeer("http1-reader") === undefined ? await GoHttp1Reader.open(folder) : undefined;
  const ground = await Http1Ground.open();
  const statuses = new Set<number>();
  let reached = 0;
  try {
    await fc.assert(
      fc.asyncProperty(fc.array(mutant, { minLength: 10, maxLength: 40 }), async (mutants) => {
        const survival = await assail(ground, go, mutants);

        expect(survival.complaints).toEqual([]);
        reached += survival.reached;
        for (const status of survival.statuses) statuses.add(status);
      }),
      { numRuns: 60, interruptAfterTimeLimit: 60_000 },
    );
  } finally {
    await ground[Symbol.asyncDispose]();
    await go?.[Symbol.asyncDispose]();
    rmSync(folder, { recursive: true });
  }
  // The mutants get to the application, and are refused for many reasons.
  expect(reached).toBeGreaterThan(200);
  expect(statuses.size).toBeGreaterThan(5);
});
