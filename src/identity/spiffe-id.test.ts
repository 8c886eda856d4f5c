import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  parseSpiffeId,
  parseTrustDomain,
  pathOf,
  spiffeIdOfTrustDomain,
  trustDomainOf,
} from "./spiffe-id.ts";
import { valueOf } from "./svid-for-tests.ts";

const codePoints = Array.from({ length: 256 }, (_unused, code) => String.fromCharCode(code));
const trustDomainCharacters = "abcdefghijklmnopqrstuvwxyz0123456789.-_";
const pathCharacters = `${trustDomainCharacters}ABCDEFGHIJKLMNOPQRSTUVWXYZ`;

function reasonOf(text: string): string {
  const parsed = parseSpiffeId(text);
  return parsed.ok ? "accepted" : parsed.reason;
}

test("a trust domain holds exactly the 39 characters of the specification, out of 256", () => {
  const accepted = codePoints.filter((character) => parseTrustDomain(`a${character}b`).ok);

  expect(new Set(accepted)).toEqual(new Set(trustDomainCharacters));
});

test("an ID's trust domain holds exactly the same characters, beside the slash that ends it", () => {
  const accepted = codePoints.filter((character) => parseSpiffeId(`spiffe://a${character}b/c`).ok);

  expect(new Set(accepted)).toEqual(new Set(`${trustDomainCharacters}/`));
});

test("a path holds exactly the 65 characters of the specification and slashes, out of 256", () => {
  const accepted = codePoints.filter((character) => parseSpiffeId(`spiffe://a/b${character}c`).ok);

  expect(new Set(accepted)).toEqual(new Set(`${pathCharacters}/`));
});

describe("accepts", () => {
  test.each([
    ["spiffe://shop.example", "shop.example", ""],
    ["spiffe://shop.example/a", "shop.example", "/a"],
    ["spiffe://shop.example/A/b_c/d-e/f.g", "shop.example", "/A/b_c/d-e/f.g"],
    ["spiffe://shop.example/.../.a/..a/a..", "shop.example", "/.../.a/..a/a.."],
    ["spiffe://192.0.2.1/a", "192.0.2.1", "/a"],
    [`spiffe://${"d".repeat(255)}/a`, "d".repeat(255), "/a"],
  ])("%s", (text, trustDomain, path) => {
    const id = valueOf(parseSpiffeId(text));

    expect([trustDomainOf(id), pathOf(id)]).toEqual([trustDomain, path]);
  });
});

describe("refuses", () => {
  test.each([
    ["", "scheme-missing"],
    ["shop.example/a", "scheme-missing"],
    ["Spiffe://shop.example/a", "scheme-missing"],
    ["http://shop.example/a", "scheme-missing"],
    ["spiffe:/shop.example/a", "scheme-missing"],
    [" spiffe://shop.example/a", "scheme-missing"],
    ["spiffe://", "trust-domain-missing"],
    ["spiffe:///a", "trust-domain-missing"],
    [`spiffe://${"d".repeat(256)}/a`, "trust-domain-too-long"],
    ["spiffe://Shop.example/a", "bad-trust-domain-character"],
    ["spiffe://user@shop.example/a", "bad-trust-domain-character"],
    ["spiffe://shop.example:443/a", "bad-trust-domain-character"],
    ["spiffe://[2001:db8::1]/a", "bad-trust-domain-character"],
    ["spiffe://shop%2eexample/a", "bad-trust-domain-character"],
    ["spiffe://shop.example?a", "bad-trust-domain-character"],
    ["spiffe://shop.example#a", "bad-trust-domain-character"],
    ["spiffe://shop.example/a?b", "bad-path-character"],
    ["spiffe://shop.example/a#b", "bad-path-character"],
    ["spiffe://shop.example/%61", "bad-path-character"],
    ["spiffe://shop.example/a\u0000", "bad-path-character"],
    ["spiffe://shop.example/a\n", "bad-path-character"],
    ["spiffe://shop.example/\u{1f600}", "bad-path-character"],
    ["spiffe://shop.example/", "trailing-slash"],
    ["spiffe://shop.example/a/", "trailing-slash"],
    ["spiffe://shop.example//a", "empty-segment"],
    ["spiffe://shop.example/a//b", "empty-segment"],
    ["spiffe://shop.example/./a", "dot-segment"],
    ["spiffe://shop.example/a/..", "dot-segment"],
    [`spiffe://a/${"b".repeat(2038)}`, "too-long"],
  ])("%j: %s", (text, reason) => {
    expect(reasonOf(text)).toBe(reason);
  });

  test("nothing of 2048 bytes for its length", () => {
    expect(reasonOf(`spiffe://a/${"b".repeat(2037)}`)).toBe("accepted");
  });
});

test("whatever is accepted is made of its trust domain and its path", () => {
  const text = fc.oneof(
    fc.string(),
    fc
      .string({ unit: fc.constantFrom("/", ".", "a", "B", "%", "_"), maxLength: 20 })
      .map((tail) => `spiffe://a${tail}`),
  );
  fc.assert(
    fc.property(text, (candidate) => {
      const id = parseSpiffeId(candidate);
      return !id.ok || `${spiffeIdOfTrustDomain(trustDomainOf(id.value))}${pathOf(id.value)}` === candidate;
    }),
  );
});
