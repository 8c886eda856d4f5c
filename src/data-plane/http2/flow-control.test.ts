import { describe, expect, test } from "vitest";
import { Echo } from "../../../test/fuzz/http2-peers.ts";
import {
  type BareServer,
  end,
  endHeaders,
  frame,
  get,
  openBareServer,
  padded,
  post,
  type SentFrame,
  settings,
  word,
} from "../../../test/fuzz/http2-wire.ts";
import type { Http2Stream } from "./http2-stream.ts";

const open = (streamId: number): Buffer => frame("HEADERS", endHeaders, streamId, post);
const ask = (streamId: number): Buffer => frame("HEADERS", end | endHeaders, streamId, get);
const data = (streamId: number, bytes: number): Buffer => frame("DATA", 0, streamId, Buffer.alloc(bytes));

/** All that a stream may be sent at first. */
const fill = (streamId: number): Buffer[] => Array.from({ length: 4 }, () => data(streamId, 16_384));
/** Room for two streams that stand still. */
const tight = { unconsumedBytesMax: 131_072, connectionWindowBytes: 131_072 };

/** Takes data and consumes it when told to. */
class Hoarder extends Echo {
  readonly hoarded: Http2Stream;
  bytes = 0;

  constructor(...parts: ConstructorParameters<typeof Echo>) {
    super(...parts);
    this.hoarded = parts[0];
  }

  override onData(_: Buffer, start: number, end: number): void {
    this.bytes += end - start;
  }

  release(): void {
    this.hoarded.consume(this.bytes);
    this.bytes = 0;
  }
}

function openHoard(limits: object = {}): { server: BareServer; hoarders: Hoarder[] } {
  const hoarders: Hoarder[] = [];
  const onRequest = (...parts: ConstructorParameters<typeof Echo>): Hoarder => {
    const hoarder = new Hoarder(...parts);
    hoarders.push(hoarder);
    return hoarder;
  };
  return { server: openBareServer(limits, { onRequest }), hoarders };
}

/** What WINDOW_UPDATE frames gave, by stream. */
function credits(frames: readonly SentFrame[]): Record<number, number> {
  const sums: Record<number, number> = {};
  for (const { type, streamId, payload } of frames)
    if (type === "WINDOW_UPDATE") sums[streamId] = (sums[streamId] ?? 0) + payload.readUInt32BE(0);
  return sums;
}

/** Bytes of data by stream, in the order of frames. */
function dataOf(frames: readonly SentFrame[]): [streamId: number, bytes: number][] {
  return frames
    .filter(({ type }) => type === "DATA")
    .map(({ streamId, payload }) => [streamId, payload.length]);
}

describe("what a peer may send", () => {
  test("is credited to its stream as the consumer consumes, and to the connection at once", () => {
    const { server, hoarders } = openHoard({ connectionWindowBytes: 131_072 });

    server.send(open(1), ...fill(1));
    expect(credits(server.far.take())).toEqual({ 0: 65_536 });
    hoarders[0]?.release();

    expect(credits(server.far.take())).toEqual({ 1: 65_536 });
  });

  test("never ends for one stream because another stands still", () => {
    const { server, hoarders } = openHoard({ connectionWindowBytes: 131_072 });
    server.send(open(1));
    for (let frames = 0; frames < 4; frames += 1) server.send(data(1, 16_384));

    server.send(open(3));
    for (let frames = 0; frames < 100; frames += 1) {
      server.send(data(3, 16_384));
      hoarders[1]?.release();
    }

    expect(server.verdicts()).toEqual([]);
    expect(hoarders[0]?.bytes).toBe(65_536);
    expect(credits(server.far.take())).toEqual({});
  });

  test("ends for all only at the bound on memory, and goes on below it", () => {
    const { server, hoarders } = openHoard(tight);
    server.send(open(1), open(3), ...fill(1), ...fill(3));

    expect(credits(server.far.take())).toEqual({});
    hoarders[0]?.release();

    expect(credits(server.far.take())).toEqual({ 0: 65_536, 1: 65_536 });
  });

  test("ends with a reset where it exceeds the stream's window", () => {
    const { server } = openHoard();

    server.send(open(1), ...fill(1), data(1, 1));

    expect(server.verdicts()).toEqual(["reset 1 with 3"]);
  });

  test("ends with GOAWAY where it exceeds the connection's window", () => {
    const { server } = openHoard(tight);

    server.send(open(1), open(3), open(5), ...fill(1), ...fill(3), data(5, 1));

    expect(server.verdicts()).toEqual(["goaway with 3: window-exceeded"]);
  });

  test("is given back in full when a stream is reset by either side with its data unconsumed", () => {
    const { server, hoarders } = openHoard(tight);
    server.send(open(1), open(3), ...fill(1), ...fill(3));

    server.send(frame("RST_STREAM", 0, 1, word(8)));
    hoarders[1]?.hoarded.reset(8);
    hoarders[0]?.release();
    hoarders[1]?.release();

    expect(credits(server.far.take())).toEqual({ 0: 131_072 });
  });

  test("counts padding, which is consumed at once", () => {
    const { server } = openHoard({ streamWindowBytes: 65_535 });
    const padding = frame("DATA", padded, 1, Buffer.concat([Buffer.of(255), Buffer.alloc(255)]));

    server.send(open(1));
    for (let frames = 0; frames < 130; frames += 1) server.send(padding);

    expect(credits(server.far.take())[1]).toBe(128 * 256);
  });

  test("does not count twice what arrives for a stream that is gone", () => {
    const { server, hoarders } = openHoard(tight);
    server.send(open(1));
    hoarders[0]?.hoarded.reset(8);
    server.far.take();

    for (let frames = 0; frames < 50; frames += 1) server.send(data(1, 16_384));

    expect(server.verdicts()).toEqual([]);
  });
});

describe("what we send", () => {
  const asking = (bodyBytes: number, ...handshake: readonly Buffer[]): BareServer =>
    openBareServer({}, { onRequest: (stream, head) => new Echo(stream, head, "x".repeat(bodyBytes)) }).send(
      ...handshake,
    );

  test("stops at the stream's window and goes on with its update", () => {
    const server = asking(10, frame("SETTINGS", 0, 0, settings([4, 3])), ask(1));

    expect(dataOf(server.far.take())).toEqual([[1, 3]]);
    server.send(frame("WINDOW_UPDATE", 0, 1, word(4)));
    expect(dataOf(server.far.take())).toEqual([[1, 4]]);
    server.send(frame("SETTINGS", 0, 0, settings([4, 20])));

    expect(dataOf(server.far.take())).toEqual([[1, 3]]);
    expect(server.session.streams.size).toBe(0);
  });

  test("waits while a smaller initial window has taken a stream's window below zero", () => {
    const server = asking(30, frame("SETTINGS", 0, 0, settings([4, 20])), ask(1));
    server.far.take();

    server.send(frame("SETTINGS", 0, 0, settings([4, 5])), frame("WINDOW_UPDATE", 0, 1, word(15)));
    expect(dataOf(server.far.take())).toEqual([]);
    server.send(frame("WINDOW_UPDATE", 0, 1, word(1)));

    expect(dataOf(server.far.take())).toEqual([[1, 1]]);
  });

  test("takes turns where the connection's window is too small for all", () => {
    const server = asking(60_000, frame("SETTINGS", 0, 0, settings([4, 100_000])), ask(1), ask(3), ask(5));

    const first = dataOf(server.far.take());
    expect(first.slice(0, 4).map(([streamId]) => streamId)).toEqual([1, 1, 3, 5]);
    expect(first.reduce((sum, [, bytes]) => sum + bytes, 0)).toBe(65_535);
    server.send(frame("WINDOW_UPDATE", 0, 0, word(200_000)));

    const rest = dataOf(server.far.take());
    for (const streamId of [1, 3, 5]) {
      const own = [...first, ...rest].filter(([id]) => id === streamId);
      expect(own.reduce((sum, [, bytes]) => sum + bytes, 0)).toBe(60_000);
    }
  });

  test("is not held up by a stream whose window is closed", () => {
    const server = asking(1_000, frame("SETTINGS", 0, 0, settings([4, 0])), ask(1));
    server.far.take();

    server.send(frame("SETTINGS", 0, 0, settings([4, 1_000])));
    expect(dataOf(server.far.take())).toEqual([[1, 1_000]]);
    server.send(
      frame("SETTINGS", 0, 0, settings([4, 0])),
      ask(3),
      ask(5),
      frame("WINDOW_UPDATE", 0, 5, word(1_000)),
    );

    expect(dataOf(server.far.take())).toEqual([[5, 1_000]]);
  });

  test("waits for a transport that is full, and no stream writes more than one batch meanwhile", () => {
    const server = asking(65_535, frame("WINDOW_UPDATE", 0, 0, word(2 ** 30)));
    server.far.take();
    server.far.isFull = true;
    for (let streamId = 1; streamId < 40; streamId += 2) server.send(ask(streamId));

    const first = server.far.takeBytes().length;
    expect(first).toBeLessThan(2 * 64 * 1024);
    expect(server.far.takeBytes().length).toBe(0);
    server.far.isFull = false;
    server.session.onDrain();

    expect(first + server.far.takeBytes().length).toBeGreaterThan(20 * 65_535);
  });

  test("holds no more than one batch for a transport that is full, however many streams have little to send", () => {
    const server = asking(10_000, frame("WINDOW_UPDATE", 0, 0, word(2 ** 30)));
    server.far.isFull = true;
    server.send(ask(1));
    server.far.takeBytes();

    for (let streamId = 3; streamId < 203; streamId += 2) server.send(ask(streamId));
    expect(server.session.writer.output.length).toBeLessThan(80_000);
    server.far.isFull = false;
    server.session.onDrain();

    expect(server.far.takeBytes().length).toBeGreaterThan(100 * 10_000);
  });

  test("ends where its handler ends it, though it waited to send more", () => {
    const streams: Http2Stream[] = [];
    class Once extends Echo {
      override onWritable(): void {
        if (streams.some(({ isLocalEnded }) => isLocalEnded)) throw new Error("called after the end");
        super.onWritable();
      }
    }
    const onRequest = (...[stream, head]: ConstructorParameters<typeof Echo>): Echo => {
      streams.push(stream);
      return new Once(stream, head, "x".repeat(100_000));
    };
    const server = openBareServer({}, { onRequest });
    server.send(frame("SETTINGS", 0, 0, settings([4, 1_000_000])), ask(1));
    server.far.take();

    streams[0]?.sendTrailers([]);
    server.send(frame("WINDOW_UPDATE", 0, 1, word(1_000)), frame("WINDOW_UPDATE", 0, 0, word(1_000)));

    expect(server.far.take().map(({ type, flags }) => [type, flags])).toEqual([
      ["HEADERS", end | endHeaders],
    ]);
    expect([server.faults, server.session.streams.size]).toEqual([[], 0]);
  });

  test("keeps to frames of the size that the peer allows", () => {
    const server = asking(40_000, ask(1));

    expect(Math.max(...dataOf(server.far.take()).map(([, bytes]) => bytes))).toBe(16_384);
  });
});
