/** A position in a trace (W3C Trace Context, Recommendation of 23 November 2021, level 1). */
export interface TraceParent {
  /** 32 lower-case hexadecimal digits, not all zero. */
  readonly traceId: string;
  /** 16 lower-case hexadecimal digits, not all zero: the span that asks. */
  readonly parentId: string;
  /** Whether the asker records this trace; the one flag that level 1 knows. */
  readonly isSampled: boolean;
}

const versionZeroBytes = 55;
const traceIdStart = 3;
const traceIdEnd = 35;
const parentIdStart = 36;
const parentIdEnd = 52;
const flagsStart = 53;
const dash = 0x2d;
const sampledFlag = 1;

/**
 * Reads the value of a `traceparent` header in `window[start, end)`; undefined where it is none, so that a new trace is
 * to be begun. A version above 00 may be longer and is read as far as 00 goes (section 3.2.4 of the Recommendation);
 * version ff is none.
 */
export function readTraceparent(window: Uint8Array, start: number, end: number): TraceParent | undefined {
  const length = end - start;
  if (length < versionZeroBytes) return undefined;
  const version = hexByteAt(window, start);
  if (version < 0 || version === 0xff) return undefined;
  if (version === 0 && length !== versionZeroBytes) return undefined;
  if (length > versionZeroBytes && window[start + versionZeroBytes] !== dash) return undefined;
  for (const place of [traceIdStart, parentIdStart, flagsStart])
    if (window[start + place - 1] !== dash) return undefined;
  const flags = hexByteAt(window, start + flagsStart);
  if (flags < 0 || !isId(window, start + traceIdStart, start + traceIdEnd)) return undefined;
  if (!isId(window, start + parentIdStart, start + parentIdEnd)) return undefined;
  return {
    traceId: latin1(window, start + traceIdStart, start + traceIdEnd),
    parentId: latin1(window, start + parentIdStart, start + parentIdEnd),
    // Flags that level 1 does not define are not handed on (section 3.2.2.5).
    isSampled: (flags & sampledFlag) !== 0,
  };
}

const membersMax = 32;
/** What is handed on of a `tracestate` in any case; of a longer one, whole members go (section 3.3.1.5). */
const tracestateCharactersMax = 512;
/** Members longer than this go first. */
const longMemberCharacters = 128;
const member =
  /^(?:[a-z][a-z0-9_*/-]{0,255}|[a-z0-9][a-z0-9_*/-]{0,240}@[a-z][a-z0-9_*/-]{0,13})=[\x20-\x2b\x2d-\x3c\x3e-\x7e]{0,255}[\x21-\x2b\x2d-\x3c\x3e-\x7e]$/;

/** What becomes of the `tracestate` lines of a request. */
export type Tracestate =
  /** They go on as they are. */
  | { readonly kind: "kept" }
  /** They break a rule, so that nothing of them goes on. */
  | { readonly kind: "dropped" }
  /** They are right and too long; this goes on instead. */
  | { readonly kind: "shortened"; readonly value: string };

/** Judges the values of all `tracestate` lines, in order; together they are one list (section 3.3.1.1). */
export function judgeTracestate(values: readonly string[]): Tracestate {
  const combined = values.join(",");
  const members = combined.split(",").map(trimmed);
  const named = members.filter((text) => text !== "");
  if (named.length > membersMax || !named.every((text) => member.test(text))) return { kind: "dropped" };
  const keys = new Set(named.map((text) => text.slice(0, text.indexOf("="))));
  if (keys.size < named.length) return { kind: "dropped" };
  if (combined.length <= tracestateCharactersMax) return { kind: "kept" };
  return { kind: "shortened", value: shortened(named) };
}

/** Whole members only: first the long ones go, the last of them first, then the last of all. */
function shortened(members: readonly string[]): string {
  const kept = [...members];
  const length = (): number => kept.join(",").length;
  for (let at = kept.length - 1; at >= 0 && length() > tracestateCharactersMax; at -= 1)
    if ((kept[at]?.length ?? 0) > longMemberCharacters) kept.splice(at, 1);
  while (length() > tracestateCharactersMax) kept.pop();
  return kept.join(",");
}

function trimmed(text: string): string {
  return text.replace(/^[ \t]+|[ \t]+$/g, "");
}

function isId(window: Uint8Array, start: number, end: number): boolean {
  let isZero = true;
  for (let at = start; at < end; at += 1) {
    const digit = hexDigit(window[at]);
    if (digit < 0) return false;
    if (digit > 0) isZero = false;
  }
  return !isZero;
}

function hexByteAt(window: Uint8Array, at: number): number {
  const high = hexDigit(window[at]);
  const low = hexDigit(window[at + 1]);
  return high < 0 || low < 0 ? -1 : high * 16 + low;
}

/** The value of a lower-case hexadecimal digit, or -1. */
function hexDigit(byte = 0): number {
  if (byte >= 0x30 && byte <= 0x39) return byte - 0x30;
  return byte >= 0x61 && byte <= 0x66 ? byte - 0x61 + 10 : -1;
}

function latin1(window: Uint8Array, start: number, end: number): string {
  return Buffer.from(window.buffer, window.byteOffset + start, end - start).toString("latin1");
}
