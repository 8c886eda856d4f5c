import type { Socket } from "node:net";
import { describe, expect, test } from "vitest";
import { aWhile, openHop, openUpstream, RawClient, until } from "../../../test/fuzz/http1-hop.ts";
import { BodyCursor, defaultHttp1Limits, scanRequestHead } from "../http1/index.ts";
import type { ConnectionSource } from "./connection-source.ts";
import { Http1Exchange } from "./http1-exchange.ts";

const get = "GET /a HTTP/1.1\r\nHost: a\r\n\r\n";
const post = "POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc";
const okay = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

describe("a request", () => {
  test("goes upstream with its head written anew, without what is for neighbours or reserved to Troth", async () => {
    await using upstream = await openUpstream((socket) => socket.write(okay));
    await using hop = await openHop(upstream.port);
    using client = new RawClient(hop.port);

    client.send(
      [
        "POST http://A.shop/x/../%7ey?q HTTP/1.1",
        "hOST:A.Shop",
        "Connection: keep-alive, X-Nominated, X-Added, troth-call",
        "X-Nominated: 1",
        "X-Added: by-the-client",
        "Keep-Alive: timeout=5",
        "Proxy-Authorization: Basic x",
        "Proxy-Anything: x",
        "TE: trailers",
        "X-Forwarded-Client-Cert: By=spiffe://evil",
        "x-forwarded-client-CERT: By=spiffe://evil",
        "Troth-Request-Token: forged",
        "TROTH-anything: forged",
        "X-Removed: 1",
        "X-Kept:  \t kept \t",
        "X-Empty:",
        "Content-Length: 3",
        "X-Last: yes",
        "",
        "abc",
      ].join("\r\n"),
    );
    await until(() => client.text === okay);

    expect(upstream.received[0]).toBe(
      "POST /~y?q HTTP/1.1\r\nHost: a.shop\r\nConnection: TE\r\nTE: trailers\r\nX-Kept: kept\r\nX-Empty: \r\nContent-Length: 3\r\nX-Last: yes\r\n" +
        "X-Added: by-the-proxy\r\n\r\nabc",
    );
  });

  test("may be given another target and Host", async () => {
    await using upstream = await openUpstream((socket) => socket.write(okay));
    await using hop = await openHop(upstream.port, {
      decide: (_, forward) =>
        forward.kind === "forward"
          ? { ...forward, edits: { ...forward.edits, target: "/elsewhere", host: "b.internal" } }
          : forward,
    });
    using client = new RawClient(hop.port).send(get);
    await until(() => client.text === okay);

    expect(upstream.received[0]).toBe(
      "GET /elsewhere HTTP/1.1\r\nHost: b.internal\r\nX-Added: by-the-proxy\r\n\r\n",
    );
  });

  test("follows others on the same connection to the upstream, whichever client they come from", async () => {
    await using upstream = await openUpstream((socket) => socket.write(okay));
    await using hop = await openHop(upstream.port);

    for (let round = 1; round <= 10; round += 1) {
      using client = new RawClient(hop.port).send(get);
      await until(() => client.text === okay);
      client.send(post);
      await until(() => client.text === okay + okay);
    }

    expect(upstream.sockets).toHaveLength(1);
    expect(hop.pool.idleCount).toBe(1);
    expect(hop.events).toHaveLength(20);
    expect(hop.events[1]).toMatchObject({ status: 200, requestBytes: 3, responseBytes: 2 });
  });

  test.each([
    ["GET", get],
    ["PUT without a body", "PUT /a HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n"],
  ])(
    "is sent once more when a reused connection dies under it, if it may be repeated: %s",
    async (_, request) => {
      await using upstream = await openUpstream((socket, text, index) => {
        if (index > 0 || text === firstRequest(text)) socket.write(okay);
        else socket.destroy();
      });
      await using hop = await openHop(upstream.port);
      using client = new RawClient(hop.port).send(get);
      await until(() => client.text === okay);

      client.send(request);
      await until(() => client.text === okay + okay);

      expect(upstream.sockets).toHaveLength(2);
      expect(upstream.received[0]?.endsWith(upstream.received[1] ?? "none")).toBe(true);
    },
  );

  test.each([
    ["a POST", post],
    ["a POST without body", "POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n"],
    ["a PUT with a body", post.replace("POST", "PUT")],
  ])("is not repeated when it is %s: upstream-reset", async (_, request) => {
    await using upstream = await openUpstream((socket, text) => {
      if (text === firstRequest(text)) socket.write(okay);
      else socket.destroy();
    });
    await using hop = await openHop(upstream.port);
    using client = new RawClient(hop.port).send(get);
    await until(() => client.text === okay);

    client.send(request);
    await until(() => client.text.endsWith("}\n"));

    expect(client.text).toContain("HTTP/1.1 502 ");
    expect(client.text).toContain('"reason":"upstream-reset"');
    expect(upstream.sockets).toHaveLength(1);
  });

  test("that cannot be repeated goes on a connection that has been in use a moment ago, or on a new one", async () => {
    await using upstream = await openUpstream((socket) => socket.write(okay));
    await using hop = await openHop(upstream.port);
    using client = new RawClient(hop.port);
    const ask = async (request: string, seconds: number): Promise<number> => {
      hop.passSeconds(seconds);
      const { length } = client.text;
      client.send(request);
      await until(() => client.text.length === length + okay.length);
      return upstream.sockets.length;
    };

    expect(await ask(get, 0)).toBe(1);
    expect(await ask(post, 1)).toBe(1);
    expect(await ask(get, 2)).toBe(1);
    expect(await ask(post, 2)).toBe(2);
  });

  test("is sent again, whatever its method, when the kernel takes nothing of it because the upstream has reset", async () => {
    await using upstream = await openUpstream((socket) => socket.write(okay));
    await using hop = await openHop(upstream.port);
    using client = new RawClient(hop.port).send(get);
    await until(() => client.text === okay);
    const text = Buffer.from(post, "latin1");
    const request = scanRequestHead(text, 0, text.length, defaultHttp1Limits);
    if (request.kind !== "head") throw new Error("no head");
    const statuses: number[] = [];
    const failures: string[] = [];
    const exchange = hop.pool.begin({
      client: {
        onBodyWanted: () => {},
        pauseBody: () => {},
        waitAtMost: () => {},
        writeInterim: () => {},
        writeHead: () => true,
        write: () => true,
        onResponded: () => void statuses.push(exchange.status),
        onFailed: (failure) => void failures.push(failure),
      },
      request,
      edits: { remove: [], add: new Uint8Array(0) },
      limits: defaultHttp1Limits,
      firstBody: Buffer.from("abc"),
      end: { trailers: [] },
    });
    // Both in one turn: the proxy has had no chance to read of the reset.
    upstream.sockets[0]?.resetAndDestroy();
    exchange.start();
    await until(() => statuses.length + failures.length > 0);

    expect([statuses, failures, upstream.sockets.length]).toEqual([[200], [], 2]);
  });

  test.each([
    ["a part of a head", "HTTP/1.1 20"],
    ["a hint", "HTTP/1.1 103 Early Hints\r\n\r\n"],
  ])("is not repeated when a reused connection dies after %s of the answer", async (_, begun) => {
    await using upstream = await openUpstream((socket, text) => {
      if (text === firstRequest(text)) socket.write(okay);
      else socket.end(begun);
    });
    await using hop = await openHop(upstream.port);
    using client = new RawClient(hop.port).send(get);
    await until(() => client.text === okay);
    client.send(get);
    await until(() => client.text.endsWith("}\n"));

    expect(hop.events).toMatchObject([{ status: 200 }, { status: 502, error: "upstream-reset" }]);
    expect(upstream.sockets).toHaveLength(1);
  });

  test("is not repeated when a new connection dies under it, nor a second time", async () => {
    let isHealthy = false;
    await using upstream = await openUpstream((socket) =>
      isHealthy ? socket.write(okay) : socket.destroy(),
    );
    await using hop = await openHop(upstream.port);
    using client = new RawClient(hop.port).send(get);
    await until(() => client.text.endsWith("}\n"));
    expect(upstream.sockets).toHaveLength(1);

    isHealthy = true;
    client.send(get);
    await until(() => client.text.endsWith("ok"));
    isHealthy = false;
    client.send(get);
    await until(() => hop.events.length === 3);

    expect(upstream.sockets).toHaveLength(3);
    expect(hop.events.map((event) => event.error)).toEqual(["upstream-reset", undefined, "upstream-reset"]);
  });

  test("is not repeated a second time even where the upstream offers no fresh connection", async () => {
    let isHealthy = true;
    const answers: (() => void)[] = [];
    await using upstream = await openUpstream((socket) => {
      if (isHealthy) answers.push(() => socket.write(okay));
      else socket.destroy();
    });
    await using hop = await openHop(upstream.port, {
      decide: (_, forward) => {
        if (forward.kind === "answer") return forward;
        const { pool } = hop;
        const source: ConnectionSource = {
          acquire: (waiter) => pool.acquire(waiter, "any"),
          cancel: (waiter) => pool.cancel(waiter),
        };
        return { ...forward, upstream: { begin: (request) => new Http1Exchange(request, source) } };
      },
    });
    const clients = [1, 2, 3].map(() => new RawClient(hop.port).send(get));
    await until(() => answers.length === 3);
    for (const answer of answers) answer();
    await until(() => hop.pool.idleCount === 3);

    isHealthy = false;
    clients[0]?.send(get);
    await until(() => hop.events.length === 4);

    expect(hop.events[3]).toMatchObject({ status: 502, error: "upstream-reset" });
    expect(hop.pool.idleCount).toBe(1);
    for (const client of clients) client.socket.destroy();
  });

  test("with Expect waits for the upstream's leave", async () => {
    await using upstream = await openUpstream((socket, text) => {
      if (text.endsWith("\r\n\r\n")) socket.write("HTTP/1.1 100 Continue\r\nTroth-X: y\r\n\r\n");
      if (text.endsWith("abc")) socket.write(okay);
    });
    await using hop = await openHop(upstream.port);
    using client = new RawClient(hop.port);

    client.send(post.replace("abc", "").replace("\r\n\r\n", "\r\nExpect: 100-continue\r\n\r\n"));
    await until(() => client.text === "HTTP/1.1 100 Continue\r\n\r\n");
    client.send("abc");
    await until(() => client.text.endsWith("ok"));

    expect(client.text).toBe(`HTTP/1.1 100 Continue\r\n\r\n${okay}`);
    expect(hop.pool.idleCount).toBe(1);
  });

  test("loses both connections when the final response comes before its body has", async () => {
    const early = "HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\n\r\nbig";
    await using upstream = await openUpstream((socket, text) => {
      if (text.endsWith("abc")) socket.write(early);
    });
    await using hop = await openHop(upstream.port);
    using client = new RawClient(hop.port);

    client.send(post.replace("Length: 3", "Length: 9"));
    await until(() => client.hasEnded && upstream.sockets[0]?.destroyed === true);
    client.send("defghi");
    client.socket.end();
    await until(() => client.isClosed);

    expect(client.text).toBe(early.replace("\r\n", "\r\nConnection: close\r\n"));
    expect(client.errorCode).toBeUndefined();
    expect(hop.pool.openCount).toBe(0);
  });

  test("is refused in the middle of its body when a chunk is malformed, and the upstream sees no end", async () => {
    await using upstream = await openUpstream(() => {});
    await using hop = await openHop(upstream.port);
    using client = new RawClient(hop.port);
    client.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n");
    await until(() => upstream.received[0]?.endsWith("abc\r\n") === true);

    client.send("0x\r\n");
    await until(() => client.hasEnded && upstream.sockets[0]?.destroyed === true);

    expect(client.text).toMatch(/^HTTP\/1.1 400 /);
    expect(client.text).toContain("chunk-size-invalid");
    expect(upstream.received[0]).not.toMatch(/0\r\n\r\n$/);
  });

  test.each([
    ["declared", post.replace("Length: 3", "Length: 11")],
    [
      "chunked",
      `POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nb\r\n01234567890\r\n0\r\n\r\n`,
    ],
  ])("of a larger body than is allowed is refused: %s: body-too-large", async (_, request) => {
    await using upstream = await openUpstream(() => {});
    await using hop = await openHop(upstream.port, { limits: { requestBodyBytesMax: 10 } });
    using client = new RawClient(hop.port).send(request);
    await until(() => client.hasEnded);

    expect(client.text).toMatch(/^HTTP\/1.1 413 /);
    expect(upstream.sockets).toEqual([]);
  });
});

describe("a response", () => {
  test("comes back without what is for neighbours or reserved to Troth", async () => {
    const head =
      "HTTP/1.1 200 Fine\r\nConnection: keep-alive, X-Nominated\r\nX-Nominated: 1\r\nKeep-Alive: timeout=5\r\n" +
      "Troth-Verdict: allow\r\nX-Forwarded-Client-Cert: a\r\nUpgrade: h2c\r\nProxy-Authenticate: x\r\nSet_Cookie: kept\r\n" +
      "Content-Length: 2\r\n\r\nok";
    await using upstream = await openUpstream((socket) => socket.write(head));
    await using hop = await openHop(upstream.port);
    using client = new RawClient(hop.port).send(get);
    await until(() => client.text.endsWith("ok"));

    expect(client.text).toBe("HTTP/1.1 200 Fine\r\nSet_Cookie: kept\r\nContent-Length: 2\r\n\r\nok");
  });

  test.each([
    ["to HEAD", get.replace("GET", "HEAD"), "HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n"],
    ["204", get, "HTTP/1.1 204 No Content\r\n\r\n"],
    ["304", get, "HTTP/1.1 304 Not Modified\r\nContent-Length: 7\r\n\r\n"],
    ["of no length", get, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"],
  ])("%s has no body, and both connections go on", async (_, request, response) => {
    await using upstream = await openUpstream((socket) => socket.write(response));
    await using hop = await openHop(upstream.port);
    using client = new RawClient(hop.port).send(request);
    await until(() => client.text === response);
    client.send(request);
    await until(() => client.text === response + response);

    expect(upstream.sockets).toHaveLength(1);
  });

  test("is the same over every split of the upstream's writes", async () => {
    const response =
      "HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" +
      "3\r\nabc\r\n0a\r\n0123456789\r\n0\r\nDigest:x\r\n\r\n";
    let split = 0;
    await using upstream = await openUpstream((socket) => {
      socket.setNoDelay(true);
      socket.write(response.slice(0, split));
      const rest = response.slice(split);
      setTimeout(() => socket.write(rest), 3);
    });
    await using hop = await openHop(upstream.port);
    using client = new RawClient(hop.port);

    for (split = 1; split < response.length; split += 1) {
      client.text = "";
      client.send(get);
      await until(() => client.text.endsWith("\r\n0\r\nDigest: x\r\n\r\n".toLowerCase()));
      const [, interim, head, body = ""] = /^(.*?\r\n\r\n)(.*?\r\n\r\n)(.*)$/s.exec(client.text) ?? [];
      const chunks = new BodyCursor({ kind: "chunked" }, 100);
      const bytes = Buffer.from(body, "latin1");
      expect(chunks.advance(bytes, 0, bytes.length)).toBe(bytes.length);
      expect([interim, head, chunks.payloadOf(bytes, 0).toString(), chunks.trailers]).toEqual([
        "HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        "abc0123456789",
        [{ name: "digest", value: "x" }],
      ]);
    }

    expect(upstream.sockets).toHaveLength(1);
  });

  test("that ends with the connection comes in chunks, so that its end is a statement", async () => {
    await using upstream = await openUpstream((socket) => {
      socket.write("HTTP/1.1 200 OK\r\n\r\nhello");
      setTimeout(() => socket.end(" world"), 5);
    });
    await using hop = await openHop(upstream.port);
    using client = new RawClient(hop.port).send(get);
    await until(() => client.text.endsWith("0\r\n\r\n"));

    expect(client.text).toBe(
      "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n",
    );
    expect(client.hasEnded).toBe(false);
    expect(hop.pool.openCount).toBe(0);
  });

  test.each([
    [
      "in chunks",
      "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n",
      "",
    ],
    ["of a length", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabcde", "Content-Length: 5\r\n"],
    [
      "after a 103",
      "HTTP/1.1 103 A\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabcde",
      "Content-Length: 5\r\n",
    ],
  ])(
    "%s comes to a client of HTTP/1.0 in a form it knows, and then the end",
    async (_, response, framing) => {
      await using upstream = await openUpstream((socket) => socket.write(response));
      await using hop = await openHop(upstream.port);
      using client = new RawClient(hop.port).send("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
      await until(() => client.hasEnded);

      expect(client.text).toBe(`HTTP/1.1 200 OK\r\nConnection: close\r\n${framing}\r\nabcde`);
      expect(upstream.received[0]).toMatch(/^GET \/ HTTP\/1.1\r\nHost: \r\n/);
      expect(hop.pool.idleCount).toBe(1);
    },
  );

  test.each([
    ["of a length", "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc", (socket: Socket) => socket.end()],
    [
      "in chunks",
      "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
      (socket: Socket) => socket.end(),
    ],
    ["until close", "HTTP/1.1 200 OK\r\n\r\nabc", (socket: Socket) => socket.resetAndDestroy()],
    [
      "with a malformed chunk",
      "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
      (socket: Socket) => socket.write("3;x\r\nabc\r\n0\r\n\r\n"),
    ],
  ])("%s that breaks off breaks the client's connection", async (_, response, breakOff) => {
    await using upstream = await openUpstream((socket) => {
      socket.write(response);
    });
    await using hop = await openHop(upstream.port);
    using client = new RawClient(hop.port).send(get);
    await until(() => client.text.includes("abc"));

    const [socket] = upstream.sockets;
    if (socket !== undefined) breakOff(socket);
    await until(() => client.isClosed);

    expect(client.errorCode).toBe("ECONNRESET");
    expect(client.text).not.toMatch(/0\r\n\r\n$/);
    expect(hop.events[0]?.error).toMatch(/^upstream-/);
    expect(hop.pool.openCount).toBe(0);
  });

  test.each([
    ["a length and chunked", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\nok"],
    ["another protocol", "SSH-2.0-x\r\n"],
    ["101", "HTTP/1.1 101 Switching Protocols\r\n\r\n"],
    ["nine interim responses", "HTTP/1.1 100 Continue\r\n\r\n".repeat(9)],
    ["a head of more than 16 KiB", `HTTP/1.1 200 OK\r\nX: ${"a".repeat(17_000)}`],
    [
      "a trailer that is a length",
      "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nContent-Length: 2\r\n\r\n",
    ],
  ])("that is %s is refused: upstream-malformed-response", async (_, response) => {
    await using upstream = await openUpstream((socket) => socket.write(response));
    await using hop = await openHop(upstream.port);
    using client = new RawClient(hop.port).send(get);
    await until(() => client.text.endsWith("}\n"));

    expect(client.text).toMatch(/HTTP\/1.1 502 /);
    expect(hop.events).toMatchObject([{ status: 502, error: "upstream-malformed-response" }]);
    expect(hop.pool.openCount).toBe(0);
  });

  test.each([
    ["a second response", okay + okay],
    ["one byte too many", `${okay}x`],
    ["a body after 204", "HTTP/1.1 204 No Content\r\nContent-Length: 2\r\n\r\nok"],
    ["chunks and more", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nHTTP/1.1 200 OK\r\n"],
  ])("with %s is the last on its connection, and nobody gets the surplus", async (_, response) => {
    await using upstream = await openUpstream((socket, __, index) =>
      socket.write(index === 0 ? response : okay),
    );
    await using hop = await openHop(upstream.port);
    using client = new RawClient(hop.port).send(get);
    await until(() => upstream.sockets[0]?.destroyed === true);
    const first = client.text;

    client.send(get);
    await until(() => client.text.length > first.length);

    expect(client.text).toBe(first + okay);
    expect(upstream.sockets).toHaveLength(2);
  });

  test("that nobody asked for ends an idle connection", async () => {
    await using upstream = await openUpstream((socket) => socket.write(okay));
    await using hop = await openHop(upstream.port);
    using client = new RawClient(hop.port).send(get);
    await until(() => client.text === okay && hop.pool.idleCount === 1);

    upstream.sockets[0]?.write("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison");
    await until(() => hop.pool.openCount === 0);
    client.send(get);
    await until(() => client.text === okay + okay);

    expect(upstream.sockets).toHaveLength(2);
  });

  test("on a connection the upstream closes is not followed by another there", async () => {
    await using upstream = await openUpstream((socket) =>
      socket.write(okay.replace("\r\n", "\r\nConnection: close\r\n")),
    );
    await using hop = await openHop(upstream.port);
    using client = new RawClient(hop.port).send(get);
    await until(() => client.text === okay);
    client.send(get);
    await until(() => client.text === okay + okay);

    expect(upstream.sockets).toHaveLength(2);
    expect(hop.pool.openCount).toBe(0);
  });

  test("whose client has gone is broken off, and the pool has its place back", async () => {
    await using upstream = await openUpstream((socket) =>
      socket.write("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc"),
    );
    await using hop = await openHop(upstream.port, { poolLimits: { openMax: 1 } });
    const client = new RawClient(hop.port).send(get);
    await until(() => client.text.endsWith("abc"));

    client.socket.resetAndDestroy();
    await until(() => upstream.sockets[0]?.destroyed === true);

    expect(hop.pool.openCount).toBe(0);
    expect(hop.events).toMatchObject([{ status: 200, responseBytes: 3, error: "client-gone" }]);
  });

  test("that does not come is refused in time: upstream-timeout", async () => {
    await using upstream = await openUpstream(() => {});
    await using hop = await openHop(upstream.port);
    using client = new RawClient(hop.port).send(post);
    await until(() => upstream.received[0]?.endsWith("abc") === true);

    hop.passSeconds(29);
    await aWhile();
    expect(client.text).toBe("");
    hop.passSeconds(2);
    await until(() => client.text.endsWith("}\n"));

    expect(client.text).toMatch(/^HTTP\/1.1 504 /);
    expect(client.hasEnded).toBe(false);
    expect(hop.pool.openCount).toBe(0);
  });

  test("that stands still breaks the client's connection in time", async () => {
    await using upstream = await openUpstream((socket) =>
      socket.write("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc"),
    );
    await using hop = await openHop(upstream.port);
    using client = new RawClient(hop.port).send(get);
    await until(() => client.text.endsWith("abc"));

    hop.passSeconds(31);
    await until(() => client.isClosed);

    expect(hop.events).toMatchObject([{ status: 200, error: "upstream-timeout" }]);
  });

  test.each([
    ["the client's fault", "", 408, "body-timeout"],
    ["the upstream's, which gives no leave", "Expect: 100-continue\r\n", 504, "upstream-timeout"],
  ])("to a body that does not come is a timeout: %s", async (_, header, status, error) => {
    await using upstream = await openUpstream(() => {});
    await using hop = await openHop(upstream.port);
    using client = new RawClient(hop.port);
    client.send(`POST / HTTP/1.1\r\nHost: a\r\n${header}Content-Length: 9\r\n\r\n`);
    await until(() => upstream.received[0] !== undefined && upstream.received[0] !== "");

    hop.passSeconds(31);
    await until(() => client.hasEnded);

    expect(client.text).toMatch(new RegExp(`^HTTP/1.1 ${status} `));
    expect(hop.events).toMatchObject([{ status, error }]);
  });
});

function firstRequest(text: string): string {
  return text.slice(0, text.indexOf("\r\n\r\n") + 4);
}
