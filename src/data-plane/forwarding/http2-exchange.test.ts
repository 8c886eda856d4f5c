import type { Socket } from "node:net";
import { describe, expect, test } from "vitest";
import { aWhile, openUpstream, RawClient, until } from "../../../test/fuzz/http1-hop.ts";
import { fieldsOf } from "../../../test/fuzz/http2-peers.ts";
import { openHttp2, openLinkHop } from "../../../test/fuzz/link-hop.ts";
import { ok } from "../../base/result.ts";
import { CoarseTimer } from "../coarse-timer.ts";
import { attachSocket, type Http2Stream, ServerSession, type StreamHandler } from "../http2/index.ts";
import type { InstanceLink, OpenedLink } from "./index.ts";

const get = "GET /a HTTP/1.1\r\nHost: a\r\n\r\n";
const post = "POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
const okay = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

describe("a request over a link", () => {
  test("whose body goes on while it is sent again loses none of it", async () => {
    const peers = [new PlainPeer(), new PlainPeer()];
    await using hop = await openLinkHop(1, {
      serve: (socket) => peers.find(({ session }) => session === undefined)?.serve(socket),
    });
    using client = new RawClient(hop.port).send(post);
    await until(() => peers[0]?.stream !== undefined);
    // The connection ends without having looked at the request; there is no other yet.
    peers[0]?.session?.drain();
    peers[0]?.stream?.reset(7);
    await until(() => hop.link.waitingCount === 1 || peers[1]?.stream !== undefined);
    client.send("3\r\nabc\r\n");
    await until(() => peers[1]?.stream !== undefined);
    client.send("3\r\ndef\r\n0\r\n\r\n");
    await until(() => peers[1]?.isWhole === true);

    expect(peers[1]?.body).toBe("abcdef");
  });

  test("is not sent again where more of its body has left than is kept: upstream-reset", async () => {
    const peers = [new PlainPeer(() => {}), new PlainPeer()];
    await using hop = await openLinkHop(1, {
      serve: (socket) => peers.find(({ session }) => session === undefined)?.serve(socket),
    });
    using client = new RawClient(hop.port).send(post);
    await until(() => peers[0]?.stream !== undefined);
    client.send("3\r\nabc\r\n0\r\n\r\n");
    await until(() => peers[0]?.isWhole === true);
    peers[0]?.session?.drain();
    peers[0]?.stream?.reset(7);
    await until(() => client.text !== "");

    expect(client.text).toMatch(/^HTTP\/1.1 502 [^]*upstream-reset/);
    expect(peers.map(({ body }) => body)).toEqual(["abc", ""]);
  });

  test.each([
    ["a second time", 2, false],
    ["once a hint has come", 1, true],
  ])("whose connection dies is not repeated %s: upstream-reset", async (_, attempts, hasHint) => {
    let streams = 0;
    const serve = (socket: Socket): void => {
      const peer = new PlainPeer((stream) => {
        streams += 1;
        if (hasHint) stream.sendInterim(fieldsOf([":status", "103"]));
        setTimeout(() => socket.destroy(), 5);
      });
      peer.serve(socket);
    };
    await using hop = await openLinkHop(1, { serve });
    using client = new RawClient(hop.port).send(get);
    await until(() => client.text.endsWith("}\n"));

    expect(client.text).toMatch(/HTTP\/1.1 502 [^]*upstream-reset/);
    expect([streams, hop.avoided.length]).toEqual([attempts, attempts - 1]);
  });

  test("whose connection dies is left to a policy that repeats it: upstream-reset", async () => {
    let streams = 0;
    const serve = (socket: Socket): void => {
      const peer = new PlainPeer(() => {
        streams += 1;
        setTimeout(() => socket.destroy(), 5);
      });
      peer.serve(socket);
    };
    await using hop = await openLinkHop(1, {
      serve,
      attemptsWith: () => ({ tried: [], coverResets: true }),
    });
    using client = new RawClient(hop.port).send(get);
    await until(() => client.text.endsWith("}\n"));

    expect([streams, /"reason":"([a-z-]+)"/.exec(client.text)?.[1]]).toEqual([1, "upstream-reset"]);
  });

  test.each([
    ["another instance than before", false, 2],
    ["the same one where there is no other", true, 1],
  ])("that a policy repeats goes to %s", async (_, isAlone, links) => {
    await using upstream = await openUpstream((socket) => socket.write(okay));
    await using other = await openLinkHop(upstream.port);
    const tried: InstanceLink[] = [];
    await using hop = await openLinkHop(upstream.port, {
      ...(isAlone ? {} : { otherPort: other.linkPort }),
      attemptsWith: (first) => {
        tried.push(first);
        return { tried, coverResets: true };
      },
    });
    using client = new RawClient(hop.port).send(get);
    await until(() => client.text.endsWith("ok"));

    expect(tried[1]).toBe(isAlone ? hop.link : hop.otherLink);
    expect(new Set(tried).size).toBe(links);
  });

  test("whose client has gone while it waited for a connection of HTTP/1.1 is not sent", async () => {
    const answers: (() => void)[] = [];
    await using upstream = await openUpstream((socket) => answers.push(() => socket.write(okay)));
    await using hop = await openLinkHop(upstream.port, { poolLimits: { openMax: 1 }, open: openHttp1 });
    using first = new RawClient(hop.port).send(get);
    await until(() => answers.length === 1);
    const second = new RawClient(hop.port).send(get.replace("/a", "/gone"));
    await until(() => hop.link.waitingCount === 1);
    second.socket.resetAndDestroy();
    await until(() => hop.link.waitingCount === 0);
    answers[0]?.();
    await until(() => first.text === okay);
    await aWhile();

    expect(upstream.received[0]).not.toContain("/gone");
    expect(hop.link.idleCount).toBe(1);
    expect(hop.outer).toMatchObject([{ error: "client-gone" }, { status: 200 }]);
  });

  test("gives the link its credit back though its client was slow when the end came", async () => {
    await using upstream = await openUpstream((socket) =>
      socket.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"),
    );
    await using hop = await openLinkHop(upstream.port);
    using client = new RawClient(hop.port).send(get);
    client.socket.pause();
    await until(() => hop.link.ready()?.streams === 1 && upstream.received[0]?.endsWith("\r\n\r\n") === true);
    const [stream] = hop.link.ready()?.session.streams.values() ?? [];
    let sent = 0;
    while (hop.clientSockets[0]?.writableNeedDrain !== true) {
      sent += 0x2000;
      upstream.sockets[0]?.write(chunkOf(0x2000));
      // So that no more is on its way than the stream's window has room for.
      await until(() => stream?.bodyBytes === sent);
    }
    upstream.sockets[0]?.write(`${chunkOf(0x1000)}0\r\n\r\n`);
    await until(() => stream?.isClosed === true);
    const before = [hop.clientSockets[0]?.writableNeedDrain, stream?.unconsumedBytes];
    client.socket.resume();
    await until(() => client.text.endsWith("0\r\n\r\n"));

    expect(before).toEqual([true, 0]);
    expect(hop.outer).toMatchObject([{ status: 200 }]);
  });

  test("gives the link its credit back when its answer ends with a forbidden trailer", async () => {
    const peer = new PlainPeer((stream) => {
      stream.sendHead(fieldsOf([":status", "200"]), false);
      stream.sendData(Buffer.from("ok"), 0, 2, false);
      stream.sendTrailers(fieldsOf(["set-cookie", "a"]));
    });
    await using hop = await openLinkHop(1, { serve: (socket) => peer.serve(socket) });
    using client = new RawClient(hop.port).send(get);
    let stream: Http2Stream | undefined;
    await until(() => {
      [stream] = hop.link.ready()?.session.streams.values() ?? [];
      return stream !== undefined;
    });
    await until(() => client.text.endsWith("}\n"));

    expect(client.text).toContain("trailer-forbidden");
    expect([stream?.isClosed, stream?.unconsumedBytes]).toEqual([true, 0]);
  });
});

function chunkOf(bytes: number): string {
  return `${bytes.toString(16)}\r\n${"x".repeat(bytes)}\r\n`;
}

describe("an answer that is broken off as soon as its head has come", () => {
  test("is answered once, and leaves the next request on the connection its own", async () => {
    const peer = new PlainPeer((stream) => {
      stream.sendHead(fieldsOf([":status", "200"]), false);
      stream.sendData(Buffer.from("ok"), 0, 2, false);
      stream.reset(2);
    });
    await using hop = await openLinkHop(1, { serve: (socket) => peer.serve(socket) });
    using client = new RawClient(hop.port);
    client.send(get + get);
    await until(() => hop.outer.length === 2);
    await aWhile();

    expect(client.text.match(/HTTP\/1.1 \d+/g)).toEqual(["HTTP/1.1 502", "HTTP/1.1 502"]);
    expect(hop.outer.map(({ status }) => status)).toEqual([502, 502]);
  });
});

describe("a request to a peer that speaks HTTP/1.1 alone", () => {
  test("has a body that comes in parts, and goes on in parts", async () => {
    await using upstream = await openUpstream((socket, text) => {
      if (text.endsWith("0\r\nx-t: y\r\n\r\n")) socket.write(okay);
    });
    await using hop = await openLinkHop(upstream.port, { open: openHttp1 });
    using client = new RawClient(hop.port).send(post);
    await until(() => upstream.received[0]?.endsWith("\r\n\r\n") === true);
    client.send("3\r\nabc\r\n");
    await until(() => upstream.received[0]?.endsWith("3\r\nabc\r\n") === true);
    client.send("0\r\nX-T: y\r\n\r\n");
    await until(() => client.text.endsWith("ok"));

    expect(hop.outer).toMatchObject([{ status: 200, requestBytes: 3, responseBytes: 2 }]);
    expect([hop.link.load, hop.link.idleCount]).toEqual([0, 1]);
  });

  test.each([
    ["within the body", post, "0\r\nhost: b\r\n\r\n", "trailer-forbidden"],
    ["in time, for want of the body", post, "", "body-timeout"],
    ["in time, for want of an answer", get, "", "upstream-timeout"],
  ])("fails %s and leaves nothing behind", async (_, request, rest, error) => {
    await using upstream = await openUpstream(() => {});
    await using hop = await openLinkHop(upstream.port, { open: openHttp1 });
    using client = new RawClient(hop.port).send(request);
    await until(() => upstream.received[0]?.endsWith("\r\n\r\n") === true);
    client.send(rest);
    if (rest === "") hop.passSeconds(31);
    await until(() => client.text.endsWith("}\n") && upstream.sockets[0]?.destroyed === true);

    expect(hop.outer).toMatchObject([{ error }]);
    expect([hop.link.load, hop.link.openCount]).toEqual([0, 0]);
  });

  test("waits for a client that is slow, and goes on when it reads", async () => {
    const large = 32_000_000;
    await using upstream = await openUpstream((socket) => {
      socket.write(`HTTP/1.1 200 OK\r\nContent-Length: ${large}\r\n\r\n`);
      socket.write("x".repeat(large));
    });
    await using hop = await openLinkHop(upstream.port, { open: openHttp1 });
    using client = new RawClient(hop.port).send(get);
    client.socket.pause();
    await until(() => hop.clientSockets[0]?.writableNeedDrain === true);
    await aWhile();
    const held = hop.clientSockets[0]?.writableLength ?? 0;
    client.socket.resume();
    await until(() => hop.outer.length === 1 && client.text.length > large);

    expect(held).toBeLessThan(256 * 1024);
    expect(hop.outer).toMatchObject([{ status: 200, responseBytes: large }]);
  });
});

async function openHttp1(port: number): ReturnType<typeof openHttp2> {
  const opened = await openHttp2(port);
  return opened.ok ? ok<OpenedLink>({ ...opened.value, isHttp2: false }) : opened;
}

/** A server of HTTP/2 that takes one request and keeps its body. */
class PlainPeer implements StreamHandler {
  session: ServerSession | undefined;
  stream: Http2Stream | undefined;
  body = "";
  isWhole = false;
  private readonly answer: (stream: Http2Stream) => void;

  constructor(answer = (stream: Http2Stream): void => stream.sendHead(fieldsOf([":status", "204"]), true)) {
    this.answer = answer;
  }

  serve(socket: Socket): void {
    const timer = new CoarseTimer({ nowSeconds: () => 0, monotonicMillis: () => 0 });
    const owner = {
      onRequest: (stream: Http2Stream): StreamHandler => {
        this.stream = stream;
        return this;
      },
    };
    this.session = new ServerSession(owner, { transport: socket, timer, schedule: setImmediate });
    attachSocket(socket, this.session);
  }

  onData(window: Buffer, start: number, end: number): void {
    this.body += window.toString("latin1", start, end);
    this.stream?.consume(end - start);
  }

  onEnd(): void {
    this.isWhole = true;
    if (this.stream !== undefined) this.answer(this.stream);
  }

  onReset(): void {}

  onWritable(): void {}

  onDeadline(): void {}
}
