import { randomBytes } from "node:crypto";
import { exportPublicKey, generateP256 } from "../../src/crypto/index.ts";
import {
  checkJwtSvid,
  checkSvid,
  checkWitSvid,
  mintJwtSvid,
  mintWitSvid,
  openTokenKey,
  parseSpiffeBundle,
  parseSpiffeId,
  parseTrustDomain,
  type SpiffeBundle,
  type TokenChecks,
  type TokenKeys,
  type TrustBundle,
  tokenKeysOf,
  trustBundlesOf,
  writeSpiffeBundle,
} from "../../src/identity/index.ts";
import { testId, testWorld, valueOf } from "../../src/identity/svid-for-tests.ts";
import { bundleCases } from "./bundle-cases.ts";
import type { GoSpiffeJob } from "./go-spiffe.ts";
import { spiffeIdCases } from "./spiffe-id-cases.ts";
import { svidCases } from "./svid-cases.ts";
import { tokenCases } from "./token-cases.ts";

/** A case of a table of SPIFFE's rules: what is to be said of it, what is said here, and how go-spiffe is asked. */
export interface JudgedCase {
  readonly table: string;
  readonly name: string;
  /** "accepted", or a reason. */
  readonly expected: string;
  readonly found: string;
  /** Why go-spiffe may accept what is refused here. */
  readonly stricter?: string;
  readonly job: GoSpiffeJob;
}

interface Case {
  readonly name: string;
  readonly verdict: string;
  readonly stricter?: string;
}

/** All tables, judged here at a moment (seconds since 1970). */
export function judgedCases(nowSeconds: number): readonly JudgedCase[] {
  return [
    ...spiffeIdCases().map((one) =>
      judged("SPIFFE ID", one, idVerdict(one.text), { kind: "id", text: one.text }),
    ),
    ...svidCases(nowSeconds).map((one) => {
      const svid = checkSvid(one.chain, trustBundlesOf(...one.bundles), nowSeconds);
      const bundles = Object.fromEntries(one.bundles.map((x509) => [x509.trustDomain, bundleText({ x509 })]));
      return judged("X.509-SVID", one, verdictOf(svid), { kind: "x509", chain: one.chain, bundles });
    }),
    ...judgedTokens(nowSeconds),
    ...judgedMinted(nowSeconds),
    ...bundleCases().map((one) =>
      judged("bundle", one, bundleVerdict(one.text), {
        kind: "bundle",
        bundles: { "shop.example": one.text },
      }),
    ),
  ];
}

/** SPIFFE IDs at random that are nearly right, and what is said of them here. */
export function judgedRandomIds(count: number): readonly JudgedCase[] {
  const parts = [
    "spiffe://",
    "spiffe:",
    "/",
    "//",
    ".",
    "..",
    "...",
    "a",
    "B",
    "-",
    "_",
    "0",
    "%",
    "@",
    ":",
    "?",
    "#",
    "\u00e9",
    " ",
  ];
  return Array.from({ length: count }, () => {
    const drawn = [...randomBytes(1 + ((randomBytes(1)[0] ?? 0) % 8))].map(
      (byte) => parts[byte % parts.length] ?? "",
    );
    const text = `${(randomBytes(1)[0] ?? 0) < 240 ? "spiffe://" : ""}${drawn.join("")}`;
    const found = idVerdict(text);
    return judged("SPIFFE ID at random", { name: JSON.stringify(text), verdict: found }, found, {
      kind: "id",
      text,
    });
  });
}

function judgedTokens(nowSeconds: number): readonly JudgedCase[] {
  const { cases, audience, keys } = tokenCases(nowSeconds);
  const bundles = {
    jwt: bundleTexts(keys.jwt, (jwtKeys) => ({ jwtKeys })),
    wit: bundleTexts(keys.wit, (witKeys) => ({ witKeys })),
  };
  return cases.map((one) => {
    const { kind, token } = one;
    const checks: TokenChecks = {
      keysOf: (trustDomain) => keys[kind].get(trustDomain),
      nowSeconds,
      isRevoked: () => false,
    };
    return kind === "jwt"
      ? judged("JWT-SVID", one, verdictOf(checkJwtSvid(token, { ...checks, audience })), {
          kind,
          text: token,
          audience,
          bundles: bundles.jwt,
        })
      : judged("WIT-SVID", one, verdictOf(checkWitSvid(token, checks)), {
          kind,
          text: token,
          bundles: bundles.wit,
        });
  });
}

/** Tokens as the control plane issues them, by keys as it publishes them. */
function judgedMinted(nowSeconds: number): readonly JudgedCase[] {
  const trustDomain = valueOf(parseTrustDomain("shop.example"));
  const world = testWorld(nowSeconds);
  const spiffeId = testId("spiffe://shop.example/shop/payments");
  const about = { spiffeId, instance: "5c2a9f0e-3c8f-4a41-9f6e-0a1b2c3d4e5f" };
  const { privateKey, publicKey } = generateP256();
  const key = openTokenKey(trustDomain, privateKey, nowSeconds + 86_400);
  const keys = tokenKeysOf([exportPublicKey(publicKey)]);
  const checks: TokenChecks = { keysOf: () => keys, nowSeconds, isRevoked: () => false };
  const audience = "https://api.example/";
  const jwt = valueOf(mintJwtSvid(key, { ...about, audience: [audience] }, world)).token;
  const wit = valueOf(mintWitSvid(key, { ...about, confirmationKey: generateP256().publicKey }, world)).token;
  const issued = { name: "as it is issued here", verdict: "accepted" };
  return [
    judged("JWT-SVID", issued, verdictOf(checkJwtSvid(jwt, { ...checks, audience })), {
      kind: "jwt",
      text: jwt,
      audience,
      bundles: bundleTexts(new Map([[trustDomain, keys]]), (jwtKeys) => ({ jwtKeys })),
    }),
    judged("WIT-SVID", issued, verdictOf(checkWitSvid(wit, checks)), {
      kind: "wit",
      text: wit,
      bundles: bundleTexts(new Map([[trustDomain, keys]]), (witKeys) => ({ witKeys })),
    }),
  ];
}

function judged(
  table: string,
  { name, verdict, stricter }: Case,
  found: string,
  job: GoSpiffeJob,
): JudgedCase {
  return { table, name, expected: verdict, found, job, ...(stricter === undefined ? {} : { stricter }) };
}

function verdictOf(
  judgement: { readonly ok: true } | { readonly ok: false; readonly reason: string },
): string {
  return judgement.ok ? "accepted" : judgement.reason;
}

function idVerdict(text: string): string {
  return verdictOf(parseSpiffeId(text));
}

function bundleVerdict(text: string): string {
  return verdictOf(parseSpiffeBundle(valueOf(parseTrustDomain("shop.example")), text));
}

function bundleTexts(
  keys: ReadonlyMap<string, TokenKeys>,
  as: (keys: TokenKeys) => Partial<SpiffeBundle>,
): Readonly<Record<string, string>> {
  return Object.fromEntries(
    [...keys].map(([name, of]) => {
      const x509: TrustBundle = { trustDomain: valueOf(parseTrustDomain(name)), authorities: [] };
      return [name, bundleText({ x509, ...as(of) })];
    }),
  );
}

function bundleText({ x509, ...more }: Partial<SpiffeBundle> & Pick<SpiffeBundle, "x509">): string {
  const none = new Map();
  return writeSpiffeBundle({
    trustDomain: x509.trustDomain,
    x509,
    jwtKeys: none,
    witKeys: none,
    sequence: undefined,
    refreshHintSeconds: undefined,
    ...more,
  });
}
