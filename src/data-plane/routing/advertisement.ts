import type { KeyObject } from "node:crypto";
import { create } from "@bufbuild/protobuf";
import { bytesOf, concatBytes, textOf } from "../../base/bytes.ts";
import { canonicalJson, isJsonObject, type Json, parseCanonicalJson } from "../../base/canonical-json.ts";
import { fail, ok, type Result } from "../../base/result.ts";
import { exportPublicKey, p256PublicKey, signEs256, verifyJws } from "../../crypto/index.ts";
import { parseServiceName } from "../../identity/index.ts";
import { type Advertisement, AdvertisementSchema } from "../../protocol/index.ts";

const domainSeparation = bytesOf("troth/1 advertisement\0");
/** Prefixes besides its own name that one proxy says it serves. */
export const advertisedPrefixesMax = 32;
const statementBytesMax = 10_240;
const textCharactersMax = 320;

/** What a proxy says of itself: what it serves and where. Which zone it is in is not its to say. */
export interface AdvertisedInstance {
  /** The hash of genesis. */
  readonly log: string;
  readonly instance: string;
  /** host:port of its mesh listener. */
  readonly address: string;
  /** Of request tokens that it checks; empty where it checks none. */
  readonly audience: string;
  /** Besides its service's own name, which it need not say. */
  readonly prefixes: readonly string[];
  /** Goes up with everything else that it says. */
  readonly sequence: number;
  /** How many entries of the log it knew: who knows fewer may not know its grants yet. */
  readonly size: number;
}

/** Signs what a proxy says of itself by its SVID's private key (P-256). */
export function signAdvertisement(said: AdvertisedInstance, key: KeyObject): Advertisement {
  const statement = bytesOf(canonicalJson({ ...said, version: 1 }));
  const signature = signEs256(key, concatBytes(domainSeparation, statement));
  return create(AdvertisementSchema, { statement, publicKey: exportPublicKey(key), signature });
}

/** Reads what is said; whether who is said to say it has done so is for {@link isSignedAdvertisement} to find out. */
export function parseAdvertisement({ statement }: Advertisement): Result<AdvertisedInstance, "malformed"> {
  if (statement.byteLength > statementBytesMax) return fail("malformed", `${statement.byteLength} bytes`);
  const parsed = parseCanonicalJson(textOf(statement) ?? "");
  if (!parsed.ok || !isJsonObject(parsed.value)) return fail("malformed", "not canonical JSON");
  const { version, log, instance, address, audience, prefixes, sequence, size, ...more } = parsed.value;
  if (version !== 1 || Object.keys(more).length > 0) return fail("malformed", "other fields");
  const isRead =
    isText(log) &&
    isText(instance) &&
    isText(address) &&
    isText(audience) &&
    isCount(sequence) &&
    isCount(size);
  const names = Array.isArray(prefixes) ? prefixes.filter(isPrefix) : [];
  if (!isRead || !Array.isArray(prefixes) || names.length !== prefixes.length)
    return fail("malformed", "a field of the wrong form");
  if (names.length > advertisedPrefixesMax) return fail("malformed", `${names.length} prefixes`);
  return ok({ log, instance, address, audience, prefixes: names, sequence, size });
}

/** Whether the key that an advertisement shows has signed it; whose key that is, is another question. */
export function isSignedAdvertisement({ statement, publicKey, signature }: Advertisement): boolean {
  const key = p256PublicKey(publicKey);
  return (
    key !== undefined &&
    verifyJws("ES256", key, { input: concatBytes(domainSeparation, statement), signature })
  );
}

function isText(value: Json | undefined): value is string {
  return typeof value === "string" && value.length <= textCharactersMax;
}

function isCount(value: Json | undefined): value is number {
  return typeof value === "number" && Number.isSafeInteger(value) && value >= 0;
}

function isPrefix(value: Json): value is string {
  return typeof value === "string" && parseServiceName(value).ok;
}
