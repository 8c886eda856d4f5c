import type { KeyObject } from "node:crypto";
import { base64Of, bytesOf, bytesOfBase64, concatBytes } from "../base/bytes.ts";
import { canonicalJson } from "../base/canonical-json.ts";
import { exportPublicKey, p256PublicKey, signEs256, verifyJws } from "../crypto/index.ts";
import type { EntryBody } from "./entry-kinds.ts";

const domainSeparation = bytesOf("troth/1 prefix delegation\0");

type Signed = EntryBody<"prefix.delegate"> | EntryBody<"prefix.recall">;

/** What a holder says when it hands a part of its prefix on, or takes it back, before it has signed. */
export type UnsignedDelegation =
  | Omit<EntryBody<"prefix.delegate">, "publicKey" | "signature">
  | Omit<EntryBody<"prefix.recall">, "publicKey" | "signature">;

/** The body of the entry: what is said, with the signature of an SVID key (P-256) of the holder for the log `genesis`. */
export function signDelegation<Said extends UnsignedDelegation>(
  genesis: string,
  said: Said,
  key: KeyObject,
): Said & { readonly publicKey: string; readonly signature: string } {
  return {
    ...said,
    publicKey: base64Of(exportPublicKey(key)),
    signature: base64Of(signEs256(key, signedBytes(genesis, said))),
  };
}

/** Whether the key that a delegation shows has signed it, for the log `genesis`; whose key that is, is another question. */
export function isSignedDelegation(genesis: string, body: Signed): boolean {
  const { publicKey, signature, ...said } = body;
  const key = p256PublicKey(bytesOfBase64(publicKey) ?? new Uint8Array(0));
  if (key === undefined) return false;
  const input = signedBytes(genesis, said);
  return verifyJws("ES256", key, { input, signature: bytesOfBase64(signature) ?? new Uint8Array(0) });
}

function signedBytes(log: string, said: UnsignedDelegation): Uint8Array {
  return concatBytes(domainSeparation, bytesOf(canonicalJson({ log, ...said })));
}
