import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { z } from "zod";
import { encodeRequestTokenCase } from "../../test/apparatus/request-token-cases.ts";
import { requestDigest } from "./index.ts";

const specs = join(import.meta.dirname, "..", "..", "docs", "specs");
const vector = z.object({
  about: z.string(),
  rootKey: z.string(),
  audience: z.string(),
  spiffeId: z.string(),
  source: z.string(),
  destination: z.string(),
  mode: z.enum(["granted", "per-request"]),
  method: z.string(),
  path: z.string(),
  contentDigest: z.string(),
  certificateFingerprint: z.string(),
  channelBinding: z.string(),
  nonce: z.string(),
  issuedAtMillis: z.number(),
  audienceKey: z.string(),
  clientKey: z.string(),
  requestDigest: z.string(),
  token: z.string(),
});
const vectors = z
  .array(vector)
  .parse(JSON.parse(readFileSync(join(specs, "request-token-vectors.json"), "utf8")));

it.each(vectors)("has the published keys and token: $about", (given) => {
  expect(encodeRequestTokenCase(given)).toBe(`${given.audienceKey} ${given.clientKey} ${given.token}`);
  expect(Buffer.from(requestDigest(given)).toString("hex")).toBe(given.requestDigest);
});

it("has the first vector in the page that describes the format", () => {
  const page = readFileSync(join(specs, "request-token.md"), "utf8");

  expect(
    Object.values(vectors[0] ?? {}).filter(
      (value) => value !== vectors[0]?.about && !page.includes(String(value)),
    ),
  ).toEqual([]);
});
