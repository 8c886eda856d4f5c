import { describe, expect, test } from "vitest";
import { openHop, openUpstream, RawClient, until } from "../../../test/fuzz/http1-hop.ts";
import { fieldsOf, openClient } from "../../../test/fuzz/http2-peers.ts";
import { openLinkHop } from "../../../test/fuzz/link-hop.ts";
import { trailerBytesMax, trailersMax } from "../http1/trailers.ts";

const chunked = "POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n";
const body = "\r\n3\r\nabc\r\n0\r\n";
const okay = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const okayInChunks = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n";
const hops = [
  ["one proxy", openHop],
  ["two", openLinkHop],
] as const;
const http2Post = fieldsOf([":method", "POST"], [":scheme", "http"], [":path", "/a"], [":authority", "a"]);

describe("trailers of a request", () => {
  test.each(hops)("arrive, announced or not, in order and in small letters: %s", async (_, open) => {
    await using upstream = await openUpstream((socket, text) => {
      if (/0\r\n(x-.*\r\n)+\r\n$/.test(text)) socket.write(okay);
    });
    await using hop = await open(upstream.port);
    using client = new RawClient(hop.port);
    client.send(
      `${chunked}Trailer: X-B\r\nTE: trailers\r\nConnection: TE\r\n${body}X-B: 1\r\nx-a:\t2 \r\nX-B: \r\n\r\n`,
    );
    await until(() => client.text.endsWith("ok"));

    expect(upstream.received[0]).toMatch(/\r\nConnection: TE\r\nTE: trailers\r\n/);
    expect(upstream.received[0]).toMatch(/\r\ntrailer: X-B\r\n/i);
    expect(upstream.received[0]).toMatch(/\r\n3\r\nabc\r\n0\r\nx-b: 1\r\nx-a: 2\r\nx-b: \r\n\r\n$/);
  });

  test.each([
    ["to an application of HTTP/1.1, without a length", [], "\r\n0\r\nx-t: y\r\n\r\n"],
    [
      "to an application of HTTP/1.1, announced",
      [
        ["content-length", "3"],
        ["trailer", "x-t"],
      ],
      "\r\n0\r\nx-t: y\r\n\r\n",
    ],
    ["not behind a length that nobody took away", [["content-length", "3"]], "\r\n\r\nabc"],
  ] as const)("over HTTP/2 arrive %s", async (_, fields, end) => {
    await using upstream = await openUpstream((socket, text) => {
      if (text.endsWith(end)) socket.write(okay);
    });
    await using hop = await openLinkHop(upstream.port);
    using client = await openClient(hop.linkPort);
    const { status } = await client.ask(
      [...http2Post, ...fieldsOf(...fields)],
      "abc",
      fieldsOf(["x-t", "y"]),
    );

    expect(status).toBe(200);
    expect(upstream.received[0]?.endsWith(end)).toBe(true);
  });

  test.each(hops)(
    "that are forbidden are refused while the application waits for them: %s",
    async (_, open) => {
      await using upstream = await openUpstream(() => {});
      await using hop = await open(upstream.port);
      using client = new RawClient(hop.port).send(chunked + body.slice(0, -3));
      await until(() => upstream.received[0]?.endsWith("abc\r\n") === true);
      client.send("0\r\nAuthorization: x\r\n\r\n");
      await until(() => client.hasEnded && upstream.sockets[0]?.destroyed === true);

      expect(client.text).toMatch(/^HTTP\/1.1 400 [^]*trailer-forbidden/);
      expect(upstream.received[0]).not.toMatch(/0\r\n[^]*\r\n\r\n$/);
    },
  );

  test.each(hops)("that are forbidden break off an answer that has begun: %s", async (_, open) => {
    await using upstream = await openUpstream((socket, text) => {
      if (text.endsWith("abc\r\n")) socket.write(`${okayInChunks}\r\n2\r\nok\r\n`);
    });
    await using hop = await open(upstream.port);
    using client = new RawClient(hop.port).send(chunked + body.slice(0, -3));
    await until(() => client.text.includes("ok"));
    client.send("0\r\nAuthorization: x\r\n\r\n");
    await until(() => client.isClosed && upstream.sockets[0]?.destroyed === true);

    expect(client.errorCode).toBe("ECONNRESET");
    expect("events" in hop ? hop.events : hop.outer).toMatchObject([
      { status: 200, error: "trailer-forbidden" },
    ]);
  });

  test.each([
    ["is forbidden", ["x-forwarded-for", "1"], "trailer-forbidden"],
    ["says who asks", ["x-forwarded-user", "root"], "trailer-forbidden"],
    ["says where one asks from", ["forwarded", "for=1"], "trailer-forbidden"],
    ["CGI would confuse with another", ["x_a", "1"], "trailer-malformed"],
  ] as const)("over HTTP/2 one of which %s are refused", async (_, trailer, reason) => {
    await using upstream = await openUpstream(() => {});
    await using hop = await openLinkHop(upstream.port);
    using client = await openClient(hop.linkPort);
    const outcome = await client.ask(http2Post, "abc", fieldsOf(trailer));

    expect(outcome).toMatchObject({ status: 400, body: expect.stringContaining(reason) });
    expect(hop.inner).toMatchObject([{ status: 400, error: reason }]);
  });

  test("may be as many and as long as is said, and no more", async () => {
    await using upstream = await openUpstream((socket, text) => {
      if (text.endsWith("\r\n\r\n") && text.includes("0\r\nx")) socket.write(okay);
    });
    await using hop = await openHop(upstream.port);
    const most = "x: y\r\n".repeat(trailersMax);
    const longest = `x: ${"y".repeat(trailerBytesMax - 7)}\r\n`;
    const statuses: string[] = [];
    for (const trailers of [most, `${most}x: y\r\n`, longest, `x${longest}`]) {
      using client = new RawClient(hop.port).send(`${chunked}${body}${trailers}\r\n`);
      await until(() => client.text.includes("\r\n\r\n"));
      statuses.push(client.text.slice(9, 12));
    }

    expect(statuses).toEqual(["200", "431", "200", "431"]);
  });
});

describe("trailers of a response", () => {
  test.each(hops)("arrive, announced or not: %s", async (_, open) => {
    await using upstream = await openUpstream((socket) =>
      socket.write(`${okayInChunks}Trailer: x-t\r\n\r\n2\r\nok\r\n0\r\nX-T: y\r\nx-u: z\r\n\r\n`),
    );
    await using hop = await open(upstream.port);
    using client = new RawClient(hop.port).send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    await until(() => client.text.endsWith("\r\n0\r\nx-t: y\r\nx-u: z\r\n\r\n"));

    expect(client.text).toMatch(/\r\ntrailer: x-t\r\n/i);
  });

  test.each(hops)("after an empty body arrive: %s", async (_, open) => {
    await using upstream = await openUpstream((socket) =>
      socket.write(`${okayInChunks}\r\n0\r\nx-t: y\r\n\r\n`),
    );
    await using hop = await open(upstream.port);
    using client = new RawClient(hop.port).send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    await until(() => client.text.endsWith("\r\n\r\n0\r\nx-t: y\r\n\r\n"));

    expect(client.text).toContain("Transfer-Encoding: chunked\r\n");
  });

  test.each(hops)(
    "are left out for a client of HTTP/1.0, which has no place for them: %s",
    async (_, open) => {
      await using upstream = await openUpstream((socket) =>
        socket.write(`${okayInChunks}\r\n2\r\nok\r\n0\r\nx-t: y\r\n\r\n`),
      );
      await using hop = await open(upstream.port);
      using client = new RawClient(hop.port).send("GET / HTTP/1.0\r\nHost: a\r\n\r\n");
      await until(() => client.hasEnded);

      expect(client.text).toBe("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nok");
    },
  );

  test("arrive at a client of HTTP/2, with and without a body before them", async () => {
    await using upstream = await openUpstream((socket, text) =>
      socket.write(`${okayInChunks}\r\n${text.includes("/empty") ? "" : "2\r\nok\r\n"}0\r\nx-t: y\r\n\r\n`),
    );
    await using hop = await openLinkHop(upstream.port);
    using client = await openClient(hop.linkPort);
    const get = fieldsOf([":method", "GET"], [":scheme", "http"], [":authority", "a"]);
    const whole = await client.ask([...get, ...fieldsOf([":path", "/a"])]);
    const empty = await client.ask([...get, ...fieldsOf([":path", "/empty"])]);

    expect([whole.body, empty.body]).toEqual(["ok", ""]);
    expect(
      [whole, empty].map(({ trailers }) => trailers?.map(({ name, value }) => `${name}: ${value}`)),
    ).toEqual([["x-t: y"], ["x-t: y"]]);
  });

  test.each(hops)("that are forbidden are no part of an answer: %s", async (_, open) => {
    await using upstream = await openUpstream((socket, text) => {
      socket.write(`${okayInChunks}\r\n${text.includes("/late") ? "2\r\nok\r\n" : ""}`);
      setTimeout(() => socket.write("0\r\nSet-Cookie: a\r\n\r\n"), text.includes("/late") ? 30 : 0);
    });
    await using hop = await open(upstream.port);
    using late = new RawClient(hop.port).send("GET /late HTTP/1.1\r\nHost: a\r\n\r\n");
    await until(() => late.isClosed);

    expect(late.text).toMatch(/2\r\nok\r\n$/);
    expect(late.errorCode).toBe("ECONNRESET");
  });
});
