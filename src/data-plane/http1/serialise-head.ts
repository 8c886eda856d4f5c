import { MeshError } from "../../base/mesh-error.ts";
import { space } from "./byte-classes.ts";
import { contentLengthLine, type HeaderSection, hostLine, transferEncodingLine } from "./header-section.ts";
import type { Http1RequestHead } from "./scan-request-head.ts";
import type { Http1ResponseHead } from "./scan-response-head.ts";
import { upgradeLines } from "./web-socket-handshake.ts";

/** What is changed in a request head before it goes upstream. */
export interface HeadEdits {
  /** Names of header lines to remove, in small letters. */
  readonly remove: readonly string[];
  /** Header lines to add, each with its line end, as {@link headerLines} makes them. */
  readonly add: Uint8Array;
  /** Replaces the target; the request's own where absent. */
  readonly target?: string;
  /** Replaces `Host`; the request's own where absent. */
  readonly host?: string;
}

/** Edits that change nothing beyond what is always changed. */
export const noEdits: HeadEdits = { remove: [], add: new Uint8Array(0) };

const headerName = /^[A-Za-z0-9!#$%&'*+.^`|~-]+$/;
const headerValue = /^[\t\x20-\x7e\x80-\xff]*$/;

/** Bytes of header lines for {@link HeadEdits.add}; throws ERR_HTTP1_HEADER on a name or value no line may have. */
export function headerLines(lines: readonly (readonly [name: string, value: string])[]): Uint8Array {
  let text = "";
  for (const [name, value] of lines) {
    if (!headerName.test(name) || !headerValue.test(value))
      throw new MeshError("ERR_HTTP1_HEADER", `not a header line: ${JSON.stringify(name)}`);
    text += `${name}: ${value}\r\n`;
  }
  return Buffer.from(text, "latin1");
}

const requestTarget = /^[\x21-\x7e]+$/;

/**
 * A request head, edited, in one Buffer with the first bytes of its body. Lines for the next neighbour only, those
 * that `Connection` nominated, and the lines reserved to Troth are left out before anything is added; so nobody can
 * have an added line removed. Throws as {@link checkEdits} does.
 */
export function serialiseRequest(head: Http1RequestHead, edits: HeadEdits, body: Uint8Array): Buffer {
  checkEdits(edits);
  const target = edits.target ?? head.target;
  const host = edits.host ?? head.host;
  const { section } = head;
  const ownLines = head.tunnel === "websocket" ? upgradeLines : section.wantsTrailers ? teLines : "";
  const start = `${head.method} ${target} HTTP/1.1\r\nHost: ${host}\r\n${ownLines}`;
  const size = start.length + headersSize(section) + edits.add.length + 2 + body.length;
  const bytes = Buffer.allocUnsafe(size);
  let at = bytes.write(start, 0, "latin1");
  const isDropped = (line: number): boolean =>
    section.kind(line) === hostLine || section.isNamedIn(line, edits.remove);
  at = copyHeaders(section, bytes, at, isDropped);
  bytes.set(edits.add, at);
  return finish(bytes, at + edits.add.length, body);
}

/** We pass trailers on, so a server may be told that its client wants them (RFC 9110, 10.1.4). */
export const teLines: string = "Connection: TE\r\nTE: trailers\r\n";

/** Throws ERR_HTTP1_TARGET where an edit is no target or host. */
export function checkEdits(edits: HeadEdits): void {
  if (edits.target !== undefined && !requestTarget.test(edits.target))
    throw new MeshError("ERR_HTTP1_TARGET", `not a request target: ${JSON.stringify(edits.target)}`);
  if (edits.host !== undefined && !requestTarget.test(edits.host))
    throw new MeshError("ERR_HTTP1_TARGET", `not a host: ${JSON.stringify(edits.host)}`);
}

/**
 * How the end of a response's body is made known to a client of HTTP/1.1 (RFC 9112, 6.3): as its own head declares,
 * in chunks, by saying that there is none, or by the end of the connection.
 */
export type BodyCoding = "declared" | "chunked" | "empty" | "until-close";

/** What is changed in a response head before it goes to the client. */
export interface ResponseChanges {
  /** Whether the client is told that this connection ends. */
  readonly close: boolean;
  readonly coding: BodyCoding;
}

/** The lines of a response head that come from the proxy. */
export function linesOfChanges({ close, coding }: ResponseChanges): string {
  const framing = coding === "chunked" ? chunkedLine : coding === "empty" ? emptyLine : "";
  return close ? `${framing}${closeLine}` : framing;
}

const closeLine = "Connection: close\r\n";
const chunkedLine = "Transfer-Encoding: chunked\r\n";
const emptyLine = "Content-Length: 0\r\n";

/** A response head, changed, in one Buffer with the first bytes of its body as they are sent; the same lines are left out. */
export function serialiseResponse(
  head: Http1ResponseHead,
  changes: ResponseChanges,
  body: Uint8Array,
): Buffer {
  const { section, status } = head;
  const phrase = section.window.toString("latin1", head.phraseStart, head.phraseEnd);
  const start = `HTTP/1.1 ${status} ${phrase}\r\n${linesOfChanges(changes)}`;
  const bytes = Buffer.allocUnsafe(start.length + headersSize(section) + 2 + body.length);
  let at = bytes.write(start, 0, "latin1");
  const hasNoLength = status < 200 || status === 204 || changes.coding !== "declared";
  const isDropped = (line: number): boolean => {
    const kind = section.kind(line);
    return kind === transferEncodingLine || (hasNoLength && kind === contentLengthLine);
  };
  at = copyHeaders(section, bytes, at, isDropped);
  return finish(bytes, at, body);
}

/** An upper bound: a line grows by a space at most. */
function headersSize(section: HeaderSection): number {
  return section.lines === 0 ? 0 : section.end - section.nameStart(0) + section.lines;
}

/** Copies the lines that stay, those which already stand as we would write them in one piece. */
function copyHeaders(
  section: HeaderSection,
  bytes: Buffer,
  start: number,
  isDropped: (line: number) => boolean,
): number {
  const { window, lines } = section;
  let at = start;
  let runStart = 0;
  let runEnd = 0;
  for (let line = 0; line < lines; line += 1) {
    if (section.isForNeighbour(line) || isDropped(line)) continue;
    const nameStart = section.nameStart(line);
    const lineEnd = line + 1 < lines ? section.nameStart(line + 1) : section.end - 2;
    const isPlain = isCanonical(section, line, lineEnd);
    if (isPlain && nameStart === runEnd) {
      runEnd = lineEnd;
      continue;
    }
    at += window.copy(bytes, at, runStart, runEnd);
    runStart = nameStart;
    runEnd = isPlain ? lineEnd : nameStart;
    if (!isPlain) at = copyLine(section, line, bytes, at);
  }
  return at + window.copy(bytes, at, runStart, runEnd);
}

function isCanonical(section: HeaderSection, line: number, lineEnd: number): boolean {
  const nameEnd = section.nameEnd(line);
  return (
    section.valueStart(line) === nameEnd + 2 &&
    section.window[nameEnd + 1] === space &&
    section.valueEnd(line) + 2 === lineEnd
  );
}

function copyLine(section: HeaderSection, line: number, bytes: Buffer, start: number): number {
  const { window } = section;
  let at = start + window.copy(bytes, start, section.nameStart(line), section.nameEnd(line));
  at += bytes.write(": ", at, "latin1");
  at += window.copy(bytes, at, section.valueStart(line), section.valueEnd(line));
  return at + bytes.write("\r\n", at, "latin1");
}

function finish(bytes: Buffer, start: number, body: Uint8Array): Buffer {
  bytes[start] = 0x0d;
  bytes[start + 1] = 0x0a;
  bytes.set(body, start + 2);
  return bytes.subarray(0, start + 2 + body.length);
}
