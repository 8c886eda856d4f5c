import { type BodyCoding, chunksOf, type ResponseChanges, serialiseResponse } from "../http1/index.ts";
import type { MessageEnd, RequestHead, ResponseHead } from "./forwarding.ts";
import { responseText } from "./head-text.ts";

/** Writes one response for a client of HTTP/1.1, whatever protocol it came in. */
export class Http1Response {
  private coding: BodyCoding = "declared";

  /** Whether only the end of the connection says where it ends. */
  get endsByClosing(): boolean {
    return this.coding === "until-close";
  }

  /**
   * Chooses how the client is told where the response ends: by the length where there is one, in chunks where there is
   * none or where trailers are announced, and by the end of the connection where its HTTP/1.0 does not know chunks.
   */
  frame(head: ResponseHead, request: RequestHead, isEmpty: boolean): void {
    const { status } = head;
    const hasLength = lengthOf(head) !== undefined;
    if (request.method === "HEAD" || status === 204 || status === 304) this.coding = "declared";
    else if (request.minorVersion === 0) this.coding = hasLength ? "declared" : "until-close";
    else if (hasLength && !announcesTrailers(head)) this.coding = "declared";
    else this.coding = isEmpty ? "empty" : "chunked";
  }

  /** The bytes of the head with the first of the body. */
  head(head: ResponseHead, close: boolean, body: Buffer, end: MessageEnd | undefined): Buffer {
    return serialise(head, { close, coding: this.coding }, this.body(body, end));
  }

  /** A piece of the body in the framing of its head. Trailers have no place but after chunks. */
  body(body: Buffer, end: MessageEnd | undefined): Buffer {
    return this.coding === "chunked" ? chunksOf(body, end?.trailers) : body;
  }
}

/** An interim response that says nothing. */
export const continueBytes: Uint8Array = Buffer.from("HTTP/1.1 100 Continue\r\n\r\n", "latin1");

/** The bytes of an interim response. */
export function interimBytes(head: ResponseHead): Buffer {
  return serialise(head, { close: false, coding: "declared" }, nothing);
}

function serialise(head: ResponseHead, changes: ResponseChanges, body: Buffer): Buffer {
  if ("section" in head) return serialiseResponse(head, changes, body);
  const text = responseText(head, changes);
  const bytes = Buffer.allocUnsafe(text.length + body.length);
  bytes.set(body, bytes.write(text, 0, "latin1"));
  return bytes;
}

function lengthOf(head: ResponseHead): number | undefined {
  return "section" in head ? head.section.contentLength : head.contentLength;
}

function announcesTrailers(head: ResponseHead): boolean {
  return !("section" in head) && head.fields.some(({ name }) => name === "trailer");
}

const nothing = Buffer.alloc(0);
