import { describe, expect, test } from "vitest";
import { aWhile, openHop, openUpstream, RawClient, until } from "../../../test/fuzz/http1-hop.ts";
import { fieldsOf, openClient } from "../../../test/fuzz/http2-peers.ts";
import { openLinkHop } from "../../../test/fuzz/link-hop.ts";
import type { Verdict } from "./verdict.ts";

const get = "GET /a HTTP/1.1\r\nHost: a\r\n\r\n";
const post = "POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc";
const large = "POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 90000\r\n\r\nabc";
const okay = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

describe("a client that ends its side", () => {
  test("within a body loses its request, even while that is being decided on", async () => {
    let settle = (): void => {};
    await using upstream = await openUpstream(() => {});
    await using hop = await openHop(upstream.port, {
      decide: (_, forward) => new Promise<Verdict>((resolve) => (settle = () => resolve(forward))),
    });
    using client = new RawClient(hop.port).send(large);
    client.socket.end();
    await until(() => hop.connections[0]?.isIdle === false);
    await aWhile();
    settle();
    await until(() => client.isClosed);

    expect(hop.events).toMatchObject([{ status: 0, error: "client-gone" }]);
    expect([client.text, upstream.sockets]).toEqual(["", []]);
  });

  test("within a body that nobody takes loses its request as soon as somebody would", async () => {
    await using upstream = await openUpstream(() => {});
    await using hop = await openHop(upstream.port, { poolLimits: { openMax: 1 } });
    using first = new RawClient(hop.port).send(get);
    await until(() => upstream.received[0]?.endsWith("\r\n\r\n") === true);
    using client = new RawClient(hop.port).send(large);
    await until(() => hop.pool.waitingCount === 1);
    client.socket.end("def");
    await aWhile();
    upstream.sockets[0]?.write(okay);
    await until(() => client.isClosed && first.text === okay && hop.pool.openCount === 0);

    expect(hop.events).toContainEqual(expect.objectContaining({ status: 0, error: "client-gone" }));
  });

  test.each([
    ["before a request", ""],
    ["within a head", get.slice(0, -2)],
    ["after an answer", get],
    ["within a head after an answer", get + get.slice(0, -2)],
  ])("%s gets our end at once", async (_, text) => {
    await using upstream = await openUpstream((socket) => socket.write(okay));
    await using hop = await openHop(upstream.port);
    using client = new RawClient(hop.port).send(text);
    await until(() => hop.connections.length === 1 && client.text === (text.startsWith(get) ? okay : ""));
    await aWhile();
    client.socket.end();
    await until(() => client.isClosed && hop.clientSockets[0]?.destroyed === true);

    expect(client.text).toBe(text.startsWith(get) ? okay : "");
  });

  test.each([
    ["one proxy", openHop],
    ["two", openLinkHop],
  ])("after several requests gets all their answers and then the end: %s", async (_, open) => {
    await using upstream = await openUpstream((socket, text) => {
      if (/\r\n\r\n(abc)?$/.test(text)) setTimeout(() => socket.write(okay), 5);
    });
    await using hop = await open(upstream.port);
    using client = new RawClient(hop.port).send(post + get + post);
    client.socket.end();
    await until(() => client.isClosed);

    expect(client.text.toLowerCase()).toBe(okay.toLowerCase().repeat(3));
    expect(client.errorCode).toBeUndefined();
  });
});

describe("a client that goes away", () => {
  test.each([
    ["one proxy", openHop],
    ["two", openLinkHop],
  ])(
    "without a reset, while the application takes its time, gives its request up in seconds: %s",
    async (_, open) => {
      await using upstream = await openUpstream(() => {});
      await using hop = await open(upstream.port);
      const client = new RawClient(hop.port).send(get);
      await until(() => upstream.received[0]?.endsWith("\r\n\r\n") === true);
      client.socket.destroy();
      await until(() => hop.clientSockets[0]?.readableEnded === true);
      for (let second = 0; second < 5; second += 1) {
        hop.passSeconds(1);
        await aWhile();
      }
      await until(
        () => upstream.sockets[0]?.readableEnded === true || upstream.sockets[0]?.destroyed === true,
      );

      const events = "events" in hop ? hop.events : hop.outer;
      expect(events).toMatchObject([{ status: 0, error: "client-gone" }]);
    },
  );

  test("is told from one that has only ended its side, which has its answer after a 100 (Continue)", async () => {
    await using upstream = await openUpstream(() => {});
    await using hop = await openHop(upstream.port);
    using client = new RawClient(hop.port).send(get);
    await until(() => upstream.received[0]?.endsWith("\r\n\r\n") === true);
    client.socket.end();
    await until(() => hop.clientSockets[0]?.readableEnded === true);
    for (let second = 0; second < 20; second += 1) hop.passSeconds(1);
    await until(() => client.text !== "");
    upstream.sockets[0]?.write(okay);
    await until(() => client.isClosed);

    expect(client.text).toBe(`${"HTTP/1.1 100 Continue\r\n\r\n".repeat(2)}${okay}`);
  });

  test("while it waits for the answer to what came during the decision is noticed", async () => {
    let settle = (): void => {};
    await using upstream = await openUpstream(() => {});
    await using hop = await openHop(upstream.port, {
      decide: (_, forward) => new Promise<Verdict>((resolve) => (settle = () => resolve(forward))),
    });
    const client = new RawClient(hop.port).send(post.slice(0, -3));
    await until(() => hop.connections[0]?.isIdle === false);
    client.send("abc");
    await until(() => hop.clientSockets[0]?.isPaused() === true);
    settle();
    await until(() => upstream.received[0]?.endsWith("abc") === true);
    client.socket.resetAndDestroy();
    await until(() => upstream.sockets[0]?.destroyed === true);

    expect(hop.events).toMatchObject([{ status: 0, error: "client-gone" }]);
    expect(hop.pool.openCount).toBe(0);
  });

  test.each([
    ["waits for a connection", get, 0],
    ["sends its body", large, 1],
    ["waits for the answer", post, 1],
  ])("while it %s leaves nothing behind: two proxies", async (_, request, requests) => {
    await using upstream = await openUpstream(() => {});
    const serve = requests === 0 ? { serve: () => {} } : {};
    await using hop = await openLinkHop(upstream.port, serve);
    const client = new RawClient(hop.port).send(request);
    await until(() => (requests === 0 ? hop.link.waitingCount === 1 : upstream.received.length === 1));
    await aWhile();
    client.socket.resetAndDestroy();
    await until(() => hop.outer.length === 1 && hop.inner.length === requests && hop.link.load === 0);
    await until(() => hop.toApp.openCount === 0 && upstream.sockets.every(({ destroyed }) => destroyed));

    expect(hop.outer).toMatchObject([{ status: 0, error: "client-gone" }]);
    expect([hop.toApp.waitingCount, hop.link.waitingCount, hop.faults]).toEqual([0, 0, []]);
  });
});

describe("a client that takes nothing", () => {
  test.each([
    ["one proxy", openHop],
    ["two", openLinkHop],
  ])(
    "makes the application wait, and is given up in time as the one at fault: %s",
    async (_, open) => {
      const bytes = 64_000_000;
      let left = bytes;
      await using upstream = await openUpstream((socket) => {
        socket.write(`HTTP/1.1 200 OK\r\nContent-Length: ${bytes}\r\n\r\n`);
        const more = (): void => {
          while (left > 0 && !socket.destroyed) {
            left -= 64_000;
            if (!socket.write("x".repeat(64_000))) return;
          }
        };
        socket.on("drain", more);
        more();
      });
      await using hop = await open(upstream.port);
      using client = new RawClient(hop.port).send(get);
      client.socket.pause();
      await until(() => hop.clientSockets[0]?.writableNeedDrain === true);
      for (let before = -1; before !== left; await aWhile()) before = left;
      const given = bytes - left;
      const held = hop.clientSockets[0]?.writableLength ?? 0;
      hop.passSeconds(31);
      client.socket.resume();
      await until(() => client.isClosed && upstream.sockets[0]?.destroyed === true);

      expect(given).toBeLessThan(bytes / 2);
      expect(held).toBeLessThan(256 * 1024);
      const events = "events" in hop ? hop.events : hop.outer;
      expect(events).toMatchObject([{ status: 200, error: "client-gone" }]);
    },
    30_000,
  );
});

test("a client of HTTP/2 that takes nothing makes the application wait, and gets all once it does", async () => {
  const bytes = 48_000_000;
  await using upstream = await openUpstream((socket) => {
    socket.write(`HTTP/1.1 200 OK\r\nContent-Length: ${bytes}\r\n\r\n`);
    socket.write("x".repeat(bytes));
  });
  await using hop = await openLinkHop(upstream.port);
  using client = await openClient(hop.linkPort);
  let received = 0;
  let isTaking = false;
  let isWhole = false;
  const stream = client.session.open(
    fieldsOf([":method", "GET"], [":scheme", "http"], [":path", "/a"], [":authority", "a"]),
    true,
    {
      onData: (_, start, end) => {
        received += end - start;
        if (isTaking) stream?.consume(end - start);
      },
      onEnd: () => {
        isWhole = true;
      },
      onReset: () => {},
      onWritable: () => {},
      onDeadline: () => {},
      onInterim: () => {},
      onResponse: () => {},
    },
  );
  await until(() => received === 65_536);
  for (let before = -1; before !== upstream.sockets[0]?.writableLength; await aWhile())
    before = upstream.sockets[0]?.writableLength ?? 0;
  const untaken = (): number => bytes - received - (upstream.sockets[0]?.writableLength ?? 0);
  const held = untaken();
  // A little at a time must not let more in than it lets out.
  for (let taken = 0; taken < bytes / 3; taken += 32_768) {
    const before = received;
    stream?.consume(32_768);
    await until(() => received > before);
  }
  const heldLater = untaken();
  isTaking = true;
  stream?.consume(received);
  await until(() => isWhole);

  expect(held).toBeLessThan(bytes / 2);
  expect(heldLater - held).toBeLessThan(2_000_000);
  expect(received).toBe(bytes);
}, 30_000);

describe("an application that takes nothing", () => {
  test.each([
    ["one proxy", openHop],
    ["two", openLinkHop],
  ])(
    "makes the client wait, and gets all once it reads on: %s",
    async (_, open) => {
      const bytes = 48_000_000;
      await using upstream = await openUpstream(() => {});
      await using hop = await open(upstream.port);
      using client = new RawClient(hop.port);
      client.send(`POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: ${bytes}\r\n\r\n`);
      await until(() => upstream.received[0]?.endsWith("\r\n\r\n") === true);
      const [socket] = upstream.sockets;
      socket?.removeAllListeners("data").pause();
      client.socket.write(Buffer.alloc(bytes, "x"));
      await until(() => hop.clientSockets[0]?.isPaused() === true);
      for (let before = -1; before !== hop.clientSockets[0]?.bytesRead; await aWhile())
        before = hop.clientSockets[0]?.bytesRead ?? 0;
      const taken = hop.clientSockets[0]?.bytesRead ?? 0;
      let received = 0;
      socket?.on("data", (piece) => (received += piece.length)).resume();
      await until(() => received === bytes);
      socket?.write(okay);
      await until(() => client.text.endsWith("ok"));

      expect(taken).toBeLessThan(bytes / 2);
      expect(hop.faults).toEqual([]);
    },
    30_000,
  );
});

test.each([
  ["one proxy", openHop],
  ["two", openLinkHop],
])("an application that takes no more of a body is late itself: %s", async (_, open) => {
  await using upstream = await openUpstream((socket) => socket.pause());
  await using hop = await open(upstream.port);
  using client = new RawClient(hop.port);
  client.send(`POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 90000000\r\n\r\n`);
  client.socket.write(Buffer.alloc(48_000_000, "x"));
  await until(() => hop.clientSockets[0]?.isPaused() === true);
  for (let before = -1; before !== hop.clientSockets[0]?.bytesRead; await aWhile())
    before = hop.clientSockets[0]?.bytesRead ?? 0;
  hop.passSeconds(31);
  await until(() => client.text.includes("}\n"));

  expect(client.text).toMatch(/^HTTP\/1.1 504 [^]*upstream-timeout/);
});

describe("an application that ends its side", () => {
  test.each([
    ["before a word", "", "upstream-reset", /^HTTP\/1.1 502 /],
    ["within the head", "HTTP/1.1 200 OK\r\nConte", "upstream-reset", /^HTTP\/1.1 502 /],
    ["after a hint", "HTTP/1.1 103 Early Hints\r\n\r\n", "upstream-reset", /Hints\r\n\r\nHTTP\/1.1 502 /],
  ])("%s leaves the client its connection: %s", async (_, bytes, error, answer) => {
    await using upstream = await openUpstream((socket) => socket.end(bytes));
    for (const hop of [await openHop(upstream.port), await openLinkHop(upstream.port)]) {
      await using closing = hop;
      using client = new RawClient(closing.port).send(post);
      await until(() => client.text.endsWith("}\n"));
      client.send(post);
      await until(() => client.text.split("502").length > 4);

      expect(client.text).toMatch(answer);
      expect(client.hasEnded).toBe(false);
      const events = "events" in hop ? hop.events : hop.inner;
      expect(events).toMatchObject([{ error }, { error }]);
      expect("pool" in hop ? hop.pool.openCount : hop.toApp.openCount).toBe(0);
    }
  });

  test("after an answer that came before the end of the request gets no other request", async () => {
    await using upstream = await openUpstream((socket, text) => {
      if (text.endsWith("abc")) socket.end(okay);
    });
    await using hop = await openLinkHop(upstream.port);
    using client = new RawClient(hop.port).send(large);
    await until(() => client.hasEnded);
    using other = new RawClient(hop.port).send(post);
    await until(() => other.text.endsWith("ok"));

    expect(client.text).toContain("Connection: close\r\n");
    expect(upstream.sockets).toHaveLength(2);
    expect([hop.linkSockets.length, hop.link.load]).toEqual([1, 0]);
  });
});

describe("an application that answers", () => {
  test("what it has not read to the end gets no other request on that connection", async () => {
    const piece = `4000\r\n${"x".repeat(0x4000)}\r\n`;
    await using upstream = await openUpstream((socket) => socket.pause());
    await using hop = await openHop(upstream.port);
    using client = new RawClient(hop.port);
    client.send("POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
    while ((hop.upstreamSockets[0]?.writableLength ?? 0) === 0) {
      client.send(piece);
      await new Promise((resolve) => setTimeout(resolve, 2));
    }
    client.send("0\r\n\r\n");
    await aWhile();
    upstream.sockets[0]?.write(okay);
    await until(() => client.text.endsWith("ok"));

    expect([hop.pool.idleCount, hop.pool.openCount]).toEqual([0, 0]);
  });
});
