import type { Socket } from "node:net";
import type { Result } from "../../base/result.ts";
import type { HeadEdits } from "../http1/index.ts";
import { fieldKind, HeaderField } from "../http2/index.ts";
import type { RequestHead, ResponseHead } from "./forwarding.ts";

/** The header in which a proxy shows the proxy of a callee a request token; no proxy passes it on. */
export const requestTokenName = "troth-request-token";

/** Request tokens for one peer, which may not let a request in without one. */
export interface PeerTokens {
  /** Those for one connection to it, which is open and whose other end has been judged. */
  on(socket: Socket): ConnectionTokens;
}

/** Request tokens for requests on one connection; each is good once, for one request and on this connection alone. */
export interface ConnectionTokens {
  /** One for a request that is about to be written; empty where the peer wants none, undefined where it is to be waited for. */
  mint(request: RequestHead, edits: HeadEdits): string | undefined;
  /** The same for a request that waits; answers within a bounded time and never rejects. */
  obtain(request: RequestHead, edits: HeadEdits): Promise<Result<string, "request-token-unavailable">>;
  /**
   * Takes note of what the peer says where it refuses a token, of which nothing has gone to its application. Whether
   * another token may do better, which is then worth one attempt.
   */
  learn(head: ResponseHead): boolean;
}

/** A request token, which is base64url, as a field of HTTP/2 that no table of a connection takes in. */
export function tokenField(token: string): HeaderField {
  return new HeaderField(requestTokenName, token, fieldKind.regular, true);
}

/** The head of a request of HTTP/1.1 with a request token in its first line; the bytes themselves where there is none. */
export function withTokenLine(head: Buffer, token: string): Buffer {
  if (token === "") return head;
  const at = head.indexOf("\r\n") + 2;
  const line = Buffer.from(`${requestTokenName}: ${token}\r\n`, "latin1");
  return Buffer.concat([head.subarray(0, at), line, head.subarray(at)]);
}
