import { once } from "node:events";
import type { Socket } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { describe, expect, test } from "vitest";
import { fakeClock } from "../../../test/fakes/fake-clock.ts";
import { aWhile, openUpstream, RawClient, until } from "../../../test/fuzz/http1-hop.ts";
import { fieldsOf, openClient } from "../../../test/fuzz/http2-peers.ts";
import { type LinkHop, openHttp2, openLinkHop } from "../../../test/fuzz/link-hop.ts";
import { CoarseTimer } from "../coarse-timer.ts";
import { defaultHttp1Limits, scanRequestHead } from "../http1/index.ts";
import { attachSocket, type Http2Stream, ServerSession, type StreamHandler } from "../http2/index.ts";
import {
  type ForwardingClient,
  type ForwardingFailure,
  Http2Exchange,
  type InstanceLink,
  type MessageEnd,
  problemAnswer,
  type Upstream,
  type Verdict,
} from "./index.ts";

/** A client that takes everything and says each time that it is too much. */
class SlowClient implements ForwardingClient {
  body = "";
  end: MessageEnd | undefined;
  failure: ForwardingFailure | undefined;
  wantsBody = false;

  writeHead(_: unknown, body: Buffer, end: MessageEnd | undefined): boolean {
    return this.write(body, end);
  }

  write(body: Buffer, end: MessageEnd | undefined): boolean {
    this.body += body.toString("latin1");
    this.end = end;
    return false;
  }

  onBodyWanted(): void {
    this.wantsBody = true;
  }

  pauseBody(): void {
    this.wantsBody = false;
  }

  onFailed(failure: ForwardingFailure): void {
    this.failure = failure;
  }

  waitAtMost(): void {}
  writeInterim(): void {}
  onResponded(): void {}
}

/** A request of a client over a link, as a proxy sends it; `body` is what there is of the body. */
function exchangeOf(link: InstanceLink, client: ForwardingClient, body?: string): Http2Exchange {
  const framing = body === undefined ? "" : "Transfer-Encoding: chunked\r\n";
  const text = Buffer.from(`POST /a HTTP/1.1\r\nHost: a\r\n${framing}\r\n`, "latin1");
  const request = scanRequestHead(text, 0, text.length, defaultHttp1Limits);
  if (request.kind !== "head") throw new Error("no head");
  return new Http2Exchange(
    {
      client,
      request,
      edits: { remove: [], add: new Uint8Array(0) },
      limits: defaultHttp1Limits,
      firstBody: Buffer.from(body ?? "", "latin1"),
      end: body === undefined ? { trailers: [] } : undefined,
    },
    { pick: (tried) => (tried.includes(link) ? undefined : link), hasOther: () => false, avoid: () => {} },
  );
}

const silent: StreamHandler = {
  onData: () => {},
  onEnd: () => {},
  onReset: () => {},
  onWritable: () => {},
  onDeadline: () => {},
};

/** Serves a connection as a bare server of HTTP/2. */
function serveBare(
  socket: Socket,
  onRequest: (stream: Http2Stream, session: ServerSession) => StreamHandler | undefined,
): void {
  const owner = { onRequest: (stream: Http2Stream) => onRequest(stream, session) };
  const timer = new CoarseTimer(fakeClock());
  const session = new ServerSession(owner, { transport: socket, timer, schedule: setImmediate });
  attachSocket(socket, session);
}

/** Answers with so many bytes, and with a trailer if one is named. */
function answering(stream: Http2Stream, bytes: number, trailer?: string): StreamHandler {
  let left = bytes;
  const write = (): void => {
    const taken = stream.sendData(Buffer.alloc(left, "x"), 0, left, trailer === undefined);
    left -= taken;
    if (left === 0 && trailer !== undefined) stream.sendTrailers(fieldsOf([trailer, "x"]));
  };
  return {
    ...silent,
    onWritable: write,
    onEnd: () => {
      stream.sendHead(fieldsOf([":status", "200"]), false);
      write();
    },
  };
}

describe("a link", () => {
  // 400 times this is more than a connection may hold unread.
  const bytes = 60_000;

  test.each([
    ["whose end comes while their client takes no more", undefined, undefined],
    ["that end with what no message may end with", "authorization", "upstream-malformed-response"],
  ])(
    "is credited with every byte of responses %s",
    async (_, trailer, failure) => {
      await using hop = await openLinkHop(1, {
        serve: (socket) => serveBare(socket, (stream) => answering(stream, bytes, trailer)),
      });
      for (let round = 0; round < 400; round += 1) {
        const client = new SlowClient();
        exchangeOf(hop.link, client).start();
        await until(() => client.end !== undefined || client.failure !== undefined);
        if (failure === undefined) expect(client.body.length).toBe(bytes);
        expect(client.failure).toBe(failure);
      }

      expect(hop.linkSockets).toHaveLength(1);
      expect(hop.violations).toEqual([]);
    },
    20_000,
  );

  test("asks for no more of a body than the next connection can be given when a server has not looked at it", async () => {
    const second = Promise.withResolvers<void>();
    const received: string[] = [];
    let connections = 0;
    await using hop = await openLinkHop(1, {
      open: async (port) => {
        connections += 1;
        if (connections > 1) await second.promise;
        return openHttp2(port);
      },
      serve: (socket) =>
        serveBare(socket, (stream, session) => ({
          ...silent,
          onData: (window, start, end) => {
            stream.consume(end - start);
            if (connections === 1) {
              session.drain();
              stream.reset(7);
            } else received.push(window.toString("latin1", start, end));
          },
          onEnd: () => stream.sendHead(fieldsOf([":status", "200"]), true),
        })),
    });
    const client = new SlowClient();
    const exchange = exchangeOf(hop.link, client, "one ");
    exchange.start();
    await until(() => connections === 2);

    expect(client.wantsBody).toBe(false);
    second.resolve();
    await until(() => client.wantsBody);
    exchange.onBody(Buffer.from("two"), { trailers: [] });
    await until(() => client.end !== undefined);
    expect(received.join("")).toBe("one two");
  });

  test("is given no part of a body again when a server has not looked at it", async () => {
    let requests = 0;
    await using hop = await openLinkHop(1, {
      serve: (socket) =>
        serveBare(socket, (stream) => {
          requests += 1;
          let received = 0;
          return {
            ...silent,
            onData: (_, start, end) => {
              received += end - start;
              stream.consume(end - start);
              if (received > 4) stream.reset(7);
            },
          };
        }),
    });
    const client = new SlowClient();
    const exchange = exchangeOf(hop.link, client, "one ");
    exchange.start();
    await until(() => client.wantsBody);
    exchange.onBody(Buffer.from("two"), undefined);
    await until(() => client.failure !== undefined);
    await aWhile();

    expect([client.failure, requests]).toEqual(["upstream-reset", 1]);
  });

  test("writes nothing to a client that has gone within the turn in which its answer came", async () => {
    await using hop = await openLinkHop(1, { serve: (socket) => serveBare(socket, () => silent) });
    const client = new SlowClient();
    const exchange = exchangeOf(hop.link, client);
    exchange.start();
    await until(() => hop.link.ready()?.streams === 1);
    exchange.onResponse({ fields: fieldsOf([":status", "200"]), status: 200, contentLength: undefined });
    exchange.onData(Buffer.from("late"), 0, 4);
    exchange.abort();
    exchange.flush();

    expect(client.body).toBe("");
    expect(hop.link.load).toBe(0);
  });

  test("ends with a fault of ours in what a response is given to, and the next request has another", async () => {
    let calls = 0;
    await using hop = await openLinkHop(1, {
      serve: (socket) =>
        serveBare(socket, (stream) => {
          calls += 1;
          const onEnd = (): void => stream.sendHead(fieldsOf([":status", "200"]), false);
          return calls === 1 ? { ...silent, onEnd } : answering(stream, 10);
        }),
    });
    const broken = new SlowClient();
    broken.writeHead = () => {
      throw new Error("broken");
    };
    const beside = new SlowClient();
    exchangeOf(hop.link, broken).start();
    await until(() => broken.failure !== undefined);
    exchangeOf(hop.link, beside).start();
    await until(() => beside.end !== undefined);

    expect([hop.faults.length, hop.linkSockets.length, hop.violations]).toEqual([1, 2, []]);
    expect(broken.failure).toBe("upstream-reset");
  });

  test("refuses who waits at once when a connection has ended by the time that it is given", async () => {
    await using hop = await openLinkHop(1, {
      serve: (socket) => socket.resume(),
      open: async (port) => {
        const opened = await openHttp2(port);
        if (opened.ok) await once(opened.value.socket.destroy(), "close");
        return opened;
      },
    });
    const client = new SlowClient();
    exchangeOf(hop.link, client).start();
    await until(() => client.failure !== undefined);

    expect(client.failure).toBe("upstream-connect-failed");
  });

  test("ends a connection that is opened too late for it", async () => {
    const late = Promise.withResolvers<void>();
    await using hop = await openLinkHop(1, {
      serve: (socket) => socket.resume(),
      open: async (port) => {
        await late.promise;
        return openHttp2(port);
      },
    });
    const client = new SlowClient();
    exchangeOf(hop.link, client).start();
    hop.link.close();
    late.resolve();
    await until(() => hop.linkSockets[0]?.destroyed === true);

    expect(client.failure).toBe("upstream-connect-failed");
  });

  test("tells of a peer that breaks the rules", async () => {
    await using hop = await openLinkHop(1, {
      serve: (socket) =>
        serveBare(socket, (stream, session) => {
          session.writer.windowUpdate(stream.id, 0);
          return silent;
        }),
    });
    using client = new RawClient(hop.port).send("GET /a HTTP/1.1\r\nHost: a\r\n\r\n");
    await until(() => client.text.includes("window-increment-zero"));

    expect(hop.violations).toEqual(["window-increment-zero"]);
  });
});

describe("a request body over HTTP/2", () => {
  const post = fieldsOf([":method", "POST"], [":scheme", "http"], [":path", "/a"], [":authority", "a"]);

  test("is credited although nobody has taken it when its request is refused", {
    timeout: 20_000,
  }, async () => {
    const body = "x".repeat(60_000);
    let asked = 0;
    let allAsked = Promise.withResolvers<void>();
    await using hop = await openLinkHop(1, {
      decide: async () => {
        asked += 1;
        if (asked === 200) allAsked.resolve();
        // Until it is all there.
        await allAsked.promise;
        await sleep(500);
        return problemAnswer({ status: 403, reason: "no-rule" });
      },
    });
    using client = await openClient(hop.linkPort);
    // Twice so many are more than a connection may hold unread.
    for (let round = 0; round < 2; round += 1) {
      asked = 0;
      allAsked = Promise.withResolvers<void>();
      const outcomes = await Promise.all(Array.from({ length: 200 }, () => client.ask(post, body)));
      expect(new Set(outcomes.map(({ status, reset }) => `${status} ${reset}`))).toEqual(
        new Set(["403 undefined"]),
      );
    }

    expect(hop.inner.filter(({ requestBytes }) => requestBytes === body.length).length).toBeGreaterThan(300);
  });

  test.each([
    ["while it is decided on", true],
    ["on its way to the application", false],
  ])("that is longer than any may be is refused %s: body-too-large", async (_, isUndecided) => {
    await using upstream = await openUpstream(() => {});
    const undecided = new Promise<Verdict>(() => {});
    await using hop = await openLinkHop(upstream.port, {
      limits: { requestBodyBytesMax: 30_000 },
      decide: (_, forward) => (isUndecided ? undecided : forward),
    });
    using client = await openClient(hop.linkPort);
    const outcome = await client.ask(post, "x".repeat(30_001));

    expect([outcome.status, outcome.body]).toEqual([413, expect.stringContaining("body-too-large")]);
    expect(upstream.received.join("")).not.toMatch(/0\r\n\r\n$/);
  });
});

test("a head that is larger than we said we take is answered 431, and told of", async () => {
  await using hop = await openLinkHop(1);
  using client = await openClient(hop.linkPort);
  // Short once it is compressed.
  const large = Array.from({ length: 120 }, () => ["x-a", "a".repeat(300)] as const);
  const { status } = await client.ask(
    fieldsOf([":method", "GET"], [":scheme", "http"], [":path", "/a"], [":authority", "a"], ...large),
  );

  expect([status, hop.violations]).toEqual([431, ["header-list-too-large"]]);
});

describe("a client of HTTP/2 that is slow", () => {
  /** A response that is written by hand, to a client that takes as much as it is told to. */
  async function openSlow(): Promise<{
    readonly hop: LinkHop;
    readonly client: ForwardingClient;
    readonly stream: Http2Stream;
    readonly received: () => number;
    readonly told: string[];
    readonly stack: AsyncDisposableStack;
  }> {
    const stack = new AsyncDisposableStack();
    const told: string[] = [];
    const asked = Promise.withResolvers<ForwardingClient>();
    const upstream: Upstream = {
      begin: ({ client }) => {
        asked.resolve(client);
        return {
          status: 200,
          responseBytes: 0,
          start: () => {},
          onBody: () => {},
          clientDrained: () => told.push("drained"),
          fail: () => {},
          abort: () => told.push("aborted"),
          onDeadline: () => told.push("deadline"),
        };
      },
    };
    const hop = stack.use(await openLinkHop(1, { toUpstream: upstream }));
    const { session } = stack.use(await openClient(hop.linkPort));
    let received = 0;
    const fields = fieldsOf([":method", "GET"], [":scheme", "http"], [":path", "/a"], [":authority", "a"]);
    const stream = session.open(fields, true, {
      ...silent,
      onInterim: () => {},
      onResponse: () => {},
      onData: (_, start, end) => {
        received += end - start;
      },
    });
    if (stream === undefined) throw new Error("no stream");
    return { hop, client: await asked.promise, stream, received: () => received, told, stack };
  }

  const head = { fields: fieldsOf([":status", "200"]), status: 200, contentLength: undefined };

  test("is asked to be waited for until it has taken all, whatever comes meanwhile", async () => {
    const { client, stream, received, told, stack } = await openSlow();
    await using _ = stack;
    const isFlowing = [client.writeHead(head, Buffer.alloc(65_536), undefined)];
    await until(() => received() === 65_536);
    isFlowing.push(client.write(Buffer.alloc(65_536), undefined));
    stream.consume(50_000);
    await until(() => received() === 65_536 + 50_000);
    isFlowing.push(client.write(Buffer.alloc(100), undefined));
    const before = [...told];
    stream.consume(65_536);
    await until(() => received() === 2 * 65_536 + 100);

    expect([isFlowing, before]).toEqual([[true, false, false], []]);
    await until(() => told.length > 0);
    expect(told).toEqual(["drained"]);
  });

  test("is not given up while it takes something from time to time", async () => {
    const { hop, client, stream, received, told, stack } = await openSlow();
    await using _ = stack;
    client.writeHead(head, Buffer.alloc(65_536), undefined);
    client.write(Buffer.alloc(200_000), undefined);
    client.waitAtMost(30_000);
    await until(() => received() === 65_536);
    for (let round = 1; round <= 3; round += 1) {
      hop.passSeconds(20);
      stream.consume(40_000);
      await until(() => received() === 65_536 + round * 40_000);
    }

    expect(told).toEqual([]);
    hop.passSeconds(31);
    expect(told).toContain("aborted");
  });
});

describe("a fault of ours on the way of a request", () => {
  test.each([
    ["after a verdict that was awaited", true],
    ["after a verdict at once", false],
  ])("%s ends its client's connection and nothing else", async (_, isAwaited) => {
    const broken = {
      begin: () => ({
        status: 0,
        responseBytes: 0,
        start: () => {
          throw new Error("broken");
        },
        onBody: () => {},
        clientDrained: () => {},
        fail: () => {},
        abort: () => {},
        onDeadline: () => {},
      }),
    };
    const verdict = {
      kind: "forward",
      upstream: broken,
      edits: { remove: [], add: new Uint8Array(0) },
    } as const;
    await using hop = await openLinkHop(1, {
      decide: () => (isAwaited ? Promise.resolve(verdict) : verdict),
    });
    const ask = fieldsOf([":method", "POST"], [":scheme", "http"], [":path", "/a"], [":authority", "a"]);
    using client = await openClient(hop.linkPort);
    const outcome = await client.ask(ask, "abc");
    await aWhile();

    expect([outcome.reset, hop.faults.length]).toEqual([expect.any(Number), 1]);
    expect(hop.inner).toMatchObject([{ error: "client-gone" }]);
  });
});
