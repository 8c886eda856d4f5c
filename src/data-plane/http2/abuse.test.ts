import { describe, expect, test } from "vitest";
import { Echo } from "../../../test/fuzz/http2-peers.ts";
import {
  ack,
  type BareServer,
  block,
  end,
  endHeaders,
  frame,
  get,
  openBareClient,
  openBareServer,
  post,
  settings,
  word,
} from "../../../test/fuzz/http2-wire.ts";
import type { Http2Stream } from "./http2-stream.ts";

const whole = end | endHeaders;
const ping = frame("PING", 0, 0, Buffer.alloc(8));

/** Does something again and again until the connection ends, at most so often; answers with how often. */
function repeat(server: BareServer, most: number, act: (round: number) => readonly Buffer[]): number {
  for (let round = 0; round < most; round += 1) {
    if (server.session.isClosed) return round;
    server.send(...act(round));
    server.far.turn();
  }
  return most;
}

describe("an attack ends the connection with ENHANCE_YOUR_CALM", () => {
  test("rapid reset: streams opened and reset at once (CVE-2023-44487)", () => {
    const server = openBareServer({ resetsBurstMax: 200 });

    const rounds = repeat(server, 1_000, (round) => [
      frame("HEADERS", endHeaders, 1 + 2 * round, post),
      frame("RST_STREAM", 0, 1 + 2 * round, word(8)),
    ]);

    expect([rounds, server.verdicts()]).toEqual([201, ["goaway with 11: reset-flood"]]);
  });

  test.each<[string, (id: number) => Buffer[]]>([
    ["a window increment of zero", (id) => [frame("WINDOW_UPDATE", 0, id, word(0))]],
    [
      "a window that overflows",
      (id) => [frame("WINDOW_UPDATE", 0, id, word(2 ** 31 - 1)), frame("WINDOW_UPDATE", 0, id, word(1))],
    ],
    ["data after the end", (id) => [frame("DATA", end, id), frame("DATA", 0, id, "00")]],
    ["a PRIORITY of the wrong size", (id) => [frame("PRIORITY", 0, id, word(0))]],
    ["a dependency on itself", (id) => [frame("PRIORITY", 0, id, Buffer.concat([word(id), Buffer.of(0)]))]],
    ["trailers that are none", (id) => [frame("HEADERS", endHeaders, id, block(["a", "b"]))]],
  ])("resets that we are made to send by %s (CVE-2025-8671)", (_, provoke) => {
    const server = openBareServer(
      { resetsBurstMax: 50 },
      { onRequest: (stream, head) => new Echo(stream, head) },
    );
    // The response cannot go out, so that the stream is still there to be reset.
    server.send(frame("SETTINGS", 0, 0, settings([4, 0])));

    const rounds = repeat(server, 1_000, (round) => {
      const id = 1 + 2 * round;
      return [frame("HEADERS", endHeaders, id, post), ...provoke(id)];
    });

    expect([rounds, server.verdicts().at(-1)]).toEqual([51, "goaway with 11: reset-flood"]);
  });

  test("malformed requests, each of which is reset", () => {
    const server = openBareServer({ resetsBurstMax: 50 });

    const rounds = repeat(server, 1_000, (round) => [
      frame("HEADERS", whole, 1 + 2 * round, block([":method", "GET"])),
    ]);

    expect([rounds, server.verdicts().at(-1)]).toEqual([51, "goaway with 11: reset-flood"]);
  });

  test("streams beyond the number that was allowed", () => {
    const server = openBareServer({ peerStreamsMax: 10, resetsBurstMax: 50 });

    const rounds = repeat(server, 1_000, (round) => [frame("HEADERS", endHeaders, 1 + 2 * round, post)]);

    expect(server.seen).toHaveLength(10);
    expect(server.verdicts().slice(0, 2)).toEqual(["reset 21 with 7", "reset 23 with 7"]);
    expect(rounds).toBe(61);
  });

  test("a header block in ever more continuations (CVE-2024-27316)", () => {
    const server = openBareServer({ continuationFramesMax: 8 }).send(frame("HEADERS", end, 1, get));

    const rounds = repeat(server, 100, () => [frame("CONTINUATION", 0, 1, Buffer.of(0, 1, 97, 1, 98))]);

    expect([rounds, server.verdicts()]).toEqual([9, ["goaway with 11: continuation-flood"]]);
  });

  test("a header block that grows in few frames", () => {
    const server = openBareServer({ headerBlockBytesMax: 32_768 }).send(
      frame("HEADERS", end, 1, Buffer.alloc(16_384)),
      frame("CONTINUATION", 0, 1, Buffer.alloc(16_384)),
    );
    expect(server.session.isClosed).toBe(false);

    server.send(frame("CONTINUATION", 0, 1, Buffer.of(0)));

    expect(server.verdicts()).toEqual(["goaway with 11: header-block-too-large"]);
  });

  test("not where streams that have been open for a while are given up, as by clients of a slow application", () => {
    const server = openBareServer({ resetsBurstMax: 200, resetsPerSecondMax: 1 });
    let id = -1;

    const rounds = repeat(server, 20, () => {
      const ids = Array.from({ length: 100 }, () => (id += 2));
      server.send(...ids.map((one) => frame("HEADERS", endHeaders, one, post)));
      server.clock.advanceSeconds(0.5);
      server.timer.tick();
      return ids.map((one) => frame("RST_STREAM", 0, one, word(8)));
    });

    expect([rounds, server.session.isClosed]).toEqual([20, false]);
  });

  test.each<[string, number, Buffer]>([
    ["PING", 1, ping],
    ["answers to no PING", 1, frame("PING", ack, 0, Buffer.alloc(8))],
    ["SETTINGS", 10, frame("SETTINGS", 0, 0, settings([4, 1]))],
    ["acknowledgements of SETTINGS", 1, frame("SETTINGS", ack, 0)],
    ["PRIORITY", 1, frame("PRIORITY", 0, 3, "0000000100")],
    ["updates of the connection's window", 1, frame("WINDOW_UPDATE", 0, 0, word(1))],
    ["updates of a stream's window", 1, frame("WINDOW_UPDATE", 0, 1, word(1))],
    ["empty DATA", 1, frame("DATA", 0, 1)],
    ["GOAWAY", 1, frame("GOAWAY", 0, 0, Buffer.alloc(8))],
    ["frames of types that nobody knows", 1, frame(99, 0, 0, "00")],
    ["priority updates", 1, frame(16, 0, 0, Buffer.from("00000001753d30", "hex"))],
  ])("a flood of %s", (_, cost, bytes) => {
    const server = openBareServer({ controlFramesBurstMax: 500 }, {}).send(
      frame("HEADERS", endHeaders, 1, post),
    );

    const rounds = repeat(server, 1_000, () => [bytes]);

    expect(rounds).toBeGreaterThanOrEqual(480 / cost);
    expect(rounds).toBeLessThanOrEqual(501 / cost + 1);
    expect(server.verdicts()).toEqual(["goaway with 11: control-frame-flood"]);
  });

  test("windows opened a byte at a time", () => {
    const onRequest = (...parts: ConstructorParameters<typeof Echo>): Echo =>
      new Echo(parts[0], parts[1], "x".repeat(10_000));
    const server = openBareServer({ controlFramesBurstMax: 500 }, { onRequest });
    server.send(frame("SETTINGS", 0, 0, settings([4, 0])), frame("HEADERS", whole, 1, get));

    const rounds = repeat(server, 10_000, () => [frame("WINDOW_UPDATE", 0, 1, word(1))]);

    expect(rounds).toBeLessThan(200);
    expect(server.verdicts()).toEqual(["goaway with 11: control-frame-flood"]);
  });

  test("questions whose answers are not read", () => {
    const limits = { outputBytesMax: 100_000, controlFramesBurstMax: 1e9 };
    const server = openBareServer(limits);
    server.far.isFull = true;
    server.send(ping).far.turn();

    const rounds = repeat(server, 100_000, () => [ping]);

    expect(rounds).toBeLessThan(100_000 / 17 + 10);
    expect(server.ends).toEqual(["output-flood"]);
  });

  test("interim responses without end, from a server", () => {
    const client = openBareClient();
    const over: unknown[] = [];
    const ignore = (): void => {};
    client.session.open([], true, {
      onInterim: ignore,
      onResponse: ignore,
      onData: ignore,
      onEnd: ignore,
      onReset: (_, violation) => over.push(violation),
      onWritable: ignore,
      onDeadline: ignore,
    });

    for (let round = 0; round < 9; round += 1)
      client.send(frame("HEADERS", endHeaders, 1, block([":status", "103"])));

    expect(over).toEqual(["too-many-interim-responses"]);
  });
});

describe("an attack costs its stream alone", () => {
  test("a block of one-byte references that stands for megabytes is answered with 431 (HPACK bomb)", () => {
    const server = openBareServer();
    const entry = Buffer.concat([Buffer.of(0x40, 1, 97, 0x7f, 0xa1, 0x1e), Buffer.alloc(4_000, "b")]);
    const bomb = Buffer.concat([get, entry, Buffer.alloc(12_000, 0xbe)]);

    server.send(
      frame("HEADERS", whole, 1, bomb),
      frame("HEADERS", whole, 3, Buffer.concat([get, Buffer.of(0xbe)])),
    );

    const [refusal] = server.far.take();
    expect(refusal).toMatchObject({ type: "HEADERS", flags: whole, streamId: 1 });
    expect(server.seen).toMatchObject([{ head: { path: "/" }, outcome: "complete" }]);
  });

  test("a stream that never opens its window is reset", () => {
    const server = openBareServer({ sendStallMillis: 3_000 });
    server.send(frame("SETTINGS", 0, 0, settings([4, 0])), frame("HEADERS", whole, 1, get));
    server.send(frame("SETTINGS", 0, 0, settings([4, 100])), frame("HEADERS", endHeaders, 3, post));
    server.far.take();
    server.send(frame("SETTINGS", 0, 0, settings([4, 0])), frame("HEADERS", whole, 5, get));
    server.far.take();

    server.wait(6);

    expect(server.verdicts()).toEqual(["reset 5 with 8"]);
    expect(server.session.streams.size).toBe(1);
  });
});

test("a stream that is reset while it waits for the connection's window leaves nothing behind", () => {
  const streams: Http2Stream[] = [];
  const onRequest = (...[stream, head]: ConstructorParameters<typeof Echo>): Echo => {
    streams.push(stream);
    return new Echo(stream, head, "x".repeat(40_000));
  };
  const server = openBareServer({}, { onRequest });
  for (const id of [1, 3, 5, 7, 9]) server.send(frame("HEADERS", whole, id, get));
  server.far.take();
  expect(streams.map(({ isQueued }) => isQueued)).toEqual([true, true, true, true, true]);

  for (const id of [5, 9, 3]) server.send(frame("RST_STREAM", 0, id, word(8)));
  expect(streams.map(({ isQueued }) => isQueued)).toEqual([true, false, false, true, false]);
  server.send(frame("WINDOW_UPDATE", 0, 0, word(200_000)), frame("HEADERS", whole, 11, get));
  server.far.take();

  expect(server.session.streams.size).toBe(0);
});

test("limits below what every peer may rely on are a fault of the configuration", () => {
  expect(() => openBareServer({ streamWindowBytes: 1_000 })).toThrow(
    "streamWindowBytes is 1000; it must be at least 65535",
  );
});

describe("what is no attack", () => {
  test("resets in moderation, among requests that are answered", () => {
    const server = openBareServer({ resetsBurstMax: 10 });

    repeat(server, 2_000, (round) => [
      frame("HEADERS", whole, 1 + 4 * round, get),
      frame("HEADERS", endHeaders, 3 + 4 * round, post),
      frame("RST_STREAM", 0, 3 + 4 * round, word(8)),
    ]);

    expect(server.ends).toEqual([]);
  });

  test("a PING and two updates of windows with every request", () => {
    const server = openBareServer({ controlFramesBurstMax: 10 });

    repeat(server, 2_000, (round) => [
      frame("HEADERS", whole, 1 + 2 * round, get),
      ping,
      frame("WINDOW_UPDATE", 0, 0, word(5)),
      frame("WINDOW_UPDATE", 0, 1 + 2 * round, word(5)),
    ]);

    expect(server.ends).toEqual([]);
  });

  test("a hundred control frames a second for a long time", () => {
    const server = openBareServer({
      controlFramesBurstMax: 200,
      controlFramesPerSecondMax: 100,
      idleMillis: 1e9,
    });

    for (let second = 0; second < 100; second += 1) {
      repeat(server, 90, () => [ping]);
      server.wait(1);
    }

    expect(server.session.isClosed).toBe(false);
  });
});

test("a connection without identifiers left takes no further stream", () => {
  const server = openBareServer().send(frame("HEADERS", whole, 2 ** 31 - 1, get));
  expect(server.seen).toHaveLength(1);

  server.send(frame("HEADERS", whole, 1, get));

  expect(server.verdicts()).toEqual(["goaway with 1: stream-id-backwards"]);
});
