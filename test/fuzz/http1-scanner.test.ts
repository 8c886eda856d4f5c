import fc from "fast-check";
import { expect, test } from "vitest";
import { defaultHttp1Limits, scanRequestHead } from "../../src/data-plane/http1/index.ts";
import { anyRequestHead, compareWithLlhttp, mutatedHead } from "./http1-llhttp.ts";

test("whatever we take for a request, llhttp takes for the same request with the same end", {
  timeout: 120_000,
}, async () => {
  await agreeOn(anyRequestHead);
});

test("a mutated request that we take, llhttp takes for the same", { timeout: 120_000 }, async () => {
  await agreeOn(mutatedHead);
});

test("any bytes give a head, a refusal or the wish for more, and never a throw", () => {
  const window = fc.oneof(
    fc.uint8Array({ maxLength: 200 }).map((bytes) => Buffer.from(bytes)),
    mutatedHead.map((text) => Buffer.from(text, "latin1")),
  );
  fc.assert(
    fc.property(window, fc.nat(220), (bytes, cut) => {
      const whole = scanRequestHead(bytes, 0, bytes.length, defaultHttp1Limits);
      const part = scanRequestHead(bytes, 0, Math.min(cut, bytes.length), defaultHttp1Limits);

      expect(["head", "refused", "need-more"]).toContain(whole.kind);
      if (part.kind === "refused") expect(whole).toEqual(part);
      if (part.kind === "head") expect(whole).toMatchObject({ kind: "head", target: part.target });
    }),
    { numRuns: 20_000 },
  );
});

async function agreeOn(heads: fc.Arbitrary<string>): Promise<void> {
  let accepted = 0;
  await fc.assert(
    fc.asyncProperty(heads, async (head) => {
      const { isAccepted, disagreement } = await compareWithLlhttp(head);
      if (isAccepted) accepted += 1;
      expect(disagreement).toBeUndefined();
    }),
    { numRuns: 20_000 },
  );
  expect(accepted).toBeGreaterThan(1_500);
}
