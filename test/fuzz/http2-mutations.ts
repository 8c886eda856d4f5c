import fc from "fast-check";
import { FrameReader } from "../../src/data-plane/http2/frame-reader.ts";
import {
  defaultHttp2Limits,
  type Http2Session,
  type Http2Violation,
} from "../../src/data-plane/http2/index.ts";
import { Echo, fieldsOf } from "./http2-peers.ts";
import {
  block,
  end,
  endHeaders,
  type FarEnd,
  frame,
  get,
  openBareClient,
  openBareServer,
  padded,
  post,
  SentHeads,
  settings,
  withPriority,
  word,
} from "./http2-wire.ts";

/** Bytes in the pieces in which they arrive, and how often time passes between them. */
export interface Assault {
  readonly chunks: readonly Buffer[];
  /** Whether the peer takes what we send. */
  readonly isDeaf: boolean;
}

const streamId = fc.oneof(fc.constantFrom(0, 1, 2, 3, 5, 7, 9, 2 ** 31 - 1), fc.nat(40));
const flags = fc.oneof(
  fc.constantFrom(0, end, endHeaders, end | endHeaders, padded, withPriority, 0xff),
  fc.nat(255),
);
const payload = fc.oneof(
  fc.uint8Array({ maxLength: 30 }).map((bytes) => Buffer.from(bytes)),
  fc.constantFrom(
    get,
    post,
    word(0),
    word(1),
    word(2 ** 31 - 1),
    block([":status", "200"]),
    block([":status", "103"]),
    block(["x-trailer", "1"]),
    block(["content-length", "3"]),
    Buffer.alloc(8),
    Buffer.alloc(16_384),
    Buffer.concat([get, Buffer.from("400161", "hex"), Buffer.from("0162", "hex"), Buffer.of(0xbe)]),
    settings([4, 0]),
    settings([4, 2 ** 31 - 1], [1, 0]),
    settings([1, 65_536], [3, 0], [5, 16_384]),
  ),
);
const okay = block([":status", "200"]);
/** Makes a frame on one of the streams that are open, or on the next. */
type Step = (open: number, next: number) => { bytes: Buffer; isOpening?: true };
/** Frames as they should be, so that sessions get anywhere. */
const proper = (whole: Buffer, open: Buffer): fc.Arbitrary<Step> =>
  fc.tuple(fc.nat(3), fc.nat(40)).chain(([back, size]) => {
    const on = (open: number): number => Math.max(1, open - 2 * back);
    return fc.constantFrom<Step>(
      (_, next) => ({ bytes: frame("HEADERS", end | endHeaders, next, whole), isOpening: true }),
      (_, next) => ({ bytes: frame("HEADERS", endHeaders, next, open), isOpening: true }),
      (_, next) => ({
        bytes: Buffer.concat([
          frame("HEADERS", 0, next, open.subarray(0, 5)),
          frame("CONTINUATION", endHeaders, next, open.subarray(5)),
        ]),
        isOpening: true,
      }),
      (open) => ({ bytes: frame("HEADERS", endHeaders, on(open), block([":status", "200"])) }),
      (open) => ({ bytes: frame("DATA", 0, on(open), Buffer.alloc(size * 100)) }),
      (open) => ({ bytes: frame("DATA", end, on(open), "00") }),
      (open) => ({ bytes: frame("RST_STREAM", 0, on(open), word(8)) }),
      (open) => ({ bytes: frame("WINDOW_UPDATE", 0, on(open), word(1_000)) }),
      () => ({ bytes: frame("WINDOW_UPDATE", 0, 0, word(1_000)) }),
      () => ({ bytes: frame("PING", 0, 0, Buffer.alloc(8)) }),
      () => ({ bytes: frame("SETTINGS", 0, 0, settings([4, size * 1_000])) }),
    );
  });
const odd: fc.Arbitrary<Step> = fc
  .tuple(fc.nat(12), flags, streamId, payload)
  .map(([type, flags, id, payload]) => () => ({ bytes: frame(type, flags, id, payload) }));
const mutation = fc.record({
  at: fc.nat(),
  byte: fc.nat(255),
  kind: fc.constantFrom("set", "cut", "insert"),
});

/** Streams of frames, most of them in order, with some bytes changed, in pieces of any size. */
const assaultWith = (first: Buffer, step: fc.Arbitrary<Step>): fc.Arbitrary<Assault> =>
  fc
    .record({
      frames: fc.array(fc.oneof({ weight: 12, arbitrary: step }, { weight: 1, arbitrary: odd }), {
        maxLength: 60,
      }),
      mutations: fc.array(mutation, { maxLength: 2 }),
      cuts: fc.array(fc.integer({ min: 1, max: 5_000 }), { maxLength: 20 }),
      isDeaf: fc.boolean(),
    })
    .map(({ frames, mutations, cuts, isDeaf }) => {
      let next = 3;
      const opening = frame("HEADERS", endHeaders, 1, first);
      let bytes = Buffer.concat([
        opening,
        ...frames.map((step) => {
          const { bytes, isOpening } = step(next - 2, next);
          if (isOpening === true) next += 2;
          return bytes;
        }),
      ]);
      for (const { at, byte, kind } of mutations) {
        const place = bytes.length === 0 ? 0 : at % bytes.length;
        const rest = bytes.subarray(kind === "insert" ? place : place + 1);
        const middle = kind === "cut" ? Buffer.alloc(0) : Buffer.of(byte);
        bytes = Buffer.concat([bytes.subarray(0, place), middle, rest]);
      }
      const chunks: Buffer[] = [];
      for (const cut of cuts) {
        chunks.push(bytes.subarray(0, cut));
        bytes = bytes.subarray(cut);
      }
      chunks.push(bytes);
      return { chunks: chunks.filter(({ length }) => length > 0), isDeaf };
    });

/** What a client of ill will might send. */
export const clientAssault: fc.Arbitrary<Assault> = assaultWith(post, proper(get, post));
/** What a server of ill will might send. */
export const serverAssault: fc.Arbitrary<Assault> = assaultWith(okay, proper(okay, okay));

/** What came of an assault; `complaint` is what must never be. */
export interface Survival {
  readonly complaint: string | undefined;
  readonly ends: readonly (Http2Violation | undefined)[];
  readonly answered: number;
}

/** Sends it to a server session. */
export function assaultServer({ chunks, isDeaf }: Assault): Survival {
  let held = 0;
  class Counting extends Echo {
    override onData(window: Buffer, start: number, end: number): void {
      held += end - start;
      super.onData(window, start, end);
    }
  }
  const onRequest = (...parts: ConstructorParameters<typeof Echo>): Echo => new Counting(parts[0], parts[1]);
  const server = openBareServer({}, { onRequest });
  server.far.isFull = isDeaf;
  for (const chunk of chunks) {
    server.send(chunk);
    server.far.turn();
  }
  server.wait(3);
  const complaint =
    complaintAbout(server.session, server.far) ??
    (server.faults.length > 0 ? `threw ${String(server.faults[0])}` : undefined) ??
    (server.ends.length > 1 ? "ended twice" : undefined);
  const answered = server.seen.filter(({ outcome }) => outcome === "complete").length;
  return { complaint: complaint ?? (held < 0 ? "lost count" : undefined), ends: server.ends, answered };
}

/** Sends it to a client session that has requests open. */
export function assaultClient({ chunks, isDeaf }: Assault): Survival {
  const client = openBareClient();
  let answered = 0;
  const told: string[] = [];
  for (let id = 1; id < 60; id += 2) {
    const end = (what: string) => (): void => {
      told.push(`${id} ${what}`);
      if (what === "end") answered += 1;
    };
    const stream = client.session.open(
      fieldsOf([":method", "GET"], [":scheme", "http"], [":path", "/"]),
      true,
      {
        onInterim: () => {},
        onResponse: () => {},
        onData: (_, start, end) => stream?.consume(end - start),
        onEnd: end("end"),
        onReset: end("reset"),
        onWritable: () => {},
        onDeadline: () => {},
      },
    );
  }
  client.far.isFull = isDeaf;
  for (const chunk of chunks) {
    client.send(chunk);
    client.far.turn();
  }
  const isTwice = new Set(told).size < told.length;
  const complaint = complaintAbout(client.session, client.far) ?? (isTwice ? "told twice" : undefined);
  return { complaint, ends: client.ends, answered };
}

/** What a session must never do: hold too much, or send what is no HTTP/2. */
function complaintAbout(session: Http2Session, far: FarEnd): string | undefined {
  if (session.streams.size > defaultHttp2Limits.peerStreamsMax) return "too many streams";
  const sent = far.takeBytes();
  if (sent.length > 2 * defaultHttp2Limits.outputBytesMax) return "too much output";
  const heads = new SentHeads();
  let complaint: string | undefined;
  const reader = new FrameReader(
    {
      onFrame: () => {
        const { type, window, start, end } = reader;
        if (type === 1 && heads.read(window.subarray(start, end)) === undefined)
          complaint = "a head that cannot be decoded";
      },
      onDataBegin: () => {},
      onDataPiece: () => {},
      onDataEnd: () => {},
    },
    16_384,
  );
  reader.read(sent);
  return complaint ?? reader.violation;
}
