import { describe, expect, test } from "vitest";
import { aWhile, openHop, openUpstream, RawClient, until } from "../../../test/fuzz/http1-hop.ts";
import { fieldsOf, openClient } from "../../../test/fuzz/http2-peers.ts";
import { openLinkHop } from "../../../test/fuzz/link-hop.ts";
import type { Http1Limits } from "../http1/index.ts";
import type { ResponseHandler } from "../http2/index.ts";

const get = "GET /a HTTP/1.1\r\nHost: a\r\n\r\n";
const okay = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const chunked = "POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
const post = fieldsOf([":method", "POST"], [":scheme", "http"], [":path", "/a"], [":authority", "a"]);
const hops = [
  ["one proxy", openHop],
  ["two", openLinkHop],
] as const;

describe("a body of more than requestBodyBytesMax", () => {
  const limits = { limits: { requestBodyBytesMax: 10 } };

  test.each(hops)(
    "is refused when it has grown so large, and the application sees no end: %s",
    async (_, open) => {
      await using upstream = await openUpstream(() => {});
      await using hop = await open(upstream.port, limits);
      using client = new RawClient(hop.port).send(`${chunked}a\r\n0123456789\r\n`);
      await until(() => upstream.received[0]?.includes("0123456789") === true);
      client.send("1\r\na\r\n");
      await until(() => client.hasEnded && upstream.sockets[0]?.destroyed === true);

      expect(client.text).toMatch(/^HTTP\/1.1 413 [^]*body-too-large/);
      expect(upstream.received[0]).not.toMatch(/0\r\n\r\n$/);
    },
  );

  test.each(hops)("breaks off an answer that has begun: %s", async (_, open) => {
    await using upstream = await openUpstream((socket, text) => {
      if (text.includes("0123456789")) socket.write("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc");
    });
    await using hop = await open(upstream.port, limits);
    using client = new RawClient(hop.port).send(`${chunked}a\r\n0123456789\r\n`);
    await until(() => client.text.endsWith("abc"));
    client.send("1\r\na\r\n");
    await until(() => client.isClosed && upstream.sockets[0]?.destroyed === true);

    expect("events" in hop ? hop.events : hop.outer).toMatchObject([
      { status: 200, error: "body-too-large" },
    ]);
  });

  test.each([
    ["declared so", [["content-length", "11"]], "0123456789a"],
    ["that comes without a length", [], "0123456789a"],
  ] as const)("over HTTP/2 is refused: one %s", async (_, fields, body) => {
    await using upstream = await openUpstream((socket) => socket.write(okay));
    await using hop = await openLinkHop(upstream.port, limits);
    using client = await openClient(hop.linkPort);
    const outcome = await client.ask([...post, ...fieldsOf(...fields)], body);
    const next = await client.ask([...post, ...fieldsOf(["content-length", "2"])], "ab");

    expect(outcome).toMatchObject({ status: 413, body: expect.stringContaining("body-too-large") });
    expect(next.status).toBe(200);
    expect(upstream.received.join("")).not.toContain("0123456789a");
  });
});

describe("the time that a step may take", () => {
  const short: Partial<Http1Limits> = {
    headMillis: 60_000,
    decisionMillis: 60_000,
    responseHeadMillis: 60_000,
    bodyIdleMillis: 60_000,
    callIdleMillis: 60_000,
    keepAliveIdleMillis: 60_000,
    lingerMillis: 60_000,
  };

  test.each([
    ["headMillis", "GET /a HT", 408],
    ["decisionMillis", get.replace("/a", "/undecided"), 503],
    ["responseHeadMillis", get, 504],
    ["bodyIdleMillis", `${chunked}1\r\na\r\n`, 408],
  ] as const)("is %s, and no other", async (name, text, status) => {
    await using upstream = await openUpstream(() => {});
    await using hop = await openHop(upstream.port, {
      limits: { ...short, [name]: 1_000 },
      decide: ({ target }, forward) => (target === "/undecided" ? new Promise(() => {}) : forward),
    });
    using client = new RawClient(hop.port).send(text);
    await until(() => hop.connections[0]?.isIdle === false);
    await aWhile();
    hop.passSeconds(2);
    await until(() => client.text.includes("\r\n\r\n"));

    expect(client.text).toMatch(new RegExp(`^HTTP/1.1 ${status} `));
    expect([hop.pool.openCount, hop.pool.waitingCount]).toEqual([0, 0]);
  });

  test.each([
    ["bodyIdleMillis", "GET /stands-still HTTP/1.1\r\nHost: a\r\n\r\n", /abc$/],
    ["keepAliveIdleMillis", get, /ok$/],
  ] as const)("after the head of the response is %s, and no other", async (name, text, end) => {
    await using upstream = await openUpstream((socket, received) =>
      socket.write(received.includes("/stands-still") ? okay.replace("2\r\n\r\nok", "9\r\n\r\nabc") : okay),
    );
    await using hop = await openHop(upstream.port, { limits: { ...short, [name]: 1_000 } });
    using client = new RawClient(hop.port).send(text);
    await until(() => end.test(client.text));
    await aWhile();
    hop.passSeconds(2);
    await until(() => client.hasEnded || client.isClosed);

    expect(client.text).toMatch(end);
  });

  test("is begun anew by every piece of a body, in both directions, and not by a piece of a head", async () => {
    await using upstream = await openUpstream(() => {});
    await using hop = await openHop(upstream.port);
    using client = new RawClient(hop.port).send(chunked);
    await until(() => upstream.received[0]?.endsWith("\r\n\r\n") === true);
    for (let piece = 1; piece <= 4; piece += 1) {
      hop.passSeconds(20);
      client.send("1\r\na\r\n");
      await until(() => upstream.received[0]?.split("1\r\na\r\n").length === piece + 1);
    }
    client.send("0\r\n\r\n");
    await until(() => upstream.received[0]?.endsWith("0\r\n\r\n") === true);
    hop.passSeconds(20);
    upstream.sockets[0]?.write("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n");
    for (let piece = 1; piece <= 4; piece += 1) {
      await until(() => client.text.endsWith(`\r\n\r\n${"b".repeat(piece - 1)}`));
      hop.passSeconds(20);
      upstream.sockets[0]?.write("b");
    }
    await until(() => client.text.endsWith("bbbb"));

    expect(hop.events).toMatchObject([{ status: 200, requestBytes: 4, responseBytes: 4 }]);
  });

  test("is begun anew by every piece of a small body that is awaited over HTTP/2", async () => {
    await using upstream = await openUpstream((socket) => socket.write(okay));
    await using hop = await openLinkHop(upstream.port);
    using client = new RawClient(hop.port).send("POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\n");
    await until(() => hop.link.ready()?.streams === 1);
    for (const piece of "abcd") {
      await aWhile();
      hop.passSeconds(20);
      client.send(piece);
    }
    await until(() => client.text.endsWith("ok"));

    expect(upstream.received).toEqual([expect.stringMatching(/\r\n\r\nabcd$/)]);
  });

  test.each([
    ["decisionMillis", "/undecided", "decision-timeout", 503],
    ["bodyIdleMillis", "/a", "body-timeout", 408],
  ] as const)(
    "over HTTP/2 is %s, and no other, before the application hears of a request",
    async (name, path, error, status) => {
      await using upstream = await openUpstream(() => {});
      await using hop = await openLinkHop(upstream.port, {
        limits: { ...short, [name]: 1_000 },
        decide: ({ target }, forward) => (target === "/undecided" ? new Promise(() => {}) : forward),
      });
      using client = await openClient(hop.linkPort);
      const answer = new Promise<number>((resolve) => {
        const stream = client.session.open(
          fieldsOf(
            [":method", "POST"],
            [":scheme", "http"],
            [":path", path],
            [":authority", "a"],
            ["content-length", "3"],
          ),
          false,
          { ...nobody, onResponse: (head) => resolve(head.status) },
        );
        stream?.sendData(Buffer.from("ab"), 0, 2, false);
      });
      await aWhile();
      hop.passSeconds(2);

      expect(await answer).toBe(status);
      expect(hop.inner).toMatchObject([{ status, error, requestBytes: 2 }]);
      expect(upstream.sockets).toEqual([]);
    },
  );

  test("is callIdleMillis for a call of gRPC, in place of those for requests", async () => {
    await using upstream = await openUpstream(() => {});
    await using hop = await openLinkHop(upstream.port, { limits: { callIdleMillis: 3_000_000 } });
    using client = await openClient(hop.linkPort);
    const asked = client.ask([...post, ...fieldsOf(["content-type", "application/grpc+proto"])], "abc");
    const other = client.ask([...post, ...fieldsOf(["content-type", "application/grpc-web"])], "abc");
    await until(() => upstream.received.filter((text) => text.endsWith("0\r\n\r\n")).length === 2);
    for (let half = 0; half < 40; half += 1) {
      hop.passSeconds(1);
      await new Promise((resolve) => setImmediate(resolve));
    }
    const before = hop.inner.length;
    const { status } = await other;
    for (const socket of upstream.sockets) socket.destroy();
    const outcome = await asked;

    expect([before, status]).toEqual([1, 504]);
    expect(outcome.fields.map(({ name, value }) => `${name}: ${value}`)).toContain("grpc-status: 14");
  });
});

const nobody: ResponseHandler = {
  onData: () => {},
  onEnd: () => {},
  onReset: () => {},
  onWritable: () => {},
  onDeadline: () => {},
  onInterim: () => {},
  onResponse: () => {},
};

describe("what is counted of an answer of the proxy's own", () => {
  test.each([
    ["GET", true],
    ["HEAD", false],
  ])("is what has been written to the client: %s", async (method, hasBody) => {
    await using hop = await openHop(1);
    using client = new RawClient(hop.port).send(get.replace("GET", method));
    await until(() => hop.events.length === 1 && client.text.includes("\r\n\r\n"));
    await aWhile();

    const written = client.text.length - client.text.indexOf("\r\n\r\n") - 4;
    expect(written > 0).toBe(hasBody);
    expect(hop.events).toMatchObject([{ status: 502, responseBytes: written }]);
  });

  test.each([
    ["GET", true],
    ["HEAD", false],
  ])("is what has been written to the client, over HTTP/2: %s", async (method, hasBody) => {
    await using hop = await openLinkHop(1);
    using client = await openClient(hop.linkPort);
    const { body } = await client.ask([...fieldsOf([":method", method]), ...post.slice(1)]);

    expect(body.length > 0).toBe(hasBody);
    expect(hop.inner).toMatchObject([{ status: 502, responseBytes: body.length }]);
  });
});
