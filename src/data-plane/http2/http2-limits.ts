import { MeshError } from "../../base/mesh-error.ts";
import { initialTableBytes, initialWindowBytes, smallestFrameBytesMax } from "./frame-layout.ts";

/** What one HTTP/2 connection may cost, whichever side opened it. */
export interface Http2Limits {
  /** Payload of a frame we accept, in bytes; RFC 9113 does not allow less than 16,384. */
  readonly frameBytesMax: number;
  /** Streams the peer may have open at once. */
  readonly peerStreamsMax: number;
  /** Streams that we open at once, if the peer allows more. */
  readonly ownStreamsMax: number;
  /** Streams over the life of a connection; then it is drained. */
  readonly streamsPerConnectionMax: number;
  /** What a peer may send on a stream before its consumer has consumed any, in bytes; at least 65,535. */
  readonly streamWindowBytes: number;
  /** What a peer may send on all streams before we credit it, in bytes; at least 65,535. */
  readonly connectionWindowBytes: number;
  /**
   * Received and not yet consumed, on all streams together, in bytes. While it is at least `peerStreamsMax` times
   * `streamWindowBytes`, streams whose consumers stand still never hold up another.
   */
  readonly unconsumedBytesMax: number;
  /** A header block as compressed, with its continuations, in bytes. */
  readonly headerBlockBytesMax: number;
  /** CONTINUATION frames of one header block. */
  readonly continuationFramesMax: number;
  /** A header list: names, values and 32 bytes a field (RFC 9113, 6.5.2). */
  readonly headerListBytesMax: number;
  /** Fields of one header list. */
  readonly headerFieldsMax: number;
  /** The decoder's dynamic table, in bytes by HPACK's count; at least 4,096. */
  readonly decoderTableBytes: number;
  /** The encoder's dynamic table, in bytes by HPACK's count, if the peer allows as much. */
  readonly encoderTableBytesMax: number;
  /** Responses of the 1xx class before the final one. */
  readonly interimResponsesMax: number;
  /** Streams reset by the peer soon after they began, or by us over its frames, at once (CVE-2023-44487, CVE-2025-8671). */
  readonly resetsBurstMax: number;
  /** The same in the long run. */
  readonly resetsPerSecondMax: number;
  /** SETTINGS, PING, PRIORITY, WINDOW_UPDATE, empty and unknown frames at once, beyond what real work earns. */
  readonly controlFramesBurstMax: number;
  /** The same in the long run. */
  readonly controlFramesPerSecondMax: number;
  /** Written and not yet taken by the transport, in bytes. */
  readonly outputBytesMax: number;
  /** What is collected for one write to the transport before streams have to wait for the next, in bytes. */
  readonly outputBatchBytes: number;
  /** From the opening to the peer's preface and SETTINGS. */
  readonly handshakeMillis: number;
  /** From our SETTINGS to its acknowledgement. */
  readonly settingsAckMillis: number;
  /** From the first frame of a header block to its last. */
  readonly headerBlockMillis: number;
  /** How long a connection without streams is kept. */
  readonly idleMillis: number;
  /** Silence after which a PING asks whether the peer is there, while streams are open. */
  readonly pingAfterMillis: number;
  /** From one such PING to the next at the earliest. */
  readonly pingAgainMillis: number;
  /** How long a peer that was asked by a PING may be silent. */
  readonly pingMillis: number;
  /** How long a stream may wait for the peer's windows, or the connection for its transport. */
  readonly sendStallMillis: number;
  /** Age at which a connection is drained. */
  readonly ageMillisMax: number;
  /** How long streams may take to end once a connection is drained. */
  readonly drainMillis: number;
  /** The same once it has only grown old or has a successor: tunnels and streams of events last. */
  readonly retireMillis: number;
  /** How long a connection that we ended waits for the peer's end. */
  readonly lingerMillis: number;
}

/** Throws ERR_HTTP2_LIMITS where a limit is below what RFC 9113 lets every peer rely on. */
export function checkHttp2Limits(limits: Http2Limits): void {
  const least = [
    ["frameBytesMax", smallestFrameBytesMax],
    ["streamWindowBytes", initialWindowBytes],
    ["connectionWindowBytes", initialWindowBytes],
    ["unconsumedBytesMax", initialWindowBytes],
    ["decoderTableBytes", initialTableBytes],
  ] as const;
  for (const [name, bytes] of least)
    if (limits[name] < bytes)
      throw new MeshError("ERR_HTTP2_LIMITS", `${name} is ${limits[name]}; it must be at least ${bytes}`);
}

/** The limits that hold unless configured otherwise. */
export const defaultHttp2Limits: Http2Limits = {
  frameBytesMax: 16 * 1024,
  peerStreamsMax: 256,
  ownStreamsMax: 256,
  streamsPerConnectionMax: 100_000_000,
  streamWindowBytes: 64 * 1024,
  connectionWindowBytes: 1024 * 1024,
  unconsumedBytesMax: 16 * 1024 * 1024,
  headerBlockBytesMax: 32 * 1024,
  continuationFramesMax: 8,
  headerListBytesMax: 32 * 1024,
  headerFieldsMax: 128,
  decoderTableBytes: 4096,
  encoderTableBytesMax: 4096,
  interimResponsesMax: 8,
  // Twice the streams that may be open: to cancel them all at once is no attack.
  resetsBurstMax: 512,
  resetsPerSecondMax: 50,
  controlFramesBurstMax: 1000,
  controlFramesPerSecondMax: 100,
  outputBytesMax: 4 * 1024 * 1024,
  outputBatchBytes: 64 * 1024,
  handshakeMillis: 5_000,
  settingsAckMillis: 10_000,
  headerBlockMillis: 5_000,
  idleMillis: 60_000,
  pingAfterMillis: 2_000,
  pingAgainMillis: 2_000,
  pingMillis: 5_000,
  sendStallMillis: 30_000,
  ageMillisMax: 3_600_000,
  drainMillis: 600_000,
  retireMillis: 10_800_000,
  lingerMillis: 2_000,
};

/**
 * Towards an application, whose kernel tells of its end: a program that computes answers no PING meanwhile, and servers
 * of gRPC break a connection on which they are asked more often than every five minutes (gRPC A8, "keepalive").
 */
export const appHttp2Limits: Http2Limits = {
  ...defaultHttp2Limits,
  pingAfterMillis: 20_000,
  pingAgainMillis: 330_000,
  pingMillis: 10_000,
};

/** Requests of many clients share a connection of a known peer; when all give up, that is no attack. */
const manyResets = { resetsBurstMax: 4096, resetsPerSecondMax: 1000 } as const;

/**
 * Connections of TCP end with the certificates of their link, which may live for a day, and with nothing before. A link
 * is no older than it must be for few to be left behind at a time (`linksPerInstanceMax`).
 */
const lasting = { ageMillisMax: 43_200_000, retireMillis: 86_400_000 } as const;

/** From a proxy that we know. */
export const memberHttp2Limits: Http2Limits = { ...defaultHttp2Limits, ...manyResets, ...lasting };

/** To a proxy that we know. */
export const instanceHttp2Limits: Http2Limits = { ...defaultHttp2Limits, ...lasting };

/** From an application: a client that reads only when it wants to answers a PING then, and not before. */
export const appClientHttp2Limits: Http2Limits = {
  ...appHttp2Limits,
  ...manyResets,
  pingMillis: 60_000,
};
