import fc from "fast-check";
import { expect, it } from "vitest";
import { parseRequestToken, type RequestToken, requestTokenText } from "./index.ts";

const blob = (length: number) => fc.uint8Array({ minLength: length, maxLength: length });
const tokens: fc.Arbitrary<RequestToken> = fc.record({
  mode: fc.constantFrom("granted", "per-request"),
  keyPeriod: fc.integer({ min: 0, max: 0xffff_ffff }),
  issuedAtMillis: fc.maxSafeNat(),
  nonce: blob(16),
  certificateFingerprint: blob(32),
  requestDigest: blob(32),
  tag: blob(32),
});
const [sample] = fc.sample(tokens, { numRuns: 1, seed: 7 });
const text = sample === undefined ? "" : requestTokenText(sample);

it("reads what it writes", () => {
  fc.assert(
    fc.property(tokens, (token) => {
      const written = requestTokenText(token);
      expect(written).toMatch(/^[A-Za-z0-9_-]{168}$/);
      expect(parseRequestToken(written)).toEqual({ ok: true, value: token });
    }),
  );
});

it("writes what it reads: a token has one spelling", () => {
  fc.assert(
    fc.property(
      fc.string({ minLength: 160, maxLength: 176, unit: fc.constantFrom(...Array.from("AQ-_+/= \n")) }),
      (any) => {
        const parsed = parseRequestToken(any);
        if (parsed.ok) expect(requestTokenText(parsed.value)).toBe(any);
      },
    ),
  );
});

it.each([
  ["nothing", ""],
  ["one character less", text.slice(1)],
  ["one more", `${text}A`],
  ["padding", `${text}=`],
  ["padding in place of a character", `${text.slice(0, -1)}=`],
  ["white space in front", ` ${text}`],
  ["white space in place of a character", `${text.slice(0, 5)} ${text.slice(6)}`],
  ["a line break at the end", `${text.slice(0, -1)}\n`],
  ["the other alphabet", `+/${text.slice(2)}`],
  ["a character that is not ASCII", `${text.slice(0, -1)}é`],
  ["a character of two units", `${text.slice(0, -2)}𐍈`],
  ["two tokens in one header", `${text}, ${text}`],
])("takes no other spelling: %s", (_, spelling) => {
  expect(parseRequestToken(spelling)).toMatchObject({ ok: false, reason: "request-token-malformed" });
});

it("reads version 1 alone, and the two modes", () => {
  const withBytes = (version: number, mode: number) => {
    const bytes = Buffer.from(text, "base64url");
    bytes.set([version, mode]);
    return parseRequestToken(bytes.toString("base64url"));
  };

  for (const version of [0, 2, 255])
    expect(withBytes(version, 1)).toMatchObject({ ok: false, reason: "request-token-version" });
  for (const mode of [0, 3, 255])
    expect(withBytes(1, mode)).toMatchObject({ ok: false, reason: "request-token-mode" });
  expect([withBytes(1, 1), withBytes(1, 2)].map((parsed) => parsed.ok && parsed.value.mode)).toEqual([
    "per-request",
    "granted",
  ]);
});
