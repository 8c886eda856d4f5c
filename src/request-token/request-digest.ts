import { hash } from "node:crypto";
import { lengthBytes, writeLengthPrefixed } from "./length-prefixed.ts";
import { digestBytes } from "./token-layout.ts";

/** What a request token is bound to of the request that it goes with. */
export interface TokenRequest {
  readonly method: string;
  /** The service prefix asked for. */
  readonly destination: string;
  /** Path and query as they stand in the request line or `:path`. */
  readonly path: string;
  /** The value of the Content-Digest field (RFC 9530), or "" where the request has none. */
  readonly contentDigest: string;
}

/** The request digest: SHA-256 over method, destination, path and query, and content digest, 32 bytes. */
export function requestDigest(request: TokenRequest): Uint8Array {
  const digest = Buffer.alloc(digestBytes);
  writeRequestDigest(request, digest, 0);
  return new Uint8Array(digest.buffer, digest.byteOffset, digestBytes);
}

/**
 * Opens what writes the request digests of one connection. A caller asks for few things, and often for the same again: that
 * is not hashed again.
 */
export function requestDigester(): (request: TokenRequest, target: Buffer, offset: number) => void {
  const digest = Buffer.alloc(digestBytes);
  let last: TokenRequest | undefined;
  return (request, target, offset) => {
    if (last === undefined || !isSame(last, request)) {
      writeRequestDigest(request, digest, 0);
      last =
        request.path.length + request.contentDigest.length <= rememberedCharactersMax ? request : undefined;
    }
    digest.copy(target, offset);
  };
}

function isSame(one: TokenRequest, other: TokenRequest): boolean {
  return (
    one.path === other.path &&
    one.method === other.method &&
    one.destination === other.destination &&
    one.contentDigest === other.contentDigest
  );
}

/** Writes the request digest where it is needed; without memory of its own for all but very long requests. */
function writeRequestDigest(request: TokenRequest, target: Buffer, offset: number): void {
  const { method, destination, path, contentDigest } = request;
  const characters = method.length + destination.length + path.length + contentDigest.length;
  const lengthMax = domain.length + partsOfRequest * lengthBytes + characters * utf8BytesPerUnit;
  const input = lengthMax <= scratch.length ? scratch : Buffer.allocUnsafe(lengthMax);
  if (input !== scratch) domain.copy(input);
  let end = writeLengthPrefixed(input, method, domain.length);
  end = writeLengthPrefixed(input, destination, end);
  end = writeLengthPrefixed(input, path, end);
  end = writeLengthPrefixed(input, contentDigest, end);
  // As text of one byte each: `crypto.hash` makes a Buffer in three times the time.
  target.write(hash("sha256", input.subarray(0, end), "latin1"), offset, digestBytes, "latin1");
}

/** A request of more is not remembered. */
const rememberedCharactersMax = 1_024;
const domain = Buffer.from("troth/1 request-token request\0");
const partsOfRequest = 4;
const utf8BytesPerUnit = 3;
const scratch = Buffer.alloc(8_192);
domain.copy(scratch);
