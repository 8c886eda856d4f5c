import { sameBytes } from "../base/bytes.ts";
import type { Advertisement } from "./generated/troth/v1/mesh_pb.js";

/** Of a statement, its key and its signature. */
const advertisementBytesMax = 12_288;

/** Whether an advertisement is no larger than any that a proxy of ours makes; so is one that is not there. */
export function isBoundedAdvertisement(told: Advertisement | undefined): boolean {
  if (told === undefined) return true;
  const { statement, publicKey, signature } = told;
  return statement.byteLength + publicKey.byteLength + signature.byteLength <= advertisementBytesMax;
}

/** Whether two advertisements are one, or both are not there. */
export function isSameAdvertisement(
  one: Advertisement | undefined,
  other: Advertisement | undefined,
): boolean {
  if (one === undefined || other === undefined) return one === other;
  return (
    one === other || (sameBytes(one.signature, other.signature) && sameBytes(one.statement, other.statement))
  );
}
