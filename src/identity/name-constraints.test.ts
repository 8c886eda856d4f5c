import { describe, expect, test } from "vitest";
import {
  authorityConstraints,
  type CertificateExtension,
  generateP256,
  keyUsageExtension,
  objectIdentifier,
  type ParsedCertificate,
  parseCertificate,
  uriNamesExtension,
} from "../crypto/index.ts";
import { nameConstraintRefusal } from "./name-constraints.ts";
import { forge, testDomain, valueOf } from "./svid-for-tests.ts";

const shop = testDomain("shop.example");
const uri = 0x86;
const dns = 0x82;

function certificate(extensions: readonly CertificateExtension[], subject?: Uint8Array): ParsedCertificate {
  const content = subject === undefined ? { extensions } : { extensions, subject };
  return valueOf(parseCertificate(forge(shop.root, content, generateP256())));
}

function element(tag: number, ...parts: readonly Uint8Array[]): Uint8Array {
  const content = Buffer.concat(parts);
  return Uint8Array.of(tag, content.byteLength, ...content);
}

function names(...pairs: readonly (readonly [number, string])[]): CertificateExtension {
  const value = element(0x30, ...pairs.map(([tag, text]) => element(tag, Buffer.from(text))));
  return { oid: objectIdentifier.subjectAlternativeName, critical: false, value };
}

/** A CA that permits (0xa0) or excludes (0xa1) names. */
function authorityWith(list: 0xa0 | 0xa1, tag: number, text: string): ParsedCertificate {
  const value = element(0x30, element(list, element(0x30, element(tag, Buffer.from(text)))));
  const constraints = { oid: objectIdentifier.nameConstraints, critical: true, value };
  return certificate([authorityConstraints(0), keyUsageExtension(["keyCertSign"]), constraints]);
}

function isWithin(authority: ParsedCertificate, extensions: readonly CertificateExtension[]): boolean {
  const empty = element(0x30);
  return nameConstraintRefusal([certificate(extensions, empty), authority]) === undefined;
}

describe("a URI", () => {
  test.each([
    [0xa0, "shop.example", "spiffe://shop.example/a", true],
    [0xa0, "SHOP.example", "spiffe://shop.example/a", true],
    [0xa0, "bank.example", "spiffe://shop.example/a", false],
    [0xa0, "example", "spiffe://shop.example/a", false],
    [0xa0, ".example", "spiffe://shop.example/a", true],
    [0xa0, ".shop.example", "spiffe://shop.example/a", false],
    [0xa0, "shop.example", "spiffe://shop.example:1/a", false],
    [0xa0, "shop.example", "spiffe://bank.example@shop.example/a", false],
    [0xa0, "shop.example", "urn:shop.example", false],
    [0xa1, "bank.example", "spiffe://shop.example/a", true],
    [0xa1, "shop.example", "spiffe://shop.example/a", false],
  ] as const)("below a CA with list %i of %s: %s is within: %s", (list, host, text, expected) => {
    expect(isWithin(authorityWith(list, uri, host), [uriNamesExtension([text])])).toBe(expected);
  });

  test("is free below a CA that constrains only other kinds of names", () => {
    expect(isWithin(authorityWith(0xa0, dns, "a.example"), [uriNamesExtension(["spiffe://b/c"])])).toBe(true);
  });
});

describe("a name of another kind", () => {
  test("is refused where its kind is constrained, since it is not compared", () => {
    const both = [names([uri, "spiffe://shop.example/a"], [dns, "a.example"])];

    expect(isWithin(authorityWith(0xa0, dns, "a.example"), both)).toBe(false);
    expect(isWithin(authorityWith(0xa0, uri, "shop.example"), both)).toBe(true);
  });

  test("is a subject too, where directory names are constrained", () => {
    const authority = authorityWith(0xa1, 0xa4, "");
    const extensions = [uriNamesExtension(["spiffe://shop.example/a"])];

    expect(nameConstraintRefusal([certificate(extensions), authority])).toMatchObject({ ok: false });
    expect(isWithin(authority, extensions)).toBe(true);
  });
});

test("the constraint of a CA binds every certificate below it, not those above", () => {
  const leaf = certificate([uriNamesExtension(["spiffe://shop.example/a"])]);
  const open = certificate([authorityConstraints(0)]);
  const closed = authorityWith(0xa0, uri, "bank.example");

  expect(nameConstraintRefusal([leaf, open, closed])).toMatchObject({ reason: "name-constraint-violated" });
  expect(nameConstraintRefusal([closed, leaf])).toBeUndefined();
});
