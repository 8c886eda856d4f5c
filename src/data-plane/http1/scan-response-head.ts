import type { BodyFraming } from "./body-framing.ts";
import { carriageReturn, isOf, lineFeed, space, valueByte } from "./byte-classes.ts";
import {
  type HeaderRefusal,
  HeaderSection,
  needMore,
  refused,
  scanHeaderLines,
  whyNoLineEnd,
} from "./header-section.ts";
import type { Http1Limits } from "./http1-limits.ts";
import {
  chunkedFraming,
  noBody,
  type RefusedHead,
  type UnfinishedHead,
  unfinishedHead,
} from "./scan-request-head.ts";

/** Why a response head was refused. */
export type ResponseRefusal =
  | HeaderRefusal
  | "head-too-large"
  | "status-line-malformed"
  | "version-unsupported"
  | "status-unsupported"
  | "transfer-encoding-in-http10"
  | "transfer-encoding-without-body";

/** A response head in which everything was in order; only {@link scanResponseHead} makes one. */
export interface Http1ResponseHead {
  readonly kind: "head";
  readonly status: number;
  readonly framing: BodyFraming;
  /** Whether the server will take another request on this connection. */
  readonly keepAlive: boolean;
  /** The header lines where they stand in the window. */
  readonly section: HeaderSection;
  /** Where the reason phrase stands in the window; empty if there was none. */
  readonly phraseStart: number;
  readonly phraseEnd: number;
}

/**
 * Reads one response head from `window[start, end)` by the rules of `scanRequestHead`. `isHead` says that it answers a
 * HEAD request and so has no body, whatever it declares (RFC 9112, 6.3).
 */
export function scanResponseHead(
  window: Buffer,
  start: number,
  end: number,
  rules: { readonly limits: Http1Limits; readonly isHead: boolean },
): Http1ResponseHead | RefusedHead<ResponseRefusal> | UnfinishedHead {
  const { headBytesMax, headersMax } = rules.limits;
  const limit = Math.min(end, start + headBytesMax);
  const isFull = end - start >= headBytesMax;
  const line = scanStatusLine(window, start, limit);
  if (line === needMore) return isFull ? refuse("head-too-large") : unfinishedHead;
  if (typeof line === "string") return refuse(line);

  const section = new HeaderSection(window, { linesMax: headersMax, isUnderscoreAllowed: true });
  const headEnd = scanHeaderLines(section, line.end, limit);
  if (headEnd === needMore) return isFull ? refuse("head-too-large") : unfinishedHead;
  if (headEnd === refused) return refuse(section.refusal ?? "control-byte");
  return judge(line, section, rules.isHead);
}

interface StatusLine {
  readonly minorVersion: number;
  readonly status: number;
  readonly phraseStart: number;
  readonly phraseEnd: number;
  readonly end: number;
}

const versionAndStatus = "HTTP/1.x ddd";

function scanStatusLine(
  window: Buffer,
  start: number,
  end: number,
): StatusLine | ResponseRefusal | typeof needMore {
  let status = 0;
  for (let index = 0; index < versionAndStatus.length; index += 1) {
    const byte = window[start + index];
    if (start + index >= end || byte === undefined) return needMore;
    const wanted = versionAndStatus.charCodeAt(index);
    const isDigit = byte >= 0x30 && byte <= 0x39;
    if (wanted === 0x78 || index === 5) {
      if (!isDigit) return "status-line-malformed";
      if (index === 5 ? byte !== 0x31 : byte > 0x31) return "version-unsupported";
    } else if (wanted === 0x64) {
      if (!isDigit) return "status-line-malformed";
      status = status * 10 + byte - 0x30;
    } else if (byte !== wanted) return "status-line-malformed";
  }
  if (status < 100 || status > 599) return "status-unsupported";

  let at = start + versionAndStatus.length;
  if (at >= end) return needMore;
  if (window[at] === space) at += 1;
  else if (window[at] !== carriageReturn) return "status-line-malformed";
  const phraseStart = at;
  while (at < end && isOf(valueByte, window[at])) at += 1;
  if (at >= end) return needMore;
  if (window[at] !== carriageReturn) return whyNoLineEnd(window[at]);
  if (at + 1 >= end) return needMore;
  if (window[at + 1] !== lineFeed) return "bare-carriage-return";
  const minorVersion = (window[start + 7] ?? 0) - 0x30;
  return { minorVersion, status, phraseStart, phraseEnd: at, end: at + 2 };
}

function judge(
  line: StatusLine,
  section: HeaderSection,
  isHead: boolean,
): Http1ResponseHead | RefusedHead<ResponseRefusal> {
  const { status, minorVersion, phraseStart, phraseEnd } = line;
  if (section.isChunked && minorVersion === 0) return refuse("transfer-encoding-in-http10");
  if (section.isChunked && (status < 200 || status === 204)) return refuse("transfer-encoding-without-body");
  const hasNoBody = isHead || status < 200 || status === 204 || status === 304;
  const framing = hasNoBody ? noBody : framingOf(section);
  const keepAlive = minorVersion === 1 && !section.hasClose && framing.kind !== "until-close";
  return { kind: "head", status, framing, keepAlive, section, phraseStart, phraseEnd };
}

function framingOf(section: HeaderSection): BodyFraming {
  if (section.isChunked) return chunkedFraming;
  return section.contentLength === undefined ? untilClose : { kind: "length", bytes: section.contentLength };
}

const untilClose: BodyFraming = { kind: "until-close" };

function refuse(reason: ResponseRefusal): RefusedHead<ResponseRefusal> {
  return { kind: "refused", reason, status: 502 };
}
