import { STATUS_CODES } from "node:http";
import {
  checkEdits,
  type HeadEdits,
  linesOfChanges,
  type ResponseChanges,
  teLines,
  upgradeLines,
} from "../http1/index.ts";
import { fieldKind, type Http2ResponseHead } from "../http2/index.ts";
import { type FieldRequestHead, isForNeighbour } from "./judge-fields.ts";

/** A request that came over HTTP/2 as the head of an HTTP/1.1 request, edited, in one Buffer with the first of its body. */
export function requestBytes(head: FieldRequestHead, edits: HeadEdits, body: Uint8Array): Buffer {
  checkEdits(edits);
  const { framing } = head;
  let text = `${head.method} ${edits.target ?? head.target} HTTP/1.1\r\nHost: ${edits.host ?? head.host}\r\n`;
  if (head.tunnel === "websocket") text += `${upgradeLines}Sec-WebSocket-Key: ${head.webSocketKey}\r\n`;
  if (head.wantsTrailers) text += teLines;
  let cookie: string | undefined;
  for (const field of head.fields) {
    if (field.kind === fieldKind.contentLength && framing.kind !== "length") continue;
    if (edits.remove.length > 0 && edits.remove.includes(field.name)) continue;
    // HTTP/2 may send a cookie in pieces, which are one line again here (RFC 9113, 8.2.3).
    if (field.name === "cookie") cookie = cookie === undefined ? field.value : `${cookie}; ${field.value}`;
    else text += field.line;
  }
  if (cookie !== undefined) text += `cookie: ${cookie}\r\n`;
  if (framing.kind === "chunked") text += "Transfer-Encoding: chunked\r\n";
  const bytes = Buffer.allocUnsafe(text.length + edits.add.length + 2 + body.length);
  let at = bytes.write(text, 0, "latin1");
  bytes.set(edits.add, at);
  at += edits.add.length;
  at += bytes.write("\r\n", at, "latin1");
  bytes.set(body, at);
  return bytes;
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
    text += field.line;
  }
  return `${text}\r\n`;
}
