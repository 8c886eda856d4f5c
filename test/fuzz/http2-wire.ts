import { CoarseTimer } from "../../src/data-plane/coarse-timer.ts";
import { HpackDecoder } from "../../src/data-plane/http2/hpack/hpack-decoder.ts";
import {
  ClientSession,
  type ConnectForms,
  defaultHttp2Limits,
  type Http2Limits,
  type Http2RequestHead,
  type Http2Stream,
  type Http2Violation,
  noConnect,
  ServerSession,
} from "../../src/data-plane/http2/index.ts";
import { type FakeClock, fakeClock } from "../fakes/fake-clock.ts";
import { Echo, type SeenRequest } from "./http2-peers.ts";

/** Names of frame types, in order of their numbers. */
const typeNames = [
  "DATA",
  "HEADERS",
  "PRIORITY",
  "RST_STREAM",
  "SETTINGS",
  "PUSH_PROMISE",
  "PING",
  "GOAWAY",
  "WINDOW_UPDATE",
  "CONTINUATION",
] as const;

/** Flags by their bits. */
export const end = 1;
export const ack = 1;
export const endHeaders = 4;
export const padded = 8;
export const withPriority = 32;

/** A frame as bytes; `type` may be the number of one that nobody knows. */
export function frame(
  type: (typeof typeNames)[number] | number,
  flags: number,
  streamId: number,
  payload: Uint8Array | string = "",
): Buffer {
  const bytes = typeof payload === "string" ? Buffer.from(payload, "hex") : Buffer.from(payload);
  const head = Buffer.alloc(9);
  head.writeUIntBE(bytes.length, 0, 3);
  head[3] = typeof type === "number" ? type : typeNames.indexOf(type);
  head[4] = flags;
  head.writeUInt32BE(streamId, 5);
  return Buffer.concat([head, bytes]);
}

/** A header block of literals that enter no table; names and values may be what no field may have. */
export function block(...fields: readonly (readonly [string, string])[]): Buffer {
  return Buffer.concat(
    fields.map(([name, value]) => Buffer.concat([Buffer.of(0), literal(name), literal(value)])),
  );
}

/** A 32-bit number. */
export function word(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value >>> 0);
  return bytes;
}

/** A payload of SETTINGS. */
export function settings(...pairs: readonly (readonly [number, number])[]): Buffer {
  return Buffer.concat(pairs.map(([id, value]) => Buffer.concat([Buffer.of(0, id), word(value)])));
}

/** The header block of an ordinary GET. */
export const get = block([":method", "GET"], [":scheme", "http"], [":path", "/"], [":authority", "a"]);
/** The header block of an ordinary POST. */
export const post = block([":method", "POST"], [":scheme", "http"], [":path", "/"], [":authority", "a"]);
/** What a client begins with. */
export const preface: Buffer = Buffer.concat([
  Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
  frame("SETTINGS", 0, 0),
  frame("SETTINGS", ack, 0),
]);

function literal(text: string): Buffer {
  const bytes = Buffer.from(text, "latin1");
  if (bytes.length < 127) return Buffer.concat([Buffer.of(bytes.length), bytes]);
  const rest = bytes.length - 127;
  const length =
    rest < 128 ? Buffer.of(127, rest) : Buffer.of(127, 128 | (rest & 127), (rest >> 7) | 128, rest >> 14);
  return Buffer.concat([length, bytes]);
}

/** A frame that a session of ours sent. */
export interface SentFrame {
  readonly type: string;
  readonly flags: number;
  readonly streamId: number;
  readonly payload: Buffer;
}

/** The far end of a session's transport: what was written to it, and whether it takes more. */
export class FarEnd {
  hasEnded = false;
  isDestroyed = false;
  /** Whether `write` asks to wait. */
  isFull = false;
  writes = 0;
  private bytes = Buffer.alloc(0);
  private readonly pending: (() => void)[] = [];

  readonly schedule = (run: () => void): void => {
    this.pending.push(run);
  };

  write(bytes: Uint8Array, done: () => void): boolean {
    this.writes += 1;
    this.bytes = Buffer.concat([this.bytes, bytes]);
    // What is given back may be overwritten: whoever reads it later than now sees it.
    done();
    return !this.isFull;
  }

  end(): void {
    this.hasEnded = true;
  }

  destroy(): void {
    this.isDestroyed = true;
  }

  /** Lets flushes that are due happen, once each. */
  turn(): void {
    for (const run of this.pending.splice(0)) run();
  }

  /** Takes the bytes sent so far. */
  takeBytes(): Buffer {
    for (let turns = 0; turns < 1_000 && this.pending.length > 0; turns += 1) this.turn();
    const taken = this.bytes;
    this.bytes = Buffer.alloc(0);
    return taken;
  }

  /** Takes the frames sent so far, but the preface. */
  take(): SentFrame[] {
    let rest = this.takeBytes();
    if (rest.toString("latin1").startsWith("PRI ")) rest = rest.subarray(24);
    const frames: SentFrame[] = [];
    while (rest.length >= 9) {
      const length = rest.readUIntBE(0, 3);
      frames.push({
        type: typeNames[rest[3] ?? 0] ?? String(rest[3]),
        flags: rest[4] ?? 0,
        streamId: rest.readUInt32BE(5),
        payload: rest.subarray(9, 9 + length),
      });
      rest = rest.subarray(9 + length);
    }
    return frames;
  }
}

/** A server session of ours with nothing around it. */
export interface BareServer {
  readonly session: ServerSession;
  readonly far: FarEnd;
  readonly timer: CoarseTimer;
  readonly clock: FakeClock;
  readonly seen: SeenRequest[];
  readonly faults: unknown[];
  /** What it sent at first. */
  greeting: readonly SentFrame[];
  /** How the session ended, once it has. */
  readonly ends: (Http2Violation | undefined)[];
  /** Sends bytes to it. */
  readonly send: (...bytes: readonly Buffer[]) => BareServer;
  /** What it sent of stream errors and of its end, in words. */
  readonly verdicts: () => string[];
  /** Lets time pass, a second at a time. */
  readonly wait: (seconds: number) => void;
}

/** Opens a server session that has had its handshake, unless it is told otherwise. */
export function openBareServer(
  limits: Partial<Http2Limits> = {},
  options: {
    handshake?: Buffer;
    connect?: ConnectForms;
    onRequest?: (stream: Http2Stream, head: Http2RequestHead) => Echo | undefined;
  } = {},
): BareServer {
  const clock = fakeClock();
  const timer = new CoarseTimer(clock);
  const far = new FarEnd();
  const seen: SeenRequest[] = [];
  const ends: (Http2Violation | undefined)[] = [];
  const faults: unknown[] = [];
  const onRequest = (stream: Http2Stream, head: Http2RequestHead): Echo | undefined => {
    const echo = options.onRequest === undefined ? new Echo(stream, head) : options.onRequest(stream, head);
    if (echo !== undefined) seen.push(echo.seen);
    return echo;
  };
  const session = new ServerSession(
    { onRequest, onClosed: (violation) => ends.push(violation) },
    {
      transport: far,
      timer,
      schedule: far.schedule,
      limits: { ...defaultHttp2Limits, ...limits },
      connect: options.connect ?? noConnect,
      onFault: (fault) => faults.push(fault),
    },
  );
  const server: BareServer = {
    session,
    far,
    timer,
    clock,
    seen,
    faults,
    greeting: [],
    ends,
    send: (...bytes) => {
      for (const part of bytes) session.read(part);
      return server;
    },
    verdicts: () => verdictsOf(far.take()),
    wait: (seconds) => {
      for (let second = 0; second < seconds; second += 1) {
        clock.advanceSeconds(1);
        timer.tick();
      }
    },
  };
  server.send(options.handshake ?? preface);
  server.greeting = far.take();
  return server;
}

/** Stream errors and GOAWAY among frames, in words. */
export function verdictsOf(frames: readonly SentFrame[]): string[] {
  return frames.flatMap(({ type, streamId, payload }) => {
    if (type === "RST_STREAM") return [`reset ${streamId} with ${payload.readUInt32BE(0)}`];
    if (type !== "GOAWAY") return [];
    return [`goaway with ${payload.readUInt32BE(4)}: ${payload.toString("latin1", 8)}`];
  });
}

/** A client session of ours with nothing around it. */
export interface BareClient {
  readonly session: ClientSession;
  readonly far: FarEnd;
  readonly timer: CoarseTimer;
  readonly clock: FakeClock;
  readonly ends: (Http2Violation | undefined)[];
  readonly told: string[];
  readonly send: (...bytes: readonly Buffer[]) => BareClient;
  readonly verdicts: () => string[];
}

/** Opens a client session whose server has sent its SETTINGS. */
export function openBareClient(limits: Partial<Http2Limits> = {}, serverSettings = settings()): BareClient {
  const clock = fakeClock();
  const timer = new CoarseTimer(clock);
  const far = new FarEnd();
  const ends: (Http2Violation | undefined)[] = [];
  const told: string[] = [];
  const session = new ClientSession(
    {
      onClosed: (violation) => ends.push(violation),
      onDraining: () => told.push("draining"),
      onCapacity: () => told.push("capacity"),
    },
    { transport: far, timer, schedule: far.schedule, limits: { ...defaultHttp2Limits, ...limits } },
  );
  const client: BareClient = {
    session,
    far,
    timer,
    clock,
    ends,
    told,
    send: (...bytes) => {
      for (const part of bytes) session.read(part);
      return client;
    },
    verdicts: () => verdictsOf(far.take()),
  };
  client.send(frame("SETTINGS", 0, 0, serverSettings), frame("SETTINGS", ack, 0));
  far.take();
  told.length = 0;
  return client;
}

/** Reads the header blocks that one session sent, in order. */
export class SentHeads {
  private readonly decoder = new HpackDecoder(4096, { headerListBytesMax: 2 ** 20, headerFieldsMax: 1_000 });

  /** A list as `name: value` texts, or undefined where the block cannot be decoded. */
  read(payload: Buffer): string[] | undefined {
    const fields = this.decoder.decode(payload, 0, payload.length);
    return fields?.map(({ name, value }) => `${name}: ${value}`);
  }
}
