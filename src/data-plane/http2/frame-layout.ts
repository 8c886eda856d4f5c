import type { Http2Violation } from "./http2-violation.ts";

/** Types of frames (RFC 9113, 6). */
export const frameType = {
  data: 0,
  headers: 1,
  priority: 2,
  rstStream: 3,
  settings: 4,
  pushPromise: 5,
  ping: 6,
  goaway: 7,
  windowUpdate: 8,
  continuation: 9,
} as const;

/** Flags of frames; the same bit means different things on different types. */
export const frameFlag = {
  none: 0,
  ack: 1,
  endStream: 1,
  endHeaders: 4,
  padded: 8,
  priority: 32,
} as const;

/** Identifiers of settings (RFC 9113, 6.5.2; RFC 9218, 2.1). */
export const settingId = {
  headerTableSize: 1,
  enablePush: 2,
  maxConcurrentStreams: 3,
  initialWindowSize: 4,
  maxFrameSize: 5,
  maxHeaderListSize: 6,
  enableConnectProtocol: 8,
  noRfc7540Priorities: 9,
} as const;

/** Bytes of a frame's head: length, type, flags, stream. */
export const frameHeadBytes = 9;

/** The window of a connection, and of each stream until SETTINGS say otherwise (RFC 9113, 6.9.2). */
export const initialWindowBytes = 65_535;

/** The dynamic table of either direction until SETTINGS say otherwise, in bytes by HPACK's count. */
export const initialTableBytes = 4096;

/** The largest window and the largest stream identifier. */
export const int31Max = 2 ** 31 - 1;

/** The payload that every peer accepts (RFC 9113, 4.2). */
export const smallestFrameBytesMax = 16_384;

/** What a client sends first (RFC 9113, 3.4). */
export const clientPreface: Buffer = Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "latin1");

/** What is wrong with a frame for its type, judged by its head alone; the sizes are those of RFC 9113, 6. */
export function checkFrameHead(
  type: number,
  flags: number,
  streamId: number,
  length: number,
): Http2Violation | undefined {
  const isOfStream = streamId !== 0;
  switch (type) {
    case frameType.data:
    case frameType.headers:
      if (!isOfStream) return "stream-id-missing";
      return length < fixedBytes(type, flags) ? "frame-size-invalid" : undefined;
    case frameType.priority:
      // Its size is the stream's matter alone (6.3), and judged with its content.
      return isOfStream ? undefined : "stream-id-missing";
    case frameType.rstStream:
      if (!isOfStream) return "stream-id-missing";
      return length === 4 ? undefined : "frame-size-invalid";
    case frameType.settings:
      if (isOfStream) return "stream-id-forbidden";
      return length % 6 !== 0 || ((flags & frameFlag.ack) !== 0 && length !== 0)
        ? "frame-size-invalid"
        : undefined;
    case frameType.pushPromise:
      return "push-forbidden";
    case frameType.ping:
      if (isOfStream) return "stream-id-forbidden";
      return length === 8 ? undefined : "frame-size-invalid";
    case frameType.goaway:
      if (isOfStream) return "stream-id-forbidden";
      return length < 8 ? "frame-size-invalid" : undefined;
    case frameType.windowUpdate:
      return length === 4 ? undefined : "frame-size-invalid";
    case frameType.continuation:
      return isOfStream ? undefined : "stream-id-missing";
    default:
      return undefined;
  }
}

function fixedBytes(type: number, flags: number): number {
  const padding = (flags & frameFlag.padded) === 0 ? 0 : 1;
  return type === frameType.headers && (flags & frameFlag.priority) !== 0 ? padding + 5 : padding;
}
