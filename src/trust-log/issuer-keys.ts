import type { KeyObject } from "node:crypto";
import { bytesOfBase64 } from "../base/bytes.ts";
import { ed25519PublicKey } from "../crypto/index.ts";
import type { TrustState } from "./trust-state.ts";

/** The keys (Ed25519) by which the control plane speaks as the issuer, as the log names them now. */
export function issuerKeysOf({ authors }: Pick<TrustState, "authors">): KeyObject[] {
  return [...authors.entries()]
    .filter(([, { role, isRemoved }]) => role === "issuer" && !isRemoved)
    .map(([, { publicKey }]) => ed25519PublicKey(bytesOfBase64(publicKey) ?? new Uint8Array(0)))
    .filter((key) => key !== undefined);
}
