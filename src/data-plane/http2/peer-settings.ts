import { initialWindowBytes, int31Max, settingId, smallestFrameBytesMax } from "./frame-layout.ts";
import type { Http2Violation } from "./http2-violation.ts";

/** What the peer has asked of us in SETTINGS, as far as we heed it (RFC 9113, 6.5.2). */
export interface PeerSettings {
  headerTableBytes: number;
  /** The smallest in the payload last read: a table shrinks before it grows (RFC 7541, 4.2). */
  headerTableBytesLeast: number;
  streamsMax: number;
  streamWindowBytes: number;
  frameBytesMax: number;
  /** The largest header list it says it takes, in bytes by the count of RFC 9113, 6.5.2. */
  headerListBytesMax: number;
  /** Whether it takes extended CONNECT (RFC 8441, 3). */
  takesExtendedConnect: boolean;
}

/** What holds before the peer has said anything. */
export function newPeerSettings(): PeerSettings {
  return {
    headerTableBytes: 4096,
    headerTableBytesLeast: 4096,
    streamsMax: int31Max,
    streamWindowBytes: initialWindowBytes,
    frameBytesMax: smallestFrameBytesMax,
    headerListBytesMax: Number.POSITIVE_INFINITY,
    takesExtendedConnect: false,
  };
}

/** Applies one SETTINGS payload, in order; settings nobody knows are ignored. */
export function readSettings(
  settings: PeerSettings,
  payload: Buffer,
  role: "client" | "server",
): Http2Violation | undefined {
  settings.headerTableBytesLeast = settings.headerTableBytes;
  for (let at = 0; at + 6 <= payload.length; at += 6) {
    const violation = apply(settings, payload.readUInt16BE(at), payload.readUInt32BE(at + 2), role);
    if (violation !== undefined) return violation;
  }
  return undefined;
}

function apply(
  settings: PeerSettings,
  id: number,
  value: number,
  role: "client" | "server",
): Http2Violation | undefined {
  switch (id) {
    case settingId.headerTableSize:
      settings.headerTableBytes = value;
      settings.headerTableBytesLeast = Math.min(settings.headerTableBytesLeast, value);
      return undefined;
    case settingId.enablePush:
      // Only a client may allow it (6.5.2).
      return value === 0 || (value === 1 && role === "server") ? undefined : "setting-invalid";
    case settingId.maxConcurrentStreams:
      settings.streamsMax = value;
      return undefined;
    case settingId.initialWindowSize:
      if (value > int31Max) return "window-setting-invalid";
      settings.streamWindowBytes = value;
      return undefined;
    case settingId.maxFrameSize:
      if (value < smallestFrameBytesMax || value > 2 ** 24 - 1) return "setting-invalid";
      settings.frameBytesMax = value;
      return undefined;
    case settingId.maxHeaderListSize:
      settings.headerListBytesMax = value;
      return undefined;
    case settingId.enableConnectProtocol:
      // Once given, the word is not taken back.
      if (value > 1 || (value === 0 && settings.takesExtendedConnect)) return "setting-invalid";
      settings.takesExtendedConnect = value === 1;
      return undefined;
    case settingId.noRfc7540Priorities:
      return value <= 1 ? undefined : "setting-invalid";
    default:
      return undefined;
  }
}
