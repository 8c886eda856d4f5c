import type { KeyObject } from "node:crypto";
import { KeyedHash } from "./keyed-hash.ts";
import { lengthPrefixed } from "./length-prefixed.ts";
import { digestBytes, tokenOffset } from "./token-layout.ts";

/** What a tag covers and the token does not carry: each side knows it of itself, so nothing of it can be forged. */
export interface TokenContext {
  /** The proxy process that checks: `<instance uuid>/<boot id>`. */
  readonly audience: string;
  /** The caller's SPIFFE ID. */
  readonly spiffeId: string;
  /** The caller's service prefix. */
  readonly source: string;
  /** 32 bytes of the TLS exporter (RFC 9266's idea, under {@link requestTokenExporterLabel}), or {@link noChannelBinding}. */
  readonly channelBinding: Uint8Array;
}

/** The label under which both ends ask their TLS connection for the channel binding (RFC 8446, section 7.5; empty context). */
export const requestTokenExporterLabel = "EXPORTER-troth-request-token";

/** The channel binding where somebody between the two proxies ends TLS and the service's owner allows it: 32 zeros. */
export const noChannelBinding: Uint8Array = new Uint8Array(digestBytes);

/** Writes the tag that a token has under a client key: 32 bytes. */
type WriteTag = (key: KeyObject, token: Buffer, target: Buffer, offset: number) => void;

/** Computes tags of one connection's tokens; holds one buffer for all of them. */
export function tokenTagger(context: TokenContext): WriteTag {
  if (context.channelBinding.byteLength !== digestBytes)
    throw new RangeError(`a channel binding of ${context.channelBinding.byteLength} bytes`);
  const names = lengthPrefixed(context.audience, context.spiffeId, context.source);
  const input = Buffer.concat([domain, Buffer.alloc(tokenOffset.tag), context.channelBinding, names]);
  const keyed = new KeyedHash(input.length);
  input.copy(keyed.message);
  return (key, token, target, offset) => {
    token.copy(keyed.message, domain.length, 0, tokenOffset.tag);
    keyed.writeTag(key, target, offset);
  };
}

const domain = Buffer.from("troth/1 request-token\0");
