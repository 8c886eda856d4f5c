import {
  carriageReturn,
  colon,
  comma,
  digitByte,
  isControl,
  isOf,
  lineFeed,
  lowerCased,
  space,
  spells,
  tab,
  tokenByte,
  underscore,
  valueByte,
} from "./byte-classes.ts";
import { announcesForbiddenTrailer } from "./forbidden-trailers.ts";

/** Why the header lines of a head were refused. */
export type HeaderRefusal =
  | "bare-carriage-return"
  | "bare-line-feed"
  | "control-byte"
  | "line-folding"
  | "space-before-colon"
  | "header-without-colon"
  | "header-name-empty"
  | "header-name-invalid"
  | "header-name-underscore"
  | "too-many-headers"
  | "content-length-invalid"
  | "content-length-repeated"
  | "transfer-encoding-unsupported"
  | "transfer-encoding-repeated"
  | "content-length-with-transfer-encoding"
  | "connection-option-invalid"
  | "connection-option-forbidden"
  | "expectation-unsupported"
  | "trailer-announcement-forbidden";

/** What the scanner of header lines answers instead of an offset when more bytes are needed. */
export const needMore = -1;

/** What it answers when it refused; the reason stands in the section. */
export const refused = -2;

/** Kinds of header lines, as far as forwarding treats them differently. */
export const endToEndLine = 0;
export const hostLine = 1;
export const contentLengthLine = 2;
export const transferEncodingLine = 3;
/** Between two neighbours only, or reserved to Troth: never forwarded. */
export const droppedLine = 4;

const spanNumbers = 5;
const contentLengthDigitsMax = 15;
const connectionOptionsMax = 32;

/** The header lines of one head: where they stand in the window, and what framing and forwarding need of them. */
export class HeaderSection {
  readonly window: Buffer;
  /** Five numbers a line: name start, name end, value start, value end (offsets into the window), kind. */
  readonly spans: number[] = [];
  readonly isUnderscoreAllowed: boolean;
  readonly linesMax: number;
  refusal: HeaderRefusal | undefined;
  /** Offset just after the empty line. */
  end = 0;
  contentLength: number | undefined;
  isChunked = false;
  hosts = 0;
  hostStart = 0;
  hostEnd = 0;
  hasClose = false;
  hasUpgrade = false;
  /** Whether `TE` says that the sender wants trailers (RFC 9110, 10.1.4). */
  wantsTrailers = false;
  expectsContinue = false;
  /** Lower-case names which `Connection` declares to be for the next neighbour only. */
  nominated: string[] | undefined;

  constructor(window: Buffer, rules: { linesMax: number; isUnderscoreAllowed: boolean }) {
    this.window = window;
    this.linesMax = rules.linesMax;
    this.isUnderscoreAllowed = rules.isUnderscoreAllowed;
  }

  /** Number of header lines. */
  get lines(): number {
    return this.spans.length / spanNumbers;
  }

  /** Start of the name of a line. */
  nameStart(line: number): number {
    return this.spans[line * spanNumbers] ?? 0;
  }

  /** End of the name of a line. */
  nameEnd(line: number): number {
    return this.spans[line * spanNumbers + 1] ?? 0;
  }

  /** Start of the value of a line, after white space. */
  valueStart(line: number): number {
    return this.spans[line * spanNumbers + 2] ?? 0;
  }

  /** End of the value of a line, before white space. */
  valueEnd(line: number): number {
    return this.spans[line * spanNumbers + 3] ?? 0;
  }

  /** The kind of a line. */
  kind(line: number): number {
    return this.spans[line * spanNumbers + 4] ?? droppedLine;
  }

  /** Whether a line has this name (lower-case). */
  isNamed(line: number, name: string): boolean {
    return spells(this.window, this.nameStart(line), this.nameEnd(line), name);
  }

  /** Whether a line has one of these names (lower-case). */
  isNamedIn(line: number, names: readonly string[]): boolean {
    for (const name of names) if (this.isNamed(line, name)) return true;
    return false;
  }

  /** Whether a line is between two neighbours only, by its name or because `Connection` says so: it never goes on. */
  isForNeighbour(line: number): boolean {
    const { nominated } = this;
    return this.kind(line) === droppedLine || (nominated !== undefined && this.isNamedIn(line, nominated));
  }

  /** Keeps the lines of a name (lower-case) from going on. */
  drop(name: string): void {
    for (let line = 0; line < this.lines; line += 1)
      if (this.isNamed(line, name)) mark(this, line, droppedLine);
  }

  /** The values of all lines of a name (lower-case), in order, as Latin-1 text. */
  valuesOf(name: string): string[] {
    const values: string[] = [];
    for (let line = 0; line < this.lines; line += 1)
      if (this.isNamed(line, name))
        values.push(this.window.toString("latin1", this.valueStart(line), this.valueEnd(line)));
    return values;
  }
}

/**
 * Reads the header lines of `section.window[at, end)` into the section. Answers with the offset after the empty line,
 * {@link needMore} or {@link refused}. A wrong byte is refused as soon as it is there (RFC 9112, 2.2 and 5).
 */
export function scanHeaderLines(section: HeaderSection, start: number, end: number): number {
  const { window } = section;
  let at = start;
  while (at < end) {
    const first = window[at];
    if (first === carriageReturn) {
      if (at + 1 >= end) return needMore;
      if (window[at + 1] !== lineFeed) return refuse(section, "bare-carriage-return");
      section.end = at + 2;
      return section.end;
    }
    if (first === space || first === tab) return refuse(section, "line-folding");

    const nameStart = at;
    while (at < end && isOf(tokenByte, window[at])) {
      if (window[at] === underscore && !section.isUnderscoreAllowed)
        return refuse(section, "header-name-underscore");
      at += 1;
    }
    if (at >= end) return needMore;
    if (window[at] !== colon) return refuse(section, whyNoColon(window[at], at > nameStart));
    if (at === nameStart) return refuse(section, "header-name-empty");
    const nameEnd = at;

    at += 1;
    while (at < end && isBlank(window[at])) at += 1;
    const valueStart = at;
    while (at < end && isOf(valueByte, window[at])) at += 1;
    if (at >= end) return needMore;
    if (window[at] !== carriageReturn) return refuse(section, whyNoLineEnd(window[at]));
    if (at + 1 >= end) return needMore;
    if (window[at + 1] !== lineFeed) return refuse(section, "bare-carriage-return");
    let valueEnd = at;
    while (valueEnd > valueStart && isBlank(window[valueEnd - 1])) valueEnd -= 1;
    at += 2;

    if (section.lines >= section.linesMax) return refuse(section, "too-many-headers");
    section.spans.push(nameStart, nameEnd, valueStart, valueEnd, endToEndLine);
    const refusal = note(section);
    if (refusal !== undefined) return refuse(section, refusal);
  }
  return needMore;
}

/** Why a byte that should have ended a line cannot. */
export function whyNoLineEnd(byte: number | undefined): "bare-line-feed" | "control-byte" {
  return byte === lineFeed ? "bare-line-feed" : "control-byte";
}

function whyNoColon(byte: number | undefined, hasName: boolean): HeaderRefusal {
  if (byte === lineFeed) return "bare-line-feed";
  if (hasName && (byte === space || byte === tab)) return "space-before-colon";
  if (byte === carriageReturn) return "header-without-colon";
  return isControl(byte) ? "control-byte" : "header-name-invalid";
}

function refuse(section: HeaderSection, reason: HeaderRefusal): number {
  section.refusal = reason;
  return refused;
}

function isBlank(byte: number | undefined): boolean {
  return byte === space || byte === tab;
}

/** Sorts the line read last by its name and takes from it what framing and forwarding need. */
function note(section: HeaderSection): HeaderRefusal | undefined {
  const { window } = section;
  const line = section.lines - 1;
  const start = section.nameStart(line);
  const end = section.nameEnd(line);
  switch (window[start]) {
    case 0x43: // C
    case 0x63:
      if (spells(window, start, end, "content-length")) return noteContentLength(section, line);
      return spells(window, start, end, "connection") ? noteConnection(section, line) : undefined;
    case 0x45: // E
    case 0x65:
      return spells(window, start, end, "expect") ? noteExpectation(section, line) : undefined;
    case 0x48: // H
    case 0x68:
      if (spells(window, start, end, "host")) noteHost(section, line);
      return undefined;
    case 0x4b: // K
    case 0x6b:
      if (spells(window, start, end, "keep-alive")) mark(section, line, droppedLine);
      return undefined;
    case 0x50: // P
    case 0x70:
      if (beginsWith(window, start, end, "proxy-")) mark(section, line, droppedLine);
      return undefined;
    case 0x54: // T
    case 0x74:
      if (spells(window, start, end, "transfer-encoding")) return noteTransferEncoding(section, line);
      if (spells(window, start, end, "te")) noteTe(section, line);
      else if (spells(window, start, end, "trailer")) return noteAnnouncement(section, line);
      else if (beginsWith(window, start, end, "troth-")) mark(section, line, droppedLine);
      return undefined;
    case 0x55: // U
    case 0x75:
      if (spells(window, start, end, "upgrade")) {
        section.hasUpgrade = true;
        mark(section, line, droppedLine);
      }
      return undefined;
    case 0x58: // X
    case 0x78:
      if (spells(window, start, end, "x-forwarded-client-cert")) mark(section, line, droppedLine);
      return undefined;
    default:
      return undefined;
  }
}

function mark(section: HeaderSection, line: number, kind: number): void {
  section.spans[line * spanNumbers + 4] = kind;
}

function beginsWith(window: Buffer, start: number, end: number, prefix: string): boolean {
  return end - start > prefix.length && spells(window, start, start + prefix.length, prefix);
}

function noteTe(section: HeaderSection, line: number): void {
  mark(section, line, droppedLine);
  const value = section.window.toString("latin1", section.valueStart(line), section.valueEnd(line));
  if (value.split(",").some((coding) => coding.trim().toLowerCase() === "trailers"))
    section.wantsTrailers = true;
}

/** Go's server, for one, refuses a whole message that announces a trailer which decides framing. */
function noteAnnouncement(section: HeaderSection, line: number): HeaderRefusal | undefined {
  const value = section.window.toString("latin1", section.valueStart(line), section.valueEnd(line));
  return announcesForbiddenTrailer(value) ? "trailer-announcement-forbidden" : undefined;
}

function noteHost(section: HeaderSection, line: number): void {
  mark(section, line, hostLine);
  section.hosts += 1;
  section.hostStart = section.valueStart(line);
  section.hostEnd = section.valueEnd(line);
}

/** Digits only, one line, no list, no leading zero: nothing that two readers could take for different numbers. */
function noteContentLength(section: HeaderSection, line: number): HeaderRefusal | undefined {
  mark(section, line, contentLengthLine);
  if (section.contentLength !== undefined) return "content-length-repeated";
  if (section.isChunked) return "content-length-with-transfer-encoding";
  const start = section.valueStart(line);
  const end = section.valueEnd(line);
  if (!isPlainlySpaced(section, line)) return "content-length-invalid";
  if (end === start || end - start > contentLengthDigitsMax) return "content-length-invalid";
  let length = 0;
  for (let at = start; at < end; at += 1) {
    const byte = section.window[at];
    if (!isOf(digitByte, byte)) return "content-length-invalid";
    if (length === 0 && at > start) return "content-length-invalid";
    length = length * 10 + (byte ?? 0) - 0x30;
  }
  section.contentLength = length;
  return undefined;
}

function noteTransferEncoding(section: HeaderSection, line: number): HeaderRefusal | undefined {
  mark(section, line, transferEncodingLine);
  if (section.isChunked) return "transfer-encoding-repeated";
  if (section.contentLength !== undefined) return "content-length-with-transfer-encoding";
  const isPlain = isPlainlySpaced(section, line);
  if (!isPlain || !spells(section.window, section.valueStart(line), section.valueEnd(line), "chunked"))
    return "transfer-encoding-unsupported";
  section.isChunked = true;
  return undefined;
}

/** Nothing but one space around what decides framing: llhttp, for one, takes `chunked` and a tab for another coding. */
function isPlainlySpaced(section: HeaderSection, line: number): boolean {
  const { window } = section;
  const nameEnd = section.nameEnd(line);
  const valueStart = section.valueStart(line);
  const hasPlainStart =
    valueStart === nameEnd + 1 || (valueStart === nameEnd + 2 && window[nameEnd + 1] === space);
  return hasPlainStart && window[section.valueEnd(line)] === carriageReturn;
}

function noteExpectation(section: HeaderSection, line: number): HeaderRefusal | undefined {
  if (!spells(section.window, section.valueStart(line), section.valueEnd(line), "100-continue"))
    return "expectation-unsupported";
  section.expectsContinue = true;
  return undefined;
}

/**
 * What decides where a message ends or whom it is for, and what a request token is bound to, belongs to every hop;
 * nobody may declare it away.
 */
const neverNominated = new Set(["host", "content-length", "transfer-encoding", "content-digest"]);

function noteConnection(section: HeaderSection, line: number): HeaderRefusal | undefined {
  mark(section, line, droppedLine);
  const { window } = section;
  const end = section.valueEnd(line);
  let at = section.valueStart(line);
  while (at < end) {
    while (at < end && (isBlank(window[at]) || window[at] === comma)) at += 1;
    if (at >= end) return undefined;
    const start = at;
    while (at < end && isOf(tokenByte, window[at])) at += 1;
    const tokenEnd = at;
    if (tokenEnd === start) return "connection-option-invalid";
    while (at < end && isBlank(window[at])) at += 1;
    if (at < end && window[at] !== comma) return "connection-option-invalid";
    if (spells(window, start, tokenEnd, "close")) section.hasClose = true;
    else if (!spells(window, start, tokenEnd, "keep-alive")) {
      const name = lowerCasedText(window, start, tokenEnd);
      if (neverNominated.has(name)) return "connection-option-forbidden";
      section.nominated ??= [];
      if (section.nominated.length >= connectionOptionsMax) return "connection-option-invalid";
      section.nominated.push(name);
    }
  }
  return undefined;
}

function lowerCasedText(window: Buffer, start: number, end: number): string {
  let text = "";
  for (let at = start; at < end; at += 1) text += String.fromCharCode(lowerCased(window[at]));
  return text;
}
