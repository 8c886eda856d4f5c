import { randomBytes } from "node:crypto";
import { expect, it } from "vitest";
import { deriveAudienceKey, importRequestTokenKey } from "../request-token/index.ts";
import { DerivedAudienceKeys, keptAudiencesMax } from "./derived-audience-keys.ts";

const root = importRequestTokenKey(randomBytes(32));

it("derives the key of each audience and key period, once for all who ask", () => {
  const keys = new DerivedAudienceKeys();
  for (const audience of ["a/1", "a/2", "b/1"])
    for (const keyPeriod of [7, 8])
      expect(keys.of(root, keyPeriod, audience).equals(deriveAudienceKey(root, keyPeriod, audience))).toBe(
        true,
      );

  expect(keys.of(root, 7, "a/1")).toBe(keys.of(root, 7, "a/1"));
});

it("keeps the keys of a bounded number of audiences, of those that were asked for last", () => {
  const keys = new DerivedAudienceKeys();
  const [first, second] = [keys.of(root, 7, "0"), keys.of(root, 7, "1")];
  for (let count = 2; count < keptAudiencesMax; count += 1) keys.of(root, 7, String(count));
  expect(keys.of(root, 7, "0")).toBe(first);

  keys.of(root, 7, "another");

  expect(keys.of(root, 7, "0")).toBe(first);
  expect(keys.of(root, 7, "1")).not.toBe(second);
});

it("keeps a bounded number of keys of an audience, those that were asked for last", () => {
  const keys = new DerivedAudienceKeys();
  const first = keys.of(root, 0, "a");
  const last = keys.of(root, 159, "a");
  expect(keys.of(root, 0, "a")).toBe(first);
  for (let keyPeriod = 1; keyPeriod <= 160; keyPeriod += 1) keys.of(root, keyPeriod, "a");

  expect(keys.of(root, 159, "a")).toBe(last);
  expect(keys.of(root, 0, "a")).not.toBe(first);
});
