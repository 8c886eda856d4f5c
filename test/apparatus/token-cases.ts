import { constants, createHmac, generateKeyPairSync, type KeyObject, sign } from "node:crypto";
import { base64UrlOf, publicJwkOf } from "../../src/crypto/index.ts";
import type { TokenKeys } from "../../src/identity/index.ts";

/** A token and what is to be said of it: "accepted", or the reason why not. */
export interface TokenCase {
  readonly kind: "jwt" | "wit";
  readonly name: string;
  readonly token: string;
  readonly verdict: string;
  /** Why another implementation may accept what is refused here. */
  readonly stricter?: string;
}

/** The cases, and what they are judged by. */
export interface TokenCases {
  readonly cases: readonly TokenCase[];
  readonly audience: string;
  /** By trust domain, for JWT-SVIDs and for WIT-SVIDs. */
  readonly keys: Readonly<Record<"jwt" | "wit", ReadonlyMap<string, TokenKeys>>>;
}

interface Key {
  readonly id: string;
  readonly publicKey: KeyObject;
  readonly privateKey: KeyObject;
}

type Members = Readonly<Record<string, unknown>>;
type Row = readonly [name: string, verdict: string, token: string, stricter?: string];

const subject = "spiffe://shop.example/shop/payments";
const audience = "https://api.example/";
const p256 = curveKey("p256", "P-256");
const p384 = curveKey("p384", "P-384");
const p521 = curveKey("p521", "P-521");
const rsa: Key = { id: "rsa", ...generateKeyPairSync("rsa", { modulusLength: 2048 }) };
const wit = curveKey("wit", "P-256");
const bank = curveKey("bank", "P-256");
const stranger = curveKey("p256", "P-256");
const holder = generateKeyPairSync("ec", { namedCurve: "P-256" });
const holderJwk = publicJwkOf(holder.publicKey);

/** Tables of tokens as SPIFFE JWT-SVID, SPIFFE WIT-SVID and RFC 8725 have them, made for a moment (seconds since 1970). */
export function tokenCases(nowSeconds: number): TokenCases {
  const named = (kind: "jwt" | "wit", rows: readonly Row[]): readonly TokenCase[] =>
    rows.map(([name, verdict, token, stricter]) => ({
      kind,
      name,
      verdict,
      token,
      ...(stricter === undefined ? {} : { stricter }),
    }));
  const make = { jwt: jwtMaker(nowSeconds), wit: witMaker(nowSeconds), nowSeconds };
  return {
    audience,
    keys: {
      jwt: new Map([
        ["shop.example", keysOf(p256, p384, p521, rsa)],
        ["bank.example", keysOf(bank)],
      ]),
      wit: new Map([["shop.example", keysOf(wit, p384, rsa)]]),
    },
    cases: [
      ...named("jwt", [
        ...jwtForms(make.jwt),
        ...jwtClaims(make),
        ...jwtSignatures(make.jwt),
        ...hostile(make),
      ]),
      ...named("wit", [...witForms(make), ...witConfirmations(make.wit)]),
    ],
  };
}

/** A signed token out of its texts, whatever they say. */
export function tokenOfTexts(header: string, claims: string, key: KeyObject, algorithm = "ES256"): string {
  const input = `${encoded(header)}.${encoded(claims)}`;
  return `${input}.${base64UrlOf(signed(algorithm, key, input))}`;
}

interface Change {
  readonly header?: Members;
  readonly claims?: Members;
  readonly by?: Key;
  readonly algorithm?: string;
}
type Maker = (change?: Change) => string;
interface Making {
  readonly jwt: Maker;
  readonly wit: Maker;
  readonly nowSeconds: number;
}

/** Members that are undefined are left out. */
function jwtMaker(nowSeconds: number): Maker {
  return ({ header, claims, by = p256, algorithm = "ES256" } = {}) =>
    tokenOfTexts(
      JSON.stringify({ alg: algorithm, kid: by.id, typ: "JWT", ...header }),
      JSON.stringify({ sub: subject, aud: [audience], exp: nowSeconds + 300, iat: nowSeconds, ...claims }),
      by.privateKey,
      algorithm,
    );
}

function witMaker(nowSeconds: number): Maker {
  const cnf = { jwk: { ...holderJwk, alg: "ES256" } };
  return ({ header, claims, by = wit, algorithm = "ES256" } = {}) =>
    tokenOfTexts(
      JSON.stringify({ alg: algorithm, kid: by.id, typ: "wit+jwt", ...header }),
      JSON.stringify({ sub: subject, cnf, exp: nowSeconds + 300, iat: nowSeconds, ...claims }),
      by.privateKey,
      algorithm,
    );
}

function jwtForms(jwt: Maker): readonly Row[] {
  const good = jwt();
  const [header = "", claims = "", signature = ""] = good.split(".");
  return [
    ["success", "accepted", good],
    ["typ JOSE", "accepted", jwt({ header: { typ: "JOSE" } })],
    ["no typ", "accepted", jwt({ header: { typ: undefined } })],
    ["malformed", "malformed-token", "not a token"],
    ["empty", "malformed-token", ""],
    ["two parts", "malformed-token", `${header}.${claims}`],
    ["four parts", "malformed-token", `${good}.${signature}`],
    ["five parts, as a JWE has", "malformed-token", `${good}.${header}.${claims}`],
    [
      "JSON serialization",
      "malformed-token",
      JSON.stringify({ payload: claims, protected: header, signature }),
    ],
    ["padded base64", "malformed-token", `${header}=.${claims}.${signature}`],
    ["white space around", "malformed-token", ` ${good}\n`],
    [
      "claims that are no JSON",
      "malformed-token",
      tokenOfTexts(`{"alg":"ES256","kid":"p256"}`, "{", p256.privateKey),
    ],
    [
      "claims that are an array",
      "malformed-token",
      tokenOfTexts(`{"alg":"ES256","kid":"p256"}`, "[]", p256.privateKey),
    ],
    [
      "over 8 KiB",
      "token-too-large",
      jwt({ claims: { filler: "x".repeat(9_000) } }),
      "tokens have a size here",
    ],
    ["invalid typ", "bad-type", jwt({ header: { typ: "other" } })],
    ["typ of a WIT-SVID", "bad-type", jwt({ header: { typ: "wit+jwt" } })],
    ["typ that is no text", "bad-type", jwt({ header: { typ: ["JWT"] } })],
    [
      "critical extension",
      "critical-header",
      jwt({ header: { crit: ["b64"], b64: true } }),
      "JWT-SVID: other headers MUST NOT be there; go-jose knows this one",
    ],
    ["critical nothing", "critical-header", jwt({ header: { crit: [] } }), "RFC 7515: crit is never empty"],
    [
      "a header besides",
      "unknown-header",
      jwt({ header: { cty: "JWT" } }),
      "JWT-SVID: other headers MUST NOT be there",
    ],
    [
      "a key of its own",
      "unknown-header",
      jwt({ header: { jwk: holderJwk } }),
      "JWT-SVID: other headers MUST NOT be there",
    ],
    [
      "a key elsewhere",
      "unknown-header",
      jwt({ header: { jku: "https://evil.example/" } }),
      "JWT-SVID: other headers MUST NOT be there",
    ],
    ["missing key id", "no-key-id", jwt({ header: { kid: undefined } })],
    ["empty key id", "no-key-id", jwt({ header: { kid: "" } })],
    ["key id that is no text", "no-key-id", jwt({ header: { kid: 1 } })],
  ];
}

function jwtClaims({ jwt, nowSeconds }: Making): readonly Row[] {
  const withClaims = (claims: Members): string => jwt({ claims });
  return [
    ["missing subject", "no-subject", withClaims({ sub: undefined })],
    ["empty subject", "no-subject", withClaims({ sub: "" })],
    ["subject that is no text", "no-subject", withClaims({ sub: [subject] })],
    ["invalid subject", "bad-spiffe-id", withClaims({ sub: "payments" })],
    ["subject of another scheme", "bad-spiffe-id", withClaims({ sub: "https://shop.example/shop" })],
    ["subject with upper case", "bad-spiffe-id", withClaims({ sub: "spiffe://Shop.example/shop" })],
    ["subject with dots", "bad-spiffe-id", withClaims({ sub: "spiffe://shop.example/shop/../bank" })],
    [
      "subject without a path",
      "no-path",
      withClaims({ sub: "spiffe://shop.example" }),
      "a trust domain is no workload",
    ],
    ["missing audience", "no-audience", withClaims({ aud: undefined })],
    ["empty audience", "no-audience", withClaims({ aud: [] })],
    ["audience as one text", "accepted", withClaims({ aud: audience })],
    ["one audience of several", "accepted", withClaims({ aud: ["other", audience] })],
    ["unexpected audience", "wrong-audience", withClaims({ aud: ["other"] })],
    ["audience in another case", "wrong-audience", withClaims({ aud: [audience.toUpperCase()] })],
    [
      "audience that begins alike",
      "wrong-audience",
      withClaims({ aud: [`${audience}x`, audience.slice(1)] }),
    ],
    ["audience of numbers", "malformed-audience", withClaims({ aud: [1, audience] })],
    [
      "an empty audience besides",
      "malformed-audience",
      withClaims({ aud: ["", audience] }),
      "an empty text names nobody",
    ],
    ["missing expiration", "no-expiry", withClaims({ exp: undefined })],
    ["expiration as text", "malformed-claim", withClaims({ exp: String(nowSeconds + 300) })],
    ["expiration below nought", "malformed-claim", withClaims({ exp: -1 })],
    ["expiration null", "malformed-claim", withClaims({ exp: null })],
    ["expired", "expired", withClaims({ exp: nowSeconds - 120 })],
    ["not yet valid", "not-yet-valid", withClaims({ nbf: nowSeconds + 120 })],
    ["valid since", "accepted", withClaims({ nbf: nowSeconds - 60 })],
    ["issued in the future", "issued-in-the-future", withClaims({ iat: nowSeconds + 120 })],
    ["no time of issue", "accepted", withClaims({ iat: undefined })],
    [
      "valid for a week",
      "lifetime-too-long",
      withClaims({ exp: nowSeconds + 604_800 }),
      "no SVID lives for over 24 hours here",
    ],
    ["an id that is no text", "malformed-claim", withClaims({ jti: 7 })],
  ];
}

function jwtSignatures(jwt: Maker): readonly Row[] {
  const good = jwt();
  const [header = "", claims = "", signature = ""] = good.split(".");
  const [otherHeader = "", otherClaims = ""] = jwt({
    claims: { sub: "spiffe://shop.example/shop/ledger" },
  }).split(".");
  const bankId = "spiffe://bank.example/teller";
  const flipped = Buffer.from(signature, "base64url").map((byte, at) => (at === 10 ? byte ^ 1 : byte));
  return [
    ...["ES256", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES384", "ES512"].map(
      (algorithm): Row => [algorithm, "accepted", jwt({ algorithm, by: keyFor(algorithm) })],
    ),
    ["unsupported algorithm: none", "bad-algorithm", `${encoded('{"alg":"none","kid":"p256"}')}.${claims}.`],
    ["unsupported algorithm: none, signed", "bad-algorithm", jwt({ header: { alg: "none" } })],
    ["unsupported algorithm: EdDSA", "bad-algorithm", jwt({ header: { alg: "EdDSA" } })],
    ["unsupported algorithm: ES256K", "bad-algorithm", jwt({ header: { alg: "ES256K" } })],
    ["unsupported algorithm: in lower case", "bad-algorithm", jwt({ header: { alg: "es256" } })],
    ["missing algorithm", "bad-algorithm", jwt({ header: { alg: undefined } })],
    ["HMAC by the public key", "bad-algorithm", hmacToken(claims)],
    ["no signature", "bad-signature", `${header}.${claims}.`],
    ["signature in DER", "bad-signature", `${header}.${claims}.${derSignature(`${header}.${claims}`)}`],
    ["signature of noughts", "bad-signature", `${header}.${claims}.${base64UrlOf(new Uint8Array(64))}`],
    ["one bit of the signature", "bad-signature", `${header}.${claims}.${base64UrlOf(flipped)}`],
    ["claims of another token", "bad-signature", `${header}.${otherClaims}.${signature}`],
    ["header of another token", "accepted", `${otherHeader}.${claims}.${signature}`],
    ["mismatched authority", "bad-signature", jwt({ by: stranger })],
    ["missing key", "unknown-key", jwt({ header: { kid: "other" } })],
    ["key of a WIT-SVID", "unknown-key", jwt({ by: wit })],
    ["key of another trust domain", "unknown-key", jwt({ by: bank })],
    ["another trust domain by its own key", "accepted", jwt({ by: bank, claims: { sub: bankId } })],
    ["another trust domain by our key", "unknown-key", jwt({ claims: { sub: bankId } })],
    [
      "no bundle for trust domain",
      "unknown-trust-domain",
      jwt({ claims: { sub: "spiffe://evil.example/a" } }),
    ],
    ["RSA by a key of a curve", "wrong-key-type", jwt({ header: { alg: "RS256" } })],
    ["a curve that is not the algorithm's", "wrong-key-type", jwt({ header: { alg: "ES384" } })],
    ["PSS as PKCS #1", "bad-signature", jwt({ header: { alg: "PS256" }, by: rsa, algorithm: "RS256" })],
  ];
}

/** What readers of JSON may understand differently. */
function hostile({ nowSeconds }: Making): readonly Row[] {
  const header = '{"alg":"ES256","kid":"p256","typ":"JWT"}';
  const rest = `"aud":["${audience}"],"exp":${nowSeconds + 300}`;
  const good = `{"sub":"${subject}",${rest}}`;
  const token = (head: string, claims: string): string => tokenOfTexts(head, claims, p256.privateKey);
  return [
    [
      "subject twice",
      "duplicate-member",
      token(header, `{"sub":"spiffe://shop.example/admin","sub":"${subject}",${rest}}`),
    ],
    [
      "subject twice, once escaped",
      "duplicate-member",
      token(header, `{"s\\u0075b":"spiffe://shop.example/admin","sub":"${subject}",${rest}}`),
    ],
    ["algorithm twice", "duplicate-member", token('{"alg":"none","alg":"ES256","kid":"p256"}', good)],
    [
      "a name twice in what nobody reads",
      "duplicate-member",
      token(header, `{"sub":"${subject}",${rest},"x":{"a":1,"a":2}}`),
    ],
    [
      "audience in upper case",
      "no-audience",
      token(header, `{"sub":"${subject}","AUD":["${audience}"],"exp":${nowSeconds + 300}}`),
    ],
    [
      "a prototype instead of claims",
      "no-subject",
      token(header, `{"__proto__":{"sub":"${subject}"},${rest}}`),
    ],
    [
      "nested too deep",
      "malformed-token",
      token(header, `{"sub":"${subject}",${rest},"x":${"[".repeat(900)}${"]".repeat(900)}}`),
      "nesting has a bound here",
    ],
    [
      "a lone surrogate",
      "malformed-token",
      token(header, `{"sub":"${subject}",${rest},"x":"\\ud800"}`),
      "what is no text has no spelling",
    ],
    ["a byte order mark", "malformed-token", token(header, `\ufeff${good}`)],
    [
      "a number beyond all",
      "malformed-token",
      token(header, `{"sub":"${subject}","aud":"${audience}","exp":1e999}`),
    ],
    [
      "a year beyond 9999",
      "malformed-claim",
      token(header, `{"sub":"${subject}","aud":"${audience}","exp":9e15}`),
      "no SVID lives that long",
    ],
  ];
}

function witForms({ wit: make, nowSeconds }: Making): readonly Row[] {
  const withClaims = (claims: Members): string => make({ claims });
  return [
    ["valid token", "accepted", make()],
    ["nbf in the past is accepted", "accepted", withClaims({ nbf: nowSeconds - 60 })],
    ["a header besides", "accepted", make({ header: { cty: "x" } })],
    ["malformed", "malformed-token", "not a token"],
    ["unsupported algorithm", "bad-algorithm", make({ header: { alg: "EdDSA" } })],
    ["critical extension", "critical-header", make({ header: { crit: ["x"], x: 1 } })],
    ["wrong typ", "bad-type", make({ header: { typ: "JWT" } })],
    ["missing typ", "bad-type", make({ header: { typ: undefined } })],
    ["typ in upper case", "bad-type", make({ header: { typ: "WIT+JWT" } })],
    ["missing kid", "no-key-id", make({ header: { kid: undefined } })],
    ["missing sub", "no-subject", withClaims({ sub: undefined })],
    ["invalid sub", "bad-spiffe-id", withClaims({ sub: "payments" })],
    [
      "sub without a path",
      "no-path",
      withClaims({ sub: "spiffe://shop.example" }),
      "a trust domain is no workload",
    ],
    ["missing exp", "no-expiry", withClaims({ exp: undefined })],
    ["expired", "expired", withClaims({ exp: nowSeconds - 120 })],
    ["nbf in future", "not-yet-valid", withClaims({ nbf: nowSeconds + 120 })],
    [
      "valid for a week",
      "lifetime-too-long",
      withClaims({ exp: nowSeconds + 604_800 }),
      "no SVID lives for over 24 hours here",
    ],
    ["aud present", "audience-present", withClaims({ aud: [audience] })],
    ["empty aud present", "audience-present", withClaims({ aud: [] }), "WIT-SVID: aud MUST NOT be there"],
    ["key of a JWT-SVID", "unknown-key", make({ by: p256 })],
    ["mismatched authority", "bad-signature", make({ by: { ...stranger, id: "wit" } })],
    [
      "no bundle for trust domain",
      "unknown-trust-domain",
      withClaims({ sub: "spiffe://bank.example/teller" }),
    ],
    [
      "subject twice",
      "duplicate-member",
      tokenOfTexts(
        '{"alg":"ES256","kid":"wit","typ":"wit+jwt"}',
        `{"sub":"${subject}","sub":"${subject}","exp":${nowSeconds + 300}}`,
        wit.privateKey,
      ),
    ],
    ["signed by RSA", "accepted", make({ by: rsa, algorithm: "PS256" })],
  ];
}

function witConfirmations(make: Maker): readonly Row[] {
  const bound = (cnf: unknown): string => make({ claims: { cnf } });
  const key = (change: Members): string => bound({ jwk: { ...holderJwk, alg: "ES256", ...change } });
  const rsaJwk = publicJwkOf(rsa.publicKey);
  return [
    ["missing cnf", "no-confirmation-key", bound(undefined)],
    ["cnf not an object", "no-confirmation-key", bound("key")],
    ["missing cnf.jwk", "no-confirmation-key", bound({})],
    ["cnf.jwk not an object", "no-confirmation-key", bound({ jwk: "key" })],
    ["cnf.jwk missing alg", "bad-confirmation-algorithm", key({ alg: undefined })],
    ["cnf.jwk alg not a string", "bad-confirmation-algorithm", key({ alg: 256 })],
    ["cnf.jwk alg unsupported", "bad-confirmation-algorithm", key({ alg: "EdDSA" })],
    ["cnf.jwk alg none", "bad-confirmation-algorithm", key({ alg: "none" })],
    [
      "cnf.jwk alg of another kind of key",
      "bad-confirmation-key",
      key({ alg: "RS256" }),
      "no proof could be made by it",
    ],
    [
      "cnf.jwk is private key",
      "bad-confirmation-key",
      bound({ jwk: { ...holder.privateKey.export({ format: "jwk" }), alg: "ES256" } }),
    ],
    ["cnf.jwk is symmetric", "bad-confirmation-key", bound({ jwk: { kty: "oct", k: "AAAA", alg: "ES256" } })],
    ["cnf.jwk not on its curve", "bad-confirmation-key", key({ y: holderJwk["x"] })],
    ["cnf.jwk with short numbers", "bad-confirmation-key", key({ x: "AA" })],
    ["cnf.jwk of RSA", "accepted", bound({ jwk: { ...rsaJwk, alg: "RS256" } })],
    [
      "cnf.jwk of a short RSA key",
      "bad-confirmation-key",
      bound({ jwk: { ...publicJwkOf(shortRsa()), alg: "RS256" } }),
      "RSA below 2048 bits is broken",
    ],
    [
      "cnf.jwk of RSA with exponent 3",
      "bad-confirmation-key",
      bound({ jwk: { ...rsaJwk, e: "Aw", alg: "RS256" } }),
      "an exponent that nobody needs",
    ],
  ];
}

function curveKey(id: string, namedCurve: string): Key {
  return { id, ...generateKeyPairSync("ec", { namedCurve }) };
}

function shortRsa(): KeyObject {
  return generateKeyPairSync("rsa", { modulusLength: 1024 }).publicKey;
}

function keyFor(algorithm: string): Key {
  if (algorithm === "ES256") return p256;
  if (algorithm === "ES384") return p384;
  return algorithm === "ES512" ? p521 : rsa;
}

function keysOf(...keys: readonly Key[]): TokenKeys {
  return new Map(keys.map(({ id, publicKey }) => [id, publicKey]));
}

function encoded(text: string): string {
  return Buffer.from(text).toString("base64url");
}

function signed(algorithm: string, key: KeyObject, input: string): Uint8Array {
  const hash = `sha${algorithm.slice(2)}`;
  const how = {
    ES: { dsaEncoding: "ieee-p1363" as const },
    RS: { padding: constants.RSA_PKCS1_PADDING },
    PS: { padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: constants.RSA_PSS_SALTLEN_DIGEST },
  };
  const kind = algorithm.startsWith("ES") ? "ES" : algorithm.startsWith("RS") ? "RS" : "PS";
  return sign(hash, Buffer.from(input), { key, ...how[kind] });
}

function derSignature(input: string): string {
  return sign("sha256", Buffer.from(input), p256.privateKey).toString("base64url");
}

function hmacToken(claims: string): string {
  const input = `${encoded('{"alg":"HS256","kid":"p256"}')}.${claims}`;
  const secret = p256.publicKey.export({ type: "spki", format: "pem" });
  return `${input}.${createHmac("sha256", secret).update(input).digest("base64url")}`;
}
