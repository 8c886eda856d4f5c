import { generateKeyPairSync } from "node:crypto";
import { publicJwkOf } from "../../src/crypto/index.ts";
import { testDomain } from "../../src/identity/svid-for-tests.ts";

/** A text and whether it is a SPIFFE bundle: "accepted", or the reason why not. */
export interface BundleCase {
  readonly name: string;
  readonly text: string;
  readonly verdict: string;
  /** Why another implementation may accept what is refused here. */
  readonly stricter?: string;
}

type Members = Readonly<Record<string, unknown>>;
type Row = readonly [name: string, verdict: string, text: string, stricter?: string];

/** The rules of SPIFFE Trust Domain and Bundle section 4 by example, and texts that readers may understand differently. */
export function bundleCases(): readonly BundleCase[] {
  const { privateKey, publicKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const point = publicJwkOf(publicKey);
  const { root, issuer } = testDomain("shop.example");
  const x5c = [Buffer.from(root.certificate.der).toString("base64")];
  const authority = { ...publicJwkOf(root.certificate.publicKey), use: "x509-svid", x5c };
  const jwt = { ...point, use: "jwt-svid", kid: "1" };
  const keys = (...all: readonly Members[]): string => JSON.stringify({ keys: all });
  const text = JSON.stringify(jwt);
  const rows: readonly Row[] = [
    ["a key of each use", "accepted", keys(authority, jwt, { ...point, use: "wit-svid", kid: "1" })],
    ["no keys at all: everything is revoked", "accepted", '{"keys":[]}'],
    ["sequence and hint", "accepted", '{"keys":[],"spiffe_sequence":7,"spiffe_refresh_hint":300}'],
    ["a sequence of 64 bits", "accepted", '{"keys":[],"spiffe_sequence":18446744073709551615}'],
    ["a use that nobody knows", "accepted", keys({ ...point, use: "sig", kid: "1" })],
    ["keys absent", "not-a-bundle", "{}"],
    ["keys null", "not-a-bundle", '{"keys":null}'],
    ["keys no list", "not-a-bundle", '{"keys":{}}'],
    ["no object", "not-a-bundle", "[]"],
    ["no JSON", "malformed-json", "keys"],
    ["something behind it", "malformed-json", '{"keys":[]}{}'],
    [
      "keys twice",
      "duplicate-key",
      `{"keys":[${text}],"keys":[]}`,
      "readers differ in which of the two they take",
    ],
    ["a member of a key twice", "duplicate-key", `{"keys":[{"use":"wit-svid",${text.slice(1)}]}`],
    ["a sequence below nought", "bad-sequence", '{"keys":[],"spiffe_sequence":-1}'],
    ["a sequence with a fraction", "bad-sequence", '{"keys":[],"spiffe_sequence":1.5}'],
    ["a sequence beyond 64 bits", "bad-sequence", '{"keys":[],"spiffe_sequence":18446744073709551616}'],
    ["a hint as text", "bad-refresh-hint", '{"keys":[],"spiffe_refresh_hint":"300"}'],
    [
      "a hint below nought",
      "bad-refresh-hint",
      '{"keys":[],"spiffe_refresh_hint":-5}',
      "it is a number of seconds",
    ],
    ["a key for tokens without kid", "malformed-key", keys({ ...point, use: "jwt-svid" })],
    ["a key for WIT-SVIDs without kid", "malformed-key", keys({ ...point, use: "wit-svid" })],
    ["a kid twice", "duplicate-kid", keys(jwt, { ...jwt }), "which of the two would it be?"],
    ["a key for tokens off its curve", "malformed-key", keys({ ...jwt, y: point["x"] })],
    ["a key without kty", "malformed-key", keys({ use: "jwt-svid", kid: "1" })],
    [
      "a private key for tokens",
      "malformed-key",
      keys({ ...privateKey.export({ format: "jwk" }), use: "jwt-svid", kid: "1" }),
      "whoever reads the bundle could sign",
    ],
    ["a certificate that is none", "malformed-certificate", keys({ ...authority, x5c: ["AAAA"] })],
    [
      "a certificate of another key",
      "malformed-key",
      keys({ ...authority, x5c: [Buffer.from(issuer.certificate.der).toString("base64")] }),
    ],
  ];
  return rows.map(([name, verdict, caseText, stricter]) => ({
    name,
    verdict,
    text: caseText,
    ...(stricter === undefined ? {} : { stricter }),
  }));
}
