import { createCipheriv, createHash } from "node:crypto";
import { bytesOfHex, hexOf } from "../../src/base/bytes.ts";
import {
  deriveAudienceKey,
  deriveClientKey,
  importRequestTokenKey,
  keyPeriodAt,
  parseRequestToken,
  type RequestTokenMode,
  requestTokenMinter,
} from "../../src/request-token/index.ts";

/** Everything that a request token is made of; bytes in hexadecimal. */
export interface RequestTokenCase {
  readonly rootKey: string;
  readonly audience: string;
  readonly spiffeId: string;
  readonly source: string;
  readonly destination: string;
  readonly mode: RequestTokenMode;
  readonly method: string;
  readonly path: string;
  readonly contentDigest: string;
  readonly certificateFingerprint: string;
  readonly channelBinding: string;
  readonly nonce: string;
  readonly issuedAtMillis: number;
}

/** What Troth makes of a case: both keys in hexadecimal, and the token. */
export function encodeRequestTokenCase(given: RequestTokenCase): string {
  const certificateFingerprint = bytes(given.certificateFingerprint);
  const rootKey = importRequestTokenKey(bytes(given.rootKey));
  const audienceKey = deriveAudienceKey(rootKey, keyPeriodAt(given.issuedAtMillis), given.audience);
  const clientKey = deriveClientKey(audienceKey, { ...given, certificateFingerprint });
  const mint = requestTokenMinter({
    ...given,
    certificateFingerprint,
    channelBinding: bytes(given.channelBinding),
    nonces: (target, offset) => target.set(bytes(given.nonce), offset),
  });
  return `${hexOf(audienceKey.export())} ${hexOf(clientKey.export())} ${mint(clientKey, given, given.issuedAtMillis)}`;
}

/** What Troth reads in a text: the fields of a token, or the reason why it is none. */
export function decodeRequestTokenText(text: string): string {
  const parsed = parseRequestToken(text);
  if (!parsed.ok) return parsed.reason;
  const { mode, keyPeriod, issuedAtMillis, nonce, certificateFingerprint, requestDigest, tag } = parsed.value;
  const blobs = [nonce, certificateFingerprint, requestDigest, tag].map(hexOf);
  return [mode, keyPeriod, issuedAtMillis, ...blobs].join(" ");
}

/** Cases without end, the same ones for the same seed. */
export function* randomRequestTokenCases(seed: string): Generator<RequestTokenCase, never> {
  const draw = randomStream(seed);
  const hex = (length: number) => hexOf(draw.bytes(length));
  const word = () => draw.text("abcdefghijklmnopqrstuvwxyzABCXYZ0123456789._-", 1, 20);
  const prefix = () => Array.from({ length: 1 + draw.below(4) }, () => `/${word()}`).join("");
  for (;;) {
    const domain = `${word()}.example`;
    const source = prefix();
    yield {
      rootKey: hex(32),
      audience: `${hex(16)}/${hex(8)}`,
      spiffeId: `spiffe://${domain}${source}`,
      source,
      destination: prefix(),
      mode: draw.below(2) === 0 ? "granted" : "per-request",
      method: draw.pick(["GET", "POST", "DELETE", "CONNECT", word()]),
      path: draw.pick(["", `${prefix()}?${word()}=%20`, draw.text('/é€𐍈 "\\\u0000\u007f?&', 0, 300)]),
      contentDigest: draw.pick(["", `sha-256=:${Buffer.from(draw.bytes(32)).toString("base64")}:`]),
      certificateFingerprint: hex(32),
      channelBinding: draw.below(8) === 0 ? "00".repeat(32) : hex(32),
      nonce: hex(16),
      // As far as a key period fits into its 32 bits.
      issuedAtMillis: Math.floor((draw.below(0x1_0000_0000) + draw.below(1_000) / 1_000) * 600_000),
    };
  }
}

/** Spoils a token in one of the ways that a lenient reader would not notice, or not at all. */
export function* spoiltTexts(seed: string, tokens: readonly string[]): Generator<string> {
  const draw = randomStream(seed);
  for (const token of tokens) {
    const at = draw.below(token.length);
    const replaced = (by: string) => token.slice(0, at) + by + token.slice(at + 1);
    const flipped = Buffer.from(token, "base64url");
    const byte = draw.below(2) === 0 ? draw.below(2) : draw.below(flipped.length);
    flipped.writeUInt8(flipped.readUInt8(byte) ^ (1 << draw.below(8)), byte);
    yield draw.pick([
      token,
      flipped.toString("base64url"),
      token.slice(0, at),
      `${token}=`,
      `${token}A`,
      ` ${token}`,
      `${token}\n`,
      replaced(" "),
      replaced("="),
      replaced("\n"),
      replaced("é"),
      token.replaceAll("-", "+").replaceAll("_", "/"),
      Buffer.from(token, "base64url").toString("base64"),
      "",
    ]);
  }
}

interface RandomStream {
  readonly bytes: (length: number) => Uint8Array;
  readonly below: (limit: number) => number;
  readonly pick: <Item>(items: readonly [Item, ...Item[]]) => Item;
  /** A text of `min` to `max` characters out of an alphabet. */
  readonly text: (alphabet: string, min: number, max: number) => string;
}

/** A key stream of AES in counter mode. */
function randomStream(seed: string): RandomStream {
  const key = createHash("sha256").update(seed).digest();
  const cipher = createCipheriv("aes-256-ctr", key, Buffer.alloc(16));
  let pool = Buffer.alloc(0);
  let next = 0;
  const take = (length: number) => {
    if (next + length > pool.length) {
      pool = cipher.update(Buffer.alloc(poolBytes));
      next = 0;
    }
    next += length;
    return next - length;
  };
  const bytesFrom = (length: number) => {
    const at = take(length);
    return pool.subarray(at, at + length);
  };
  const below = (limit: number) => {
    const at = take(drawnBytes);
    return pool.readUIntBE(at, drawnBytes) % limit;
  };
  return {
    bytes: bytesFrom,
    below,
    pick: (items) => items[below(items.length)] ?? items[0],
    text: (alphabet, min, max) => {
      const characters = Array.from(alphabet);
      const length = min + below(max - min + 1);
      return Array.from({ length }, () => characters[below(characters.length)] ?? "").join("");
    },
  };
}

const poolBytes = 65_536;
const drawnBytes = 6;

function bytes(hexadecimal: string): Uint8Array {
  const value = bytesOfHex(hexadecimal);
  if (value === undefined) throw new Error(`${hexadecimal} is not hexadecimal`);
  return value;
}
