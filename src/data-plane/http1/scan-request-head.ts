import { ok } from "../../base/result.ts";
import type { BodyFraming } from "./body-framing.ts";
import {
  carriageReturn,
  hash,
  hostByte,
  isControl,
  isOf,
  lineFeed,
  slash,
  space,
  targetByte,
  tokenByte,
} from "./byte-classes.ts";
import {
  type HeaderRefusal,
  HeaderSection,
  needMore,
  refused,
  scanHeaderLines,
  whyNoLineEnd,
} from "./header-section.ts";
import type { Http1Limits } from "./http1-limits.ts";
import { normaliseTarget, type TargetRefusal } from "./normalise-target.ts";
import { webSocketKeyOf } from "./web-socket-handshake.ts";

/** Why a request head was refused. */
export type RequestRefusal =
  | HeaderRefusal
  | TargetRefusal
  | "head-too-large"
  | "request-line-malformed"
  | "method-unknown"
  | "method-unsupported"
  | "target-too-long"
  | "target-character"
  | "target-fragment"
  | "target-form"
  | "target-scheme"
  | "target-userinfo"
  | "target-host-mismatch"
  | "version-malformed"
  | "version-unsupported"
  | "transfer-encoding-in-http10"
  | "host-missing"
  | "host-repeated"
  | "host-invalid"
  | "upgrade-unsupported"
  | "connect-with-content";

/** A head that was refused, with the status to answer (RFC 9110, 15). */
export interface RefusedHead<Reason extends string> {
  readonly kind: "refused";
  readonly reason: Reason;
  readonly status: number;
}

/** The answer to a window that ends inside a head in which nothing is wrong so far. */
export interface UnfinishedHead {
  readonly kind: "need-more";
}

/** What a request asks to be opened for bytes in both directions: a WebSocket (RFC 6455), or a way to a port (CONNECT). */
export type Tunnel = "websocket" | "connect";

/** A request head in which everything was in order; only {@link scanRequestHead} makes one. */
export class Http1RequestHead {
  readonly kind = "head";
  readonly method: string;
  /** Normalised origin-form, or `*`: the bytes to decide on, and the bytes that are forwarded. */
  readonly target: string;
  /** In small letters, with the port if there was one; empty only in HTTP/1.0. */
  readonly host: string;
  readonly minorVersion: number;
  readonly framing: BodyFraming;
  /** Whether the client will take another response on this connection. */
  readonly keepAlive: boolean;
  readonly expectsContinue: boolean;
  readonly wantsUpgrade: boolean;
  readonly tunnel: Tunnel | undefined;
  /** What a client that asks for a WebSocket wants to have answered (RFC 6455, 4.1); empty in every other request. */
  readonly webSocketKey: string;
  /** Whether it says that trailers are welcome. */
  readonly wantsTrailers: boolean;
  /** The header lines where they stand in the window. */
  readonly section: HeaderSection;
  /** Where the head begins in the window; it ends at `section.end`. */
  readonly start: number;
  /** Where the method ends in the window. */
  readonly methodEnd: number;
  /** Where the target, as it was sent, ends in the window. */
  readonly targetEnd: number;

  private constructor(
    line: RequestLine,
    section: HeaderSection,
    place: {
      readonly target: string;
      readonly host: string;
      readonly webSocketKey: string;
      readonly tunnel: Tunnel | undefined;
    },
  ) {
    this.method = line.method;
    this.target = place.target;
    this.host = place.host;
    this.minorVersion = line.minorVersion;
    this.framing = framingOf(section);
    this.keepAlive = line.minorVersion === 1 && !section.hasClose;
    this.expectsContinue = line.minorVersion === 1 && section.expectsContinue;
    this.wantsUpgrade = section.hasUpgrade;
    this.wantsTrailers = section.wantsTrailers;
    this.webSocketKey = place.webSocketKey;
    this.tunnel = place.tunnel;
    this.section = section;
    this.start = line.start;
    this.methodEnd = line.methodEnd;
    this.targetEnd = line.targetEnd;
  }

  /** The values of all header lines of a name (in small letters), in order; every line that came is in here. */
  valuesOf(name: string): string[] {
    return this.section.valuesOf(name);
  }

  /** Judges a whole head by what its parts say together. */
  static judge(line: RequestLine, section: HeaderSection): Http1RequestHead | RefusedHead<RequestRefusal> {
    const refusal = judgeMethod(line.method);
    if (refusal !== undefined) return refuse(refusal);
    if (section.isChunked && line.minorVersion === 0) return refuse("transfer-encoding-in-http10");
    // It asks for a response that its version does not know (RFC 9110, 10.1.1).
    if (line.minorVersion === 0) section.drop("expect");
    const host = hostOf(line, section);
    if (typeof host !== "string") return host;
    const target = targetOf(line, section, host);
    if (typeof target !== "string") return target;
    const mayUpgrade = section.hasUpgrade && line.method === "GET" && line.minorVersion === 1;
    const webSocketKey = mayUpgrade ? webSocketKeyOf(section) : "";
    // What waits for leave to send has no place in a tunnel.
    if (webSocketKey !== "" && section.expectsContinue) return refuse("expectation-unsupported");
    const tunnel = webSocketKey === "" ? undefined : "websocket";
    return new Http1RequestHead(line, section, { target, host, webSocketKey, tunnel });
  }

  /** Judges the head of a CONNECT (RFC 9110, 9.3.6), which has no content and says twice where it is to go. */
  static judgeConnect(
    line: RequestLine,
    section: HeaderSection,
  ): Http1RequestHead | RefusedHead<RequestRefusal> {
    const said = hostOf(line, section);
    if (typeof said !== "string") return said;
    const target = judgeAuthority(section.window.toString("latin1", line.targetStart, line.targetEnd));
    if (typeof target !== "string") return target;
    // Some clients leave the port out of `Host`, and those of HTTP/1.0 all of it.
    const isSame = said === "" || said === target || said === target.replace(/:[0-9]+$/, "");
    if (!isSame) return refuse("target-host-mismatch");
    if (section.isChunked || (section.contentLength ?? 0) > 0) return refuse("connect-with-content");
    if (section.hasUpgrade) return refuse("upgrade-unsupported");
    if (section.expectsContinue) return refuse("expectation-unsupported");
    return new Http1RequestHead(line, section, { target, host: target, webSocketKey: "", tunnel: "connect" });
  }
}

/**
 * Reads one request head from `window[start, end)`. Nothing is repaired: a head that two servers might read
 * differently is refused, at its first wrong byte. Call again with a longer window after `need-more`; it begins at
 * the front again, which `headBytesMax` bounds. The window must not change while the head is in use.
 */
export function scanRequestHead(
  window: Buffer,
  start: number,
  end: number,
  limits: Http1Limits,
): Http1RequestHead | RefusedHead<RequestRefusal> | UnfinishedHead {
  return scanHead({ window, start, end }, limits, (line, section) => Http1RequestHead.judge(line, section));
}

/** Reads the head of a CONNECT by the same rules; every other request is refused. */
export function scanConnectHead(
  window: Buffer,
  start: number,
  end: number,
  limits: Http1Limits,
): Http1RequestHead | RefusedHead<RequestRefusal> | UnfinishedHead {
  return scanHead({ window, start, end }, limits, (line, section) =>
    line.method === "CONNECT" ? Http1RequestHead.judgeConnect(line, section) : refuse("method-unsupported"),
  );
}

function scanHead(
  { window, start, end }: { readonly window: Buffer; readonly start: number; readonly end: number },
  limits: Http1Limits,
  judge: (line: RequestLine, section: HeaderSection) => Http1RequestHead | RefusedHead<RequestRefusal>,
): Http1RequestHead | RefusedHead<RequestRefusal> | UnfinishedHead {
  const limit = Math.min(end, start + limits.headBytesMax);
  const line = scanRequestLine(window, start, limit, limits.targetBytesMax);
  const isFull = end - start >= limits.headBytesMax;
  if (line === needMore) return isFull ? tooLarge : unfinishedHead;
  if (typeof line === "string") return refuse(line);

  const section = new HeaderSection(window, { linesMax: limits.headersMax, isUnderscoreAllowed: false });
  const headEnd = scanHeaderLines(section, line.end, limit);
  if (headEnd === needMore) return isFull ? tooLarge : unfinishedHead;
  if (headEnd === refused) return refuse(section.refusal ?? "control-byte");
  return judge(line, section);
}

/** The one object that says a window ends inside a head. */
export const unfinishedHead: UnfinishedHead = { kind: "need-more" };

interface RequestLine {
  readonly start: number;
  readonly method: string;
  readonly methodEnd: number;
  readonly targetStart: number;
  readonly targetEnd: number;
  readonly minorVersion: number;
  readonly end: number;
}

const methodBytesMax = 32;

function scanRequestLine(
  window: Buffer,
  start: number,
  end: number,
  targetBytesMax: number,
): RequestLine | RequestRefusal | typeof needMore {
  let at = start;
  while (at < end && isOf(tokenByte, window[at])) at += 1;
  if (at - start > methodBytesMax) return "method-unknown";
  if (at >= end) return needMore;
  if (window[at] !== space || at === start) return whyNot(window[at], "request-line-malformed");
  const methodEnd = at;

  const targetStart = at + 1;
  at = targetStart;
  while (at < end && isOf(targetByte, window[at])) at += 1;
  if (at - targetStart > targetBytesMax) return "target-too-long";
  if (at >= end) return needMore;
  if (window[at] === hash) return "target-fragment";
  if (window[at] !== space) return whyNotInTarget(window[at]);
  if (at === targetStart) return "request-line-malformed";
  const targetEnd = at;

  const versionEnd = scanVersion(window, at + 1, end);
  if (typeof versionEnd === "string") return versionEnd;
  if (versionEnd === needMore || versionEnd >= end) return needMore;
  if (window[versionEnd] !== carriageReturn) return whyNot(window[versionEnd], "version-malformed");
  if (versionEnd + 1 >= end) return needMore;
  if (window[versionEnd + 1] !== lineFeed) return "bare-carriage-return";
  const minorVersion = (window[versionEnd - 1] ?? 0) - 0x30;
  const method = methodOf(window, start, methodEnd);
  return { start, method, methodEnd, targetStart, targetEnd, minorVersion, end: versionEnd + 2 };
}

function whyNot(byte: number | undefined, otherwise: RequestRefusal): RequestRefusal {
  if (byte === carriageReturn) return otherwise;
  if (byte === lineFeed) return "bare-line-feed";
  return isControl(byte) ? whyNoLineEnd(byte) : otherwise;
}

function whyNotInTarget(byte: number | undefined): RequestRefusal {
  if (byte === carriageReturn) return "version-malformed";
  return whyNot(byte, "target-character");
}

const versionName = "HTTP/";

/** `HTTP/1.0` or `HTTP/1.1`; other digits are another version, anything else is no version. */
function scanVersion(
  window: Buffer,
  start: number,
  end: number,
): number | "version-malformed" | "version-unsupported" {
  for (let index = 0; index < versionName.length; index += 1) {
    if (start + index >= end) return needMore;
    if (window[start + index] !== versionName.charCodeAt(index)) return "version-malformed";
  }
  const major = window[start + 5];
  const point = window[start + 6];
  const minor = window[start + 7];
  if (start + 5 < end && !isDigit(major)) return "version-malformed";
  if (start + 6 < end && point !== 0x2e) return "version-malformed";
  if (start + 7 >= end) return needMore;
  if (!isDigit(minor)) return "version-malformed";
  return major === 0x31 && (minor === 0x30 || minor === 0x31) ? start + 8 : "version-unsupported";
}

function isDigit(byte: number | undefined): boolean {
  return byte !== undefined && byte >= 0x30 && byte <= 0x39;
}

function methodOf(window: Buffer, start: number, end: number): string {
  if (end - start === 3 && window[start] === 0x47 && window[start + 1] === 0x45 && window[start + 2] === 0x54)
    return "GET";
  return window.toString("latin1", start, end);
}

/** Methods whose messages are framed like those of GET and POST; an unknown one might not be. */
const methods = new Set(
  (
    "GET HEAD POST PUT PATCH DELETE OPTIONS QUERY PROPFIND PROPPATCH MKCOL COPY MOVE LOCK UNLOCK SEARCH REPORT " +
    "MKCALENDAR ACL BIND REBIND UNBIND LINK UNLINK PURGE"
  ).split(" "),
);

function judgeMethod(method: string): RequestRefusal | undefined {
  if (methods.has(method)) return undefined;
  return method === "CONNECT" || method === "TRACE" ? "method-unsupported" : "method-unknown";
}

/** What names a request, where it did not come as a head of HTTP/1.1. */
export interface RequestParts {
  readonly method: string;
  readonly target: string;
  readonly host: string;
}

/** Judges where a CONNECT is to go; the answer has it in its one spelling, with the port that must be there. */
export function judgeAuthority(authority: string): string | RefusedHead<RequestRefusal> {
  if (!isHost(authority) || !/:[0-9]+$/.test(authority)) return refuse("host-invalid");
  return authority.toLowerCase();
}

/** Judges what names a request by the rules of {@link scanRequestHead}; the answer has host and target in their one spelling. */
export function judgeRequestParts(
  { method, target, host }: RequestParts,
  limits: Http1Limits,
): RequestParts | RefusedHead<RequestRefusal> {
  if (method.length > methodBytesMax) return refuse("method-unknown");
  if (target.length > limits.targetBytesMax) return refuse("target-too-long");
  for (let at = 0; at < target.length; at += 1)
    if (!isOf(targetByte, target.charCodeAt(at))) return refuse("target-character");
  const methodRefusal = judgeMethod(method);
  if (methodRefusal !== undefined) return refuse(methodRefusal);
  if (host === "") return refuse("host-missing");
  if (!isHost(host)) return refuse("host-invalid");
  const lowerHost = host.toLowerCase();
  const origin = target.startsWith("/") ? target : originFormOf(target, method, lowerHost);
  if (typeof origin !== "string") return origin;
  const normal = origin === "*" ? ok(origin) : normaliseTarget(origin);
  return normal.ok ? { method, target: normal.value, host: lowerHost } : refuse(normal.reason);
}

function isHost(host: string): boolean {
  const match = hostWithPort.exec(host);
  return match !== null && Number(match[1] ?? 0) <= portMax;
}

function framingOf(section: HeaderSection): BodyFraming {
  if (section.isChunked) return chunkedFraming;
  return section.contentLength === undefined ? noBody : { kind: "length", bytes: section.contentLength };
}

/** The framing of a message without a body. */
export const noBody: BodyFraming = { kind: "none" };

/** The framing of a message in the chunked transfer coding. */
export const chunkedFraming: BodyFraming = { kind: "chunked" };

const portMax = 65535;

function hostOf(line: RequestLine, section: HeaderSection): string | RefusedHead<RequestRefusal> {
  if (section.hosts === 0) return line.minorVersion === 0 ? "" : refuse("host-missing");
  if (section.hosts > 1) return refuse("host-repeated");
  const { window, hostStart, hostEnd } = section;
  let at = hostStart;
  while (at < hostEnd && isOf(hostByte, window[at])) at += 1;
  const host = window.toString("latin1", hostStart, hostEnd);
  if ((at < hostEnd || at === hostStart) && !isHost(host)) return refuse("host-invalid");
  return host.toLowerCase();
}

/** A name or IPv4 address, or an IPv6 address in brackets, and a port. */
const hostWithPort = /^(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]{2,45}\])(?::([0-9]{1,5}))?$/;

function targetOf(
  line: RequestLine,
  section: HeaderSection,
  host: string,
): string | RefusedHead<RequestRefusal> {
  const { window } = section;
  const target = window.toString("latin1", line.targetStart, line.targetEnd);
  const origin = window[line.targetStart] === slash ? target : originFormOf(target, line.method, host);
  if (typeof origin !== "string" || origin === "*") return origin;
  const normal = normaliseTarget(origin);
  return normal.ok ? normal.value : refuse(normal.reason);
}

/** Asterisk-form for OPTIONS alone; absolute-form where it names what `Host` names (RFC 9112, 3.2). */
function originFormOf(target: string, method: string, host: string): string | RefusedHead<RequestRefusal> {
  if (target === "*") return method === "OPTIONS" ? target : refuse("target-form");
  const parts = absoluteForm.exec(target);
  if (parts === null) return refuse("target-form");
  const [, scheme = "", authority = "", rest = ""] = parts;
  if (scheme.toLowerCase() !== "http") return refuse("target-scheme");
  if (authority.includes("@")) return refuse("target-userinfo");
  if (authority === "" || authority.toLowerCase() !== host) return refuse("target-host-mismatch");
  if (rest === "" && method === "OPTIONS") return "*";
  return rest.startsWith("/") ? rest : `/${rest}`;
}

const absoluteForm = /^([A-Za-z][A-Za-z0-9+.-]*):\/\/([^/?]*)(.*)$/;

/** A refusal with its status. */
export function refusedRequest(reason: RequestRefusal): RefusedHead<RequestRefusal> {
  return refuse(reason);
}

function refuse(reason: RequestRefusal): RefusedHead<RequestRefusal> {
  return { kind: "refused", reason, status: statusOf(reason) };
}

const tooLarge = refuse("head-too-large");

/** The status that tells a client why (RFC 9110, 15.5 and 15.6; RFC 6585, 5). */
function statusOf(reason: RequestRefusal): number {
  switch (reason) {
    case "head-too-large":
    case "too-many-headers":
      return 431;
    case "target-too-long":
      return 414;
    case "expectation-unsupported":
      return 417;
    case "method-unknown":
    case "method-unsupported":
    case "transfer-encoding-unsupported":
    case "upgrade-unsupported":
      return 501;
    case "version-unsupported":
      return 505;
    default:
      return 400;
  }
}
