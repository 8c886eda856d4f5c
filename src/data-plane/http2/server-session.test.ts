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
  openBareServer,
  padded,
  post,
  preface,
  SentHeads,
  settings,
  withPriority,
  word,
} from "../../../test/fuzz/http2-wire.ts";

const whole = end | endHeaders;
const request = frame("HEADERS", whole, 1, get);
const opened = frame("HEADERS", endHeaders, 1, post);
/** Keeps streams open: no response gets further than its head. */
const noWindow = frame("SETTINGS", 0, 0, settings([4, 0]));
const head = (...fields: readonly (readonly [string, string])[]): Buffer =>
  frame("HEADERS", whole, 1, block(...fields));
const method = [":method", "GET"] as const;
const scheme = [":scheme", "https"] as const;
const path = [":path", "/"] as const;
const authority = [":authority", "a"] as const;

describe("a server session", () => {
  test("answers a request with what its handler gives, head and body in one write", () => {
    const server = openBareServer().send(request);
    const writes = server.far.writes;

    const frames = server.far.take();

    expect(frames.map(({ type, flags, streamId }) => [type, flags, streamId])).toEqual([
      ["HEADERS", endHeaders, 1],
      ["DATA", end, 1],
    ]);
    expect(new SentHeads().read(frames[0]?.payload ?? Buffer.alloc(0))).toEqual([
      ":status: 200",
      "content-length: 5",
    ]);
    expect(frames[1]?.payload.toString()).toBe("hello");
    expect(server.far.writes - writes).toBe(1);
    expect(server.session.streams.size).toBe(0);
  });

  test("reads heads over continuations, bodies with padding, and trailers", () => {
    const server = openBareServer().send(
      frame(
        "HEADERS",
        padded | withPriority,
        1,
        Buffer.concat([Buffer.of(2), word(0), Buffer.of(9), post.subarray(0, 9), Buffer.alloc(2)]),
      ),
      frame("CONTINUATION", 0, 1, post.subarray(9, 20)),
      frame("CONTINUATION", endHeaders, 1, post.subarray(20)),
      frame("DATA", padded, 1, Buffer.concat([Buffer.of(3), Buffer.from("ab"), Buffer.alloc(3)])),
      frame("DATA", 0, 1, Buffer.from("cd")),
      frame("HEADERS", whole, 1, block(["x-sum", "4"])),
    );

    expect(server.seen).toMatchObject([
      {
        outcome: "complete",
        body: "abcd",
        head: { method: "POST", path: "/", authority: "a" },
        trailers: [{ name: "x-sum", value: "4" }],
      },
    ]);
    expect(server.verdicts()).toEqual([]);
  });

  test("answers a PING with its own bytes, and an answer with nothing", () => {
    const server = openBareServer().send(
      frame("PING", 0, 0, "0102030405060708"),
      frame("PING", ack, 0, "08".repeat(8)),
    );

    expect(server.far.take()).toMatchObject([
      { type: "PING", flags: ack, payload: Buffer.from("0102030405060708", "hex") },
    ]);
  });

  test("takes the authority from host where the pseudo-header field is not there", () => {
    const server = openBareServer().send(head(method, scheme, path, ["host", "b"]));

    expect(server.seen).toMatchObject([{ head: { authority: "b" } }]);
  });

  test("refuses as never begun what its owner does not want", () => {
    const server = openBareServer({}, { onRequest: () => undefined }).send(request);

    expect(server.verdicts()).toEqual(["reset 1 with 7"]);
  });

  test("ends over a fault of a handler with INTERNAL_ERROR and reports it", () => {
    const fault = new Error("a bug");
    const onRequest = (): never => {
      throw fault;
    };
    const server = openBareServer({}, { onRequest }).send(request);

    expect(server.faults).toEqual([fault]);
    expect(server.verdicts()).toEqual(["goaway with 2: internal-fault"]);
  });

  test("tells every stream of its end, even where one of them throws over it", () => {
    const told: number[] = [];
    class Fragile extends Echo {
      override onReset(): void {
        told.push(told.length);
        throw new Error("a bug");
      }
    }
    const onRequest = (...parts: ConstructorParameters<typeof Echo>): Echo => new Fragile(...parts);
    const server = openBareServer({}, { onRequest });
    server.send(opened, frame("HEADERS", endHeaders, 3, post), frame("DATA", 0, 0));

    expect([told, server.faults.length, server.ends]).toEqual([[0, 1], 2, ["stream-id-missing"]]);
    expect(server.verdicts()).toEqual(["goaway with 1: stream-id-missing"]);
  });

  test("tells every stream when the transport is gone, once", () => {
    const server = openBareServer().send(opened);

    server.session.destroy();
    server.session.destroy();

    expect(server.seen).toMatchObject([{ outcome: "reset" }]);
    expect(server.ends).toEqual([undefined]);
  });
});

describe("a connection ends over", () => {
  test.each([
    ["another preface", Buffer.from("GET / HTTP/1.1\r\n\r\n"), "goaway with 1: preface-invalid"],
    [
      "a first frame that is no SETTINGS",
      Buffer.concat([preface.subarray(0, 24), request]),
      "goaway with 1: first-frame-not-settings",
    ],
    [
      "first DATA",
      Buffer.concat([preface.subarray(0, 24), frame("DATA", 0, 1)]),
      "goaway with 1: first-frame-not-settings",
    ],
    [
      "an acknowledgement as first frame",
      Buffer.concat([preface.subarray(0, 24), frame("SETTINGS", ack, 0)]),
      "goaway with 1: first-frame-not-settings",
    ],
  ])("%s", (_, handshake, verdict) => {
    const server = openBareServer({}, { handshake: Buffer.alloc(0) });

    for (const byte of handshake) server.send(Buffer.of(byte));

    expect(server.verdicts()).toEqual([verdict]);
    expect(server.far.hasEnded).toBe(true);
  });

  test.each<[string, Buffer[], string]>([
    ["an even stream", [frame("HEADERS", whole, 2, get)], "1: stream-id-invalid"],
    [
      "a stream before the last",
      [frame("HEADERS", whole, 5, get), frame("HEADERS", whole, 3, get)],
      "1: stream-id-backwards",
    ],
    ["HEADERS on a stream that is over", [request, request], "5: stream-closed"],
    ["DATA on a stream that is over", [request, frame("DATA", 0, 1, "00")], "5: stream-closed"],
    ["DATA on a stream that never was", [frame("DATA", 0, 1, "00")], "1: stream-idle"],
    ["RST_STREAM on a stream that never was", [frame("RST_STREAM", 0, 1, word(8))], "1: stream-idle"],
    ["WINDOW_UPDATE on a stream that never was", [frame("WINDOW_UPDATE", 0, 1, word(8))], "1: stream-idle"],
    [
      "an increment of zero for the connection",
      [frame("WINDOW_UPDATE", 0, 0, word(0))],
      "1: window-increment-zero",
    ],
    [
      "an overflow of the connection's window",
      [frame("WINDOW_UPDATE", 0, 0, word(2 ** 31 - 1))],
      "3: window-overflow",
    ],
    [
      "a frame within a header block",
      [frame("HEADERS", end, 1, get), frame("PING", 0, 0, Buffer.alloc(8))],
      "1: continuation-expected",
    ],
    [
      "data within a header block",
      [frame("HEADERS", end, 1, get), frame("DATA", 0, 1)],
      "1: continuation-expected",
    ],
    [
      "a continuation of another stream",
      [frame("HEADERS", end, 1, get), frame("CONTINUATION", 4, 3)],
      "1: continuation-expected",
    ],
    ["a continuation of nothing", [frame("CONTINUATION", 4, 1)], "1: continuation-unexpected"],
    ["padding longer than a head", [frame("HEADERS", whole | padded, 1, "05ffff")], "1: padding-invalid"],
    ["a block that cannot be decoded", [frame("HEADERS", whole, 1, "ff")], "9: header-block-invalid"],
    ["push enabled with 2", [frame("SETTINGS", 0, 0, settings([2, 2]))], "1: setting-invalid"],
    ["a window of 2^31", [frame("SETTINGS", 0, 0, settings([4, 2 ** 31]))], "3: window-setting-invalid"],
    ["frames of 16,383 bytes", [frame("SETTINGS", 0, 0, settings([5, 16_383]))], "1: setting-invalid"],
    ["frames of 2^24 bytes", [frame("SETTINGS", 0, 0, settings([5, 2 ** 24]))], "1: setting-invalid"],
    [
      "a PRIORITY of four bytes where there is no stream to end",
      [frame("PRIORITY", 0, 1, word(0))],
      "6: frame-size-invalid",
    ],
    [
      "a window that the new initial window takes too far",
      [
        opened,
        frame("WINDOW_UPDATE", 0, 1, word(2 ** 31 - 1 - 65_535)),
        frame("SETTINGS", 0, 0, settings([4, 65_536])),
      ],
      "3: window-overflow",
    ],
  ])("%s", (_, frames, verdict) => {
    const server = openBareServer().send(...frames);

    expect(server.verdicts()).toEqual([`goaway with ${verdict}`]);
    expect([server.far.hasEnded, server.ends]).toEqual([true, [verdict.slice(verdict.indexOf(" ") + 1)]]);
    expect(server.faults).toEqual([]);
  });
});

describe("a stream ends over", () => {
  test.each<[string, Buffer[], number]>([
    ["data after its end", [noWindow, frame("HEADERS", whole, 1, get), frame("DATA", end, 1, "00")], 5],
    ["another head after its end", [noWindow, frame("HEADERS", whole, 1, get), request], 5],
    ["a second head that is not the last", [opened, frame("HEADERS", endHeaders, 1, block(["a", "b"]))], 1],
    ["pseudo-header fields in trailers", [opened, frame("HEADERS", whole, 1, block(["a", "b"], method))], 1],
    [
      "a connection's field in trailers",
      [opened, frame("HEADERS", whole, 1, block(["connection", "close"]))],
      1,
    ],
    ["capitals in trailers", [opened, frame("HEADERS", whole, 1, block(["A", "b"]))], 1],
    ["an increment of zero", [opened, frame("WINDOW_UPDATE", 0, 1, word(0))], 1],
    ["an overflow of its window", [opened, frame("WINDOW_UPDATE", 0, 1, word(2 ** 31 - 1))], 3],
    ["a PRIORITY of four bytes", [opened, frame("PRIORITY", 0, 1, word(0))], 6],
    ["a dependency on itself", [opened, frame("PRIORITY", 0, 1, Buffer.concat([word(1), Buffer.of(0)]))], 1],
    [
      "a head that depends on itself",
      [frame("HEADERS", whole | withPriority, 1, Buffer.concat([word(1), Buffer.of(0), get]))],
      1,
    ],
    ["more data than declared", [declaring("1"), frame("DATA", 0, 1, "0000")], 1],
    ["less data than declared", [declaring("3"), frame("DATA", end, 1, "0000")], 1],
    [
      "less data than declared, before trailers",
      [declaring("3"), frame("HEADERS", whole, 1, block(["a", "b"]))],
      1,
    ],
    ["no data where some was declared", [head(method, scheme, path, authority, ["content-length", "1"])], 1],
  ])("%s", (_, frames, code) => {
    const server = openBareServer().send(...frames);

    expect(server.verdicts()).toEqual([`reset 1 with ${code}`]);
    expect(server.session.isClosed).toBe(false);
  });

  test.each<[string, Buffer]>([
    ["no method", head(scheme, path, authority)],
    ["no scheme", head(method, path, authority)],
    ["no path", head(method, scheme, authority)],
    ["an empty path", head(method, scheme, [":path", ""], authority)],
    ["a path without its slash", head(method, scheme, [":path", "a"], authority)],
    ["a fragment", head(method, scheme, [":path", "/a#b"], authority)],
    ["a space in the path", head(method, scheme, [":path", "/a b"], authority)],
    ["the path of OPTIONS with GET", head(method, scheme, [":path", "*"], authority)],
    ["a method that is no token", head([":method", "GE T"], scheme, path, authority)],
    ["another scheme", head(method, [":scheme", "ftp"], path, authority)],
    ["an empty authority", head(method, scheme, path, [":authority", ""])],
    ["user information", head(method, scheme, path, [":authority", "u@a"])],
    ["a host that is another than the authority", head(method, scheme, path, authority, ["host", "b"])],
    ["two hosts", head(method, scheme, path, ["host", "a"], ["host", "a"])],
    ["two methods", head(method, method, scheme, path, authority)],
    ["two schemes", head(method, scheme, scheme, path, authority)],
    ["two paths", head(method, scheme, path, path, authority)],
    ["two authorities", head(method, scheme, path, authority, authority)],
    ["a pseudo-header field after a header field", head(method, scheme, ["a", "b"], path, authority)],
    ["an unknown pseudo-header field", head(method, scheme, path, authority, [":a", "b"])],
    ["a status", head(method, scheme, path, authority, [":status", "200"])],
    ["CONNECT", head([":method", "CONNECT"], authority)],
    [
      "an upgrade of CONNECT",
      head([":method", "CONNECT"], scheme, path, authority, [":protocol", "websocket"]),
    ],
    ["a capital in a name", head(method, scheme, path, authority, ["X-a", "b"])],
    ["a colon in a name", head(method, scheme, path, authority, ["a:b", "c"])],
    ["a space in a name", head(method, scheme, path, authority, ["a b", "c"])],
    ["an empty name", head(method, scheme, path, authority, ["", "c"])],
    ["a name above ASCII", head(method, scheme, path, authority, ["\xe9", "c"])],
    ["a line end in a value", head(method, scheme, path, authority, ["a", "b\r\nx: y"])],
    ["a line feed in a value", head(method, scheme, path, authority, ["a", "b\nx: y"])],
    ["a NUL in a value", head(method, scheme, path, authority, ["a", "b\0c"])],
    ["a line end in the path", head(method, scheme, [":path", "/\r\nx: y"], authority)],
    ["a space before a value", head(method, scheme, path, authority, ["a", " b"])],
    ["a tab after a value", head(method, scheme, path, authority, ["a", "b\t"])],
    ["connection", head(method, scheme, path, authority, ["connection", "close"])],
    ["keep-alive", head(method, scheme, path, authority, ["keep-alive", "1"])],
    ["proxy-connection", head(method, scheme, path, authority, ["proxy-connection", "close"])],
    ["transfer-encoding", head(method, scheme, path, authority, ["transfer-encoding", "chunked"])],
    ["upgrade", head(method, scheme, path, authority, ["upgrade", "h2c"])],
    ["te other than trailers", head(method, scheme, path, authority, ["te", "trailers, deflate"])],
    ["a signed length", head(method, scheme, path, authority, ["content-length", "+1"])],
    ["two lengths", head(method, scheme, path, authority, ["content-length", "0"], ["content-length", "0"])],
    ["a length of sixteen digits", head(method, scheme, path, authority, ["content-length", "1".repeat(16)])],
  ])("%s, and no handler hears of it", (_, bytes) => {
    const server = openBareServer().send(bytes);

    expect(server.verdicts()).toEqual(["reset 1 with 1"]);
    expect([server.seen, server.session.isClosed]).toEqual([[], false]);
  });

  test("an invalid value stays invalid when it comes again out of the table", () => {
    const bad = Buffer.from("40016103620063", "hex");
    const server = openBareServer().send(
      frame("HEADERS", whole, 1, Buffer.concat([get, bad])),
      frame("HEADERS", whole, 3, Buffer.concat([get, Buffer.of(0xbe)])),
    );

    expect(server.verdicts()).toEqual(["reset 1 with 1", "reset 3 with 1"]);
  });

  test("an invalid value says nothing against its name", () => {
    const server = openBareServer().send(
      frame("HEADERS", whole, 1, Buffer.concat([get, Buffer.from("40016103620063", "hex")])),
      frame("HEADERS", whole, 3, Buffer.concat([get, Buffer.from("0f2f0162", "hex")])),
    );

    expect(server.verdicts()).toEqual(["reset 1 with 1"]);
    expect(server.seen).toMatchObject([{ outcome: "complete" }]);
  });

  test("its peer's reset, once", () => {
    const server = openBareServer().send(opened, frame("RST_STREAM", 0, 1, word(8)));

    expect(server.seen).toMatchObject([{ outcome: "reset" }]);
    expect(server.verdicts()).toEqual([]);
  });
});

test("frames for a stream that we reset are ignored while the peer cannot know", () => {
  const server = openBareServer().send(opened, frame("WINDOW_UPDATE", 0, 1, word(0)));
  server.far.take();

  server.send(
    frame("DATA", 0, 1, "00"),
    frame("HEADERS", whole, 1, block(["a", "b"])),
    frame("WINDOW_UPDATE", 0, 1, word(1)),
    frame("RST_STREAM", 0, 1, word(8)),
    frame("HEADERS", whole, 3, get),
  );

  expect(server.verdicts()).toEqual([]);
  expect(server.seen.at(-1)).toMatchObject({ outcome: "complete" });
});

describe("draining", () => {
  test("announces the end, takes what was on its way, and ends after the last stream", () => {
    const server = openBareServer().send(opened);

    server.session.drain();
    const [announced, ping] = server.far.take();
    server.send(frame("HEADERS", endHeaders, 3, post));
    server.send(frame("PING", ack, 0, ping?.payload ?? ""));
    const [final] = server.far.take();
    server.send(frame("HEADERS", whole, 5, get), frame("DATA", end, 1));
    expect([announced?.payload.readUInt32BE(0), final?.payload.readUInt32BE(0)]).toEqual([2 ** 31 - 1, 3]);
    expect([server.session.isClosed, server.seen.length]).toEqual([false, 2]);
    server.send(frame("DATA", end, 3));
    server.far.take();

    expect(server.seen.map(({ outcome }) => outcome)).toEqual(["complete", "complete"]);
    expect([server.far.hasEnded, server.ends]).toEqual([true, [undefined]]);
  });

  test.each<[string, object, (server: BareServer) => void]>([
    [
      "when the connection is old",
      { ageMillisMax: 5_000, idleMillis: 1e9 },
      (server) => server.send(opened).wait(7),
    ],
    ["when nothing was asked for long", { idleMillis: 5_000 }, (server) => server.wait(7)],
    [
      "after the last request it may carry",
      { streamsPerConnectionMax: 2 },
      (server) => server.send(frame("HEADERS", whole, 1, get), frame("HEADERS", whole, 3, get)),
    ],
  ])("begins %s", (_, limits, act) => {
    const server = openBareServer(limits);

    act(server);

    expect(server.verdicts()).toEqual(["goaway with 0: "]);
    expect(server.session.isDraining).toBe(true);
  });
});

describe("a connection that is only old", () => {
  test("lets its streams go on for longer than a drain does", () => {
    const server = openBareServer({
      ageMillisMax: 1_000,
      retireMillis: 20_000,
      drainMillis: 3_000,
      pingMillis: 1e9,
    }).send(opened);

    server.wait(15);
    expect(server.session.isDraining).toBe(true);
    server.send(frame("DATA", end, 1, Buffer.from("ab")));

    expect(server.seen).toMatchObject([{ outcome: "complete", body: "ab" }]);
    expect(server.ends).toEqual([]);
  });
});

describe("patience ends", () => {
  test.each<[string, object, (server: BareServer) => void, string]>([
    [
      "with a header block that is not continued",
      { headerBlockMillis: 3_000 },
      (server) => server.send(frame("HEADERS", 0, 1, get)),
      "11: header-block-timeout",
    ],
    [
      "with a peer that does not answer a PING",
      { pingAfterMillis: 2_000, pingMillis: 2_000 },
      (server) => server.send(opened),
      "0: ping-timeout",
    ],
    [
      "with streams that outlive a drain",
      { drainMillis: 3_000, pingMillis: 1e9 },
      (server) => {
        server.send(opened).session.drain();
        server.far.take();
      },
      "0: drain-timeout",
    ],
    [
      "with streams that outlive the drain after a retirement",
      { ageMillisMax: 1_000, retireMillis: 1e9, drainMillis: 3_000, pingMillis: 1e9 },
      (server) => {
        server.send(opened).wait(3);
        server.session.drain();
        server.far.take();
      },
      "0: drain-timeout",
    ],
    [
      "with streams that outlive a retirement",
      { ageMillisMax: 1_000, retireMillis: 3_000, drainMillis: 1, pingMillis: 1e9 },
      (server) => server.send(opened).wait(3),
      "0: drain-timeout",
    ],
    [
      "with a transport that takes nothing",
      { sendStallMillis: 3_000 },
      (server) => {
        server.far.isFull = true;
        server.send(request).far.turn();
      },
      "0: transport-stalled",
    ],
  ])("%s", (_, limits, act, verdict) => {
    const server = openBareServer(limits);
    act(server);

    server.wait(9);

    expect(server.verdicts().at(-1)).toBe(`goaway with ${verdict}`);
    server.wait(4);
    expect(server.far.isDestroyed).toBe(true);
  });

  test.each([
    ["without a preface", Buffer.alloc(0), { handshakeMillis: 3_000 }],
    ["without an acknowledgement of our SETTINGS", preface.subarray(0, 33), { settingsAckMillis: 3_000 }],
  ])("%s", (_, handshake, limits) => {
    const server = openBareServer(limits, { handshake });

    server.wait(6);

    expect(server.verdicts()).toEqual(["goaway with 4: settings-timeout"]);
  });
});

function declaring(length: string): Buffer {
  const fields = [["content-length", length]] as const;
  return frame("HEADERS", endHeaders, 1, Buffer.concat([post, block(...fields)]));
}
