import { STATUS_CODES } from "node:http";
import { linesOfChanges, type ResponseChanges } from "../http1/index.ts";
import {
  fieldKind,
  type HeaderField,
  type Http2RequestHead,
  type Http2ResponseHead,
} from "../http2/index.ts";

/**
 * A request that came over HTTP/2 as the head of an HTTP/1.1 request (RFC 9113, 8.3.1), for the scanner that judges
 * all heads. Where the body's length is not said, chunks carry it.
 */
export function requestText(head: Http2RequestHead, hasBody: boolean): string {
  const { method, path, authority, fields, pseudoFields, contentLength } = head;
  let text = `${method} ${path} HTTP/1.1\r\n`;
  if (authority !== "") text += `Host: ${authority}\r\n`;
  let cookie: string | undefined;
  // Where HTTP/1.1 goes on from here, trailers take chunks, and so no length.
  const isChunked = hasBody && (contentLength === undefined || fields.some(({ name }) => name === "trailer"));
  for (let place = pseudoFields; place < fields.length; place += 1) {
    const field = fields[place];
    if (field === undefined || field.kind === fieldKind.host) continue;
    if (isChunked && field.kind === fieldKind.contentLength) continue;
    // HTTP/2 may send a cookie in pieces, which are one line again here (RFC 9113, 8.2.3).
    if (field.name === "cookie") cookie = cookie === undefined ? field.value : `${cookie}; ${field.value}`;
    else text += `${field.name}: ${field.value}\r\n`;
  }
  if (cookie !== undefined) text += `cookie: ${cookie}\r\n`;
  if (isChunked) text += "Transfer-Encoding: chunked\r\n";
  return `${text}\r\n`;
}

/** A response that came over HTTP/2 as the head of an HTTP/1.1 response, without the lines that no peer may send on. */
export function responseText(head: Http2ResponseHead, changes: ResponseChanges): string {
  const { status, fields } = head;
  let text = `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? ""}\r\n${linesOfChanges(changes)}`;
  const hasNoLength = status < 200 || status === 204 || changes.coding !== "declared";
  for (let place = 1; place < fields.length; place += 1) {
    const field = fields[place];
    if (field === undefined || isForNeighbour(field)) continue;
    if (hasNoLength && field.kind === fieldKind.contentLength) continue;
    text += `${field.name}: ${field.value}\r\n`;
  }
  return `${text}\r\n`;
}

/** Whether a field has one of the names that `HeaderSection` drops and that HTTP/2 itself does not forbid. */
export function isForNeighbour({ name, kind }: HeaderField): boolean {
  if (kind === fieldKind.te) return true;
  switch (name.charCodeAt(0)) {
    case 0x70: // p
      return name.startsWith("proxy-");
    case 0x74: // t
      return name.startsWith("troth-");
    case 0x78: // x
      return name === "x-forwarded-client-cert";
    default:
      return false;
  }
}
