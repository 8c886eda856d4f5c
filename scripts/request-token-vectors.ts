import { createHash } from "node:crypto";
import { requestDigest } from "../src/request-token/index.ts";
import { encodeRequestTokenCase, type RequestTokenCase } from "../test/apparatus/request-token-cases.ts";

// Prints docs/specs/request-token-vectors.json. A change in its output is a change of the format.
const plain: RequestTokenCase = {
  rootKey: "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f",
  audience: "0197f3a0-1111-7222-8333-444455556666/0011223344556677",
  spiffeId: "spiffe://shop.example/shop/cart",
  source: "/shop/cart",
  destination: "/shop/payments",
  mode: "granted",
  method: "POST",
  path: "/v1/charge?x=1",
  contentDigest: "",
  certificateFingerprint: createHash("sha256").update("leaf-der").digest("hex"),
  channelBinding: "cb".repeat(32),
  nonce: "a5".repeat(16),
  issuedAtMillis: 1_763_788_800_000,
};

const cases: readonly (readonly [string, RequestTokenCase])[] = [
  ["a request under a grant", plain],
  ["made by the issuer for this request", { ...plain, mode: "per-request" }],
  [
    "with a content digest (RFC 9530)",
    { ...plain, contentDigest: "sha-256=:X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPE=:" },
  ],
  ["the last millisecond of a key period", { ...plain, issuedAtMillis: plain.issuedAtMillis + 599_999 }],
  ["the first millisecond of the next", { ...plain, issuedAtMillis: plain.issuedAtMillis + 600_000 }],
  ["the same process, started again", { ...plain, audience: `${plain.audience.slice(0, -1)}8` }],
  ["a tunnel of a TCP service", { ...plain, method: "CONNECT", path: "payments.shop.mesh" }],
  ["somebody in between ends TLS", { ...plain, channelBinding: "00".repeat(32) }],
  ["a path that is not ASCII", { ...plain, path: "/größe/€/𐍈" }],
  [
    "a destination that ends where the path begins",
    { ...plain, destination: "/shop/payments/v1", path: "/charge?x=1" },
  ],
];

const vectors = cases.map(([about, given]) => {
  const [audienceKey, clientKey, token] = encodeRequestTokenCase(given).split(" ");
  const digest = Buffer.from(requestDigest(given)).toString("hex");
  return { about, ...given, audienceKey, clientKey, requestDigest: digest, token };
});
process.stdout.write(`${JSON.stringify(vectors, undefined, 2)}\n`);
