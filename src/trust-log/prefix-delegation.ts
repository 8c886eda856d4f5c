import type { KeyObject } from "node:crypto";
import { base64Of, bytesOf, bytesOfBase64, concatBytes } from "../base/bytes.ts";
import { canonicalJson } from "../base/canonical-json.ts";
import { signEs256, verifyJws } from "../crypto/index.ts";
import type { EntryBody } from "./entry-kinds.ts";

const domainSeparation = bytesOf("troth/1 prefix delegation\0");

type Signed = EntryBody<"prefix.delegate"> | EntryBody<"prefix.recall">;

/** What a holder says when it hands a part of its prefix on, or takes it back, before it has signed. */
export type UnsignedDelegation =
  | Omit<EntryBody<"prefix.delegate">, "certificate" | "signature">
  | Omit<EntryBody<"prefix.recall">, "certificate" | "signature">;

/** The SVID of an instance of the holder: its certificate (DER) and that certificate's private key (P-256). */
export interface SigningSvid {
  readonly certificate: Uint8Array;
  readonly privateKey: KeyObject;
}

/** The body of the entry: what is said, with the SVID's certificate and the signature of its key for the log `genesis`. */
export function signDelegation<Said extends UnsignedDelegation>(
  genesis: string,
  said: Said,
  svid: SigningSvid,
): Said & { readonly certificate: string; readonly signature: string } {
  const shown = { ...said, certificate: base64Of(svid.certificate) };
  return { ...shown, signature: base64Of(signEs256(svid.privateKey, signedBytes(genesis, shown))) };
}

/** Whether a key (P-256) has signed a delegation, for the log `genesis`; whose key that is, is another question. */
export function isSignedDelegation(genesis: string, body: Signed, key: KeyObject): boolean {
  const { signature, ...shown } = body;
  const input = signedBytes(genesis, shown);
  return verifyJws("ES256", key, { input, signature: bytesOfBase64(signature) ?? new Uint8Array(0) });
}

function signedBytes(log: string, shown: UnsignedDelegation & { readonly certificate: string }): Uint8Array {
  return concatBytes(domainSeparation, bytesOf(canonicalJson({ log, ...shown })));
}
