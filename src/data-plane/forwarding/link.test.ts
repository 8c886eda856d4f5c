import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { aWhile, openHop, openUpstream, RawClient, until } from "../../../test/fuzz/http1-hop.ts";
import { refusedHeads } from "../../../test/fuzz/http1-refused-requests.ts";
import { openHttp2, openLinkHop } from "../../../test/fuzz/link-hop.ts";
import { ok, type Result } from "../../base/result.ts";
import { defaultHttp1Limits, scanRequestHead } from "../http1/index.ts";
import { type OpenedLink, problemAnswer } from "./index.ts";

const get = "GET /a HTTP/1.1\r\nHost: a\r\n\r\n";
const post = "POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc";
const okay = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const okayHere = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

describe("a request over the link", () => {
  test("keeps its meaning and loses what is for neighbours or reserved to Troth", async () => {
    await using upstream = await openUpstream((socket) => socket.write(okay));
    await using hop = await openLinkHop(upstream.port);
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
        "TE: trailers",
        "x-forwarded-client-CERT: By=spiffe://evil",
        "Troth-Request-Token: forged",
        "X-Removed: 1",
        "X-Outer: 1",
        "X-Kept:  \t kept \t",
        "X-Empty:",
        "Content-Length: 3",
        "X-Last: yes",
        "",
        "abc",
      ].join("\r\n"),
    );
    await until(() => client.text === okayHere);

    expect(upstream.received[0]).toBe(
      "POST /~y?q HTTP/1.1\r\nHost: a.shop\r\nConnection: TE\r\nTE: trailers\r\nx-kept: kept\r\nx-empty: \r\ncontent-length: 3\r\nx-last: yes\r\n" +
        "x-added-outside: yes\r\nX-Added: inside\r\n\r\nabc",
    );
    expect(hop.outer).toMatchObject([{ status: 200, requestBytes: 3, responseBytes: 2 }]);
    expect(hop.inner).toMatchObject([{ status: 200, requestBytes: 3, responseBytes: 2 }]);
  });

  test("reaches the application as it would over HTTP/1.1, in whatever pieces it comes", async () => {
    await using upstream = await openUpstream((socket, text) => {
      if (isWhole(text)) socket.end(okay.replace("\r\n", "\r\nConnection: close\r\n"));
    });
    await using direct = await openHop(upstream.port, {
      decide: (_, forward) =>
        forward.kind === "forward" ? { ...forward, edits: { remove: [], add: new Uint8Array(0) } } : forward,
    });
    await using linked = await openLinkHop(upstream.port);
    const through = async (port: number, text: string, cut: number): Promise<unknown> => {
      const before = upstream.received.length;
      using client = new RawClient(port);
      client.send(text.slice(0, cut));
      if (cut < text.length) setImmediate(() => client.send(text.slice(cut)));
      await until(() => client.text.includes("\r\n\r\n"), JSON.stringify(text));
      return upstream.received.length === before
        ? client.text.slice(0, 13)
        : meaningOf(upstream.received.at(-1) ?? "");
    };

    await fc.assert(
      fc.asyncProperty(anyRequest, fc.nat(400), async (text, cut) => {
        expect(await through(linked.port, text, cut)).toEqual(await through(direct.port, text, cut));
      }),
      { numRuns: 300 },
    );
    expect(linked.faults).toEqual([]);
  }, 60_000);

  test("that HTTP/1.1 refuses does not reach the other proxy", async () => {
    await using upstream = await openUpstream(() => {});
    await using hop = await openLinkHop(upstream.port);
    for (const { bytes, status } of refusedHeads) {
      using client = new RawClient(hop.port).send(bytes);
      await until(() => client.text !== "");
      expect(client.text).toMatch(new RegExp(`^HTTP/1.1 ${status} `));
    }

    expect([upstream.received, hop.linkSockets]).toEqual([[], []]);
  });

  test("shares one connection with all others, and a stream that nobody reads stops none of them", async () => {
    // More than the buffers of all sockets on the way hold.
    const large = 32_000_000;
    await using upstream = await openUpstream((socket, text) => {
      if (text.lastIndexOf("GET /large") > text.lastIndexOf("GET /a")) {
        socket.write(`HTTP/1.1 200 OK\r\nContent-Length: ${large}\r\n\r\n`);
        socket.write("x".repeat(large));
      } else socket.write(okay);
    });
    await using hop = await openLinkHop(upstream.port);
    using idle = new RawClient(hop.port).send(get.replace("/a", "/large"));
    idle.socket.pause();
    const clients = Array.from({ length: 50 }, () => new RawClient(hop.port));
    for (let round = 1; round <= 5; round += 1) {
      for (const client of clients) client.send(get);
      await until(() => clients.every(({ text }) => text === okayHere.repeat(round)));
    }
    idle.socket.resume();
    await until(() => idle.text.length > large);
    for (const client of clients) client.socket.destroy();

    expect(hop.linkSockets).toHaveLength(1);
    expect(idle.text.length - idle.text.indexOf("x")).toBe(large);
  });

  test.each([
    ["of a length", `Content-Length: 3000000`, "y".repeat(3_000_000)],
    [
      "in chunks",
      "Transfer-Encoding: chunked",
      `${"5000\r\n".padEnd(0x5000 + 6, "y")}\r\n`.repeat(150) + "0\r\n\r\n",
    ],
  ])("with a large body %s waits for an application that is slow", async (_, framing, body) => {
    await using upstream = await openUpstream((socket, text) => {
      if (text.length < 100_000) {
        socket.pause();
        setTimeout(() => socket.resume(), 5);
      }
      if (isWhole(text)) socket.write(okay);
    });
    await using hop = await openLinkHop(upstream.port);
    using client = new RawClient(hop.port);
    client.send(`POST /a HTTP/1.1\r\nHost: a\r\n${framing}\r\n\r\n${body}`);
    await until(() => client.text === okayHere);

    const [, received = ""] = /\r\n\r\n(.*)$/s.exec(upstream.received[0] ?? "") ?? [];
    expect(received.replaceAll(/[^y]/g, "").length).toBe(body.replaceAll(/[^y]/g, "").length);
    expect(hop.inner).toMatchObject([{ status: 200, requestBytes: body.replaceAll(/[^y]/g, "").length }]);
  });

  test("is decided on before anything of it reaches the application, and a denial comes back whole", async () => {
    await using upstream = await openUpstream(() => {});
    await using hop = await openLinkHop(upstream.port, {
      decide: async () => problemAnswer({ status: 403, reason: "no-rule" }),
    });
    using client = new RawClient(hop.port).send(post);
    await until(() => client.text.endsWith("}\n"));
    client.send(get);
    await until(() => client.text.split("no-rule").length > 3);

    expect(client.text).toMatch(/^HTTP\/1.1 403 Forbidden\r\ncontent-length: /);
    expect(upstream.sockets).toEqual([]);
    expect(hop.linkSockets).toHaveLength(1);
  });

  test("is answered 500 where its decision fails", async () => {
    await using upstream = await openUpstream(() => {});
    await using hop = await openLinkHop(upstream.port, {
      decide: () => {
        throw new Error("broken");
      },
    });
    using client = new RawClient(hop.port).send(get);
    await until(() => client.text.endsWith("}\n"));

    expect(client.text).toContain("decision-failed");
    expect([upstream.sockets, hop.faults.length]).toEqual([[], 1]);
  });

  test("of a client that goes away is given up by both proxies", async () => {
    await using upstream = await openUpstream(() => {});
    await using hop = await openLinkHop(upstream.port);
    const client = new RawClient(hop.port).send(get);
    await until(() => upstream.received[0] !== undefined && upstream.received[0] !== "");
    client.socket.resetAndDestroy();
    await until(() => upstream.sockets[0]?.destroyed === true);

    expect(hop.inner).toMatchObject([{ status: 0, error: "client-gone" }]);
    expect(hop.linkSockets[0]?.destroyed).toBe(false);
  });

  test("with a small body reaches the application with the whole of it, or not at all", async () => {
    await using upstream = await openUpstream((socket) => socket.write(okay));
    await using hop = await openLinkHop(upstream.port);
    using client = new RawClient(hop.port).send(post.slice(0, -1));
    using other = new RawClient(hop.port).send(post.slice(0, -1));
    await until(() => hop.link.load === 2);
    await aWhile();
    const before = [...upstream.received];
    client.send("c");
    await until(() => client.text === okayHere);
    hop.passSeconds(31);
    await until(() => other.text.endsWith("}\n"));

    expect(before).toEqual([]);
    expect(upstream.received).toEqual([expect.stringMatching(/\r\n\r\nabc$/)]);
    expect(other.text).toMatch(/^HTTP\/1.1 408 .*body-timeout/s);
  });

  test.each([
    ["a large body that does not come", post.replace("Length: 3", "Length: 90000"), 408, "body-timeout"],
    ["an answer that does not come", get, 504, "upstream-timeout"],
  ])("ends in time with %s", async (_, request, status, error) => {
    await using upstream = await openUpstream(() => {});
    await using hop = await openLinkHop(upstream.port);
    using client = new RawClient(hop.port).send(request);
    await until(() => upstream.received[0] !== undefined && upstream.received[0] !== "");
    hop.passSeconds(31);
    await until(() => client.text.endsWith("}\n"));

    expect(client.text).toMatch(new RegExp(`^HTTP/1.1 ${status} `));
    expect(hop.outer).toMatchObject([{ status, error }]);
  });
});

describe("a response over the link", () => {
  test.each([
    ["to HEAD", get.replace("GET", "HEAD"), "HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n"],
    ["204", get, "HTTP/1.1 204 No Content\r\n\r\n"],
    ["304", get, "HTTP/1.1 304 Not Modified\r\nContent-Length: 7\r\n\r\n"],
    ["of no length", get, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"],
    ["in chunks", get, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"],
    [
      "after hints",
      get,
      "HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\nHTTP/1.1 201 Created\r\nContent-Length: 1\r\n\r\nx",
    ],
  ])("%s is the same, and the client's connection goes on", async (_, request, response) => {
    await using upstream = await openUpstream((socket) => socket.write(response));
    await using hop = await openLinkHop(upstream.port);
    using client = new RawClient(hop.port).send(request);
    await until(() => client.text.toLowerCase() === response.toLowerCase());
    client.send(request);
    await until(() => client.text.toLowerCase() === (response + response).toLowerCase());

    expect([upstream.sockets.length, hop.linkSockets.length]).toEqual([1, 1]);
  });

  test("that ends with the application's connection comes in chunks", async () => {
    await using upstream = await openUpstream((socket) => socket.end("HTTP/1.1 200 OK\r\n\r\nhello"));
    await using hop = await openLinkHop(upstream.port);
    using client = new RawClient(hop.port).send(get);
    await until(() => client.text.endsWith("0\r\n\r\n"));

    expect(client.text).toBe("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n");
  });

  test("comes to a client of HTTP/1.0 in a form it knows, and then the end", async () => {
    await using upstream = await openUpstream((socket) =>
      socket.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"),
    );
    await using hop = await openLinkHop(upstream.port);
    using client = new RawClient(hop.port).send("GET / HTTP/1.0\r\nHost: a\r\n\r\n");
    await until(() => client.hasEnded);

    expect(client.text).toBe("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nabc");
  });

  test.each([
    ["of a length", "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc"],
    ["in chunks", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"],
  ])("%s that breaks off breaks the client's connection and no other", async (_, response) => {
    await using upstream = await openUpstream((socket) => {
      socket.write(response);
    });
    await using hop = await openLinkHop(upstream.port);
    using client = new RawClient(hop.port).send(get);
    await until(() => client.text.includes("abc"));
    upstream.sockets[0]?.end();
    await until(() => client.isClosed);

    expect(client.errorCode).toBe("ECONNRESET");
    expect(client.text).not.toMatch(/0\r\n\r\n$/);
    expect(hop.linkSockets[0]?.destroyed).toBe(false);
    expect(hop.outer).toMatchObject([{ error: "upstream-reset" }]);
  });

  test("that comes before the request's body ends the client's connection after it", async () => {
    await using upstream = await openUpstream((socket, text) => {
      if (text.endsWith("abc"))
        socket.write("HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\n\r\nbig");
    });
    await using hop = await openLinkHop(upstream.port);
    using client = new RawClient(hop.port).send(post.replace("Length: 3", "Length: 90000"));
    await until(() => client.hasEnded);

    expect(client.text).toBe(
      "HTTP/1.1 413 Payload Too Large\r\nConnection: close\r\ncontent-length: 3\r\n\r\nbig",
    );
    expect(hop.linkSockets[0]?.destroyed).toBe(false);
  });
});

describe("the connections of a link", () => {
  test("are replaced and ended without losing a request", async () => {
    await using upstream = await openUpstream((socket) => setTimeout(() => socket.write(okay), 2));
    await using hop = await openLinkHop(upstream.port);
    const clients = Array.from({ length: 20 }, () => new RawClient(hop.port));
    for (let round = 1; round <= 12; round += 1) {
      for (const [place, client] of clients.entries()) client.send(place % 2 === 0 ? get : post);
      if (round % 4 === 0) hop.endLinks();
      if (round % 4 === 2) hop.link.renew(0);
      hop.passSeconds(1);
      await until(() => clients.every(({ text }) => text.split("\r\n\r\nok").length === round + 1));
    }
    for (const client of clients) client.socket.destroy();

    expect(hop.outer.filter(({ status }) => status !== 200)).toEqual([]);
    expect(hop.linkSockets.length).toBeGreaterThan(5);
    await until(() => hop.linkSockets.filter(({ destroyed }) => !destroyed).length <= 1);
  });

  test("that break take a POST with them, and a GET goes on another", async () => {
    await using upstream = await openUpstream((socket, _, index) => {
      if (index > 1) socket.write(okay);
    });
    await using hop = await openLinkHop(upstream.port);
    using repeated = new RawClient(hop.port).send(get);
    using lost = new RawClient(hop.port).send(post);
    await until(() => upstream.received.filter((text) => text !== "").length === 2);
    hop.linkSockets[0]?.destroy();
    await until(() => repeated.text === okayHere && lost.text.endsWith("}\n"));

    expect(lost.text).toMatch(/^HTTP\/1.1 502 .*upstream-reset/s);
    expect([hop.linkSockets.length, hop.avoided]).toEqual([2, [hop.link]]);
  });

  test("carry nothing before the other side has let us in", async () => {
    await using upstream = await openUpstream(() => {});
    await using hop = await openLinkHop(upstream.port, { serve: (socket) => socket.destroy() });
    using client = new RawClient(hop.port).send(post);
    await until(() => client.text.endsWith("}\n"));

    expect(client.text).toMatch(/^HTTP\/1.1 502 .*upstream-connect-failed/s);
  });

  test("are given up when the other side says nothing: upstream-connect-timeout", async () => {
    await using upstream = await openUpstream(() => {});
    await using hop = await openLinkHop(upstream.port, { serve: () => {} });
    using client = new RawClient(hop.port).send(post);
    await until(() => hop.linkSockets.length === 1);
    hop.passSeconds(6);
    hop.passSeconds(1);
    await until(() => client.text.endsWith("}\n"));

    expect(client.text).toMatch(/^HTTP\/1.1 504 .*upstream-connect-timeout/s);
  });

  test("are left to HTTP/1.1 where the peer does not choose HTTP/2", async () => {
    await using upstream = await openUpstream((socket) => socket.write(okay));
    await using hop = await openLinkHop(upstream.port, { open: openHttp1 });
    using client = new RawClient(hop.port);
    for (let round = 1; round <= 3; round += 1) {
      client.send(post);
      await until(() => client.text === okay.repeat(round));
    }

    expect([upstream.sockets.length, hop.linkSockets.length, hop.inner]).toEqual([1, 1, []]);
  });

  test("are HTTP/2 a minute later where the peer has learnt it by then, and nobody waits for the question", async () => {
    await using upstream = await openUpstream((socket) => socket.write(okay));
    let knowsHttp2 = false;
    await using hop = await openLinkHop(upstream.port, {
      open: async (port) => (knowsHttp2 ? openHttp2(port) : openHttp1(port)),
    });
    using client = new RawClient(hop.port);
    const ask = async (expected: string): Promise<void> => {
      const before = client.text.length;
      client.send(post);
      await until(() => client.text.slice(before) === expected);
    };
    await ask(okay);
    hop.passSeconds(40);
    await ask(okay);
    hop.passSeconds(30);
    await ask(okay);
    await until(() => hop.linkSockets.length === 2);
    knowsHttp2 = true;
    await ask(okay);
    hop.passSeconds(40);
    await ask(okay);
    hop.passSeconds(30);
    await ask(okay);
    await until(() => hop.link.ready() !== undefined);
    await ask(okayHere);
    hop.endLinks();
    await until(() => hop.link.openCount === hop.link.idleCount && hop.link.ready() === undefined);
    await ask(okayHere);

    expect([hop.linkSockets.length, hop.inner.length]).toEqual([4, 2]);
  });

  test("are at most so many, and more requests than they have room for wait", async () => {
    const waiting: (() => void)[] = [];
    await using upstream = await openUpstream((socket) => waiting.push(() => socket.write(okay)));
    await using hop = await openLinkHop(upstream.port, {
      linkLimits: { sessionsMax: 2, waitingMax: 3 },
    });
    const clients = Array.from({ length: 256 + 256 + 3 + 2 }, () => new RawClient(hop.port).send(get));
    await until(() => clients.filter(({ text }) => text.includes("upstream-pool-exhausted")).length === 2);

    expect(hop.linkSockets).toHaveLength(2);
    expect(hop.link.waitingCount).toBe(3);
    for (const client of clients) client.socket.destroy();
  });
});

/** A peer that speaks HTTP/1.1 alone. */
async function openHttp1(port: number): Promise<Result<OpenedLink, string>> {
  const opened = await openHttp2(port);
  return opened.ok ? ok({ ...opened.value, isHttp2: false }) : opened;
}

const headerName = fc.constantFrom(
  "X-A",
  "x-b",
  "Accept",
  "Cookie",
  "TROTH-x",
  "Connection",
  "x-forwarded-client-cert",
  "X-C'",
);
const headerText = fc.constantFrom(
  "",
  "1",
  "a b",
  "close",
  "x-b",
  "keep-alive",
  "a,b;c",
  "\xe9",
  "  \t z ",
  "a=b",
);
const anyRequest = fc
  .tuple(
    fc.constantFrom("GET", "POST", "PUT", "HEAD", "OPTIONS", "DELETE", "QUERY"),
    fc.constantFrom("/", "/a/b?c=d", "/a/../b", "/%41", "http://a/x", "/?[x]={y}|`^", "/a%2Fb", "/~"),
    fc.array(fc.tuple(headerName, headerText), { maxLength: 6 }),
    fc.constantFrom("none", "length", "chunked"),
    fc.array(fc.constantFrom("a", "bb", "c".repeat(300), "0\r\n\r\n", "GET / HTTP/1.1\r\n\r\n"), {
      maxLength: 4,
    }),
  )
  .map(([method, target, headers, framing, pieces]) => {
    const lines = headers.map(([name, value]) => `${name}: ${value}\r\n`).join("");
    const head = `${method} ${target} HTTP/1.1\r\nHost: a\r\n${lines}`;
    const body = pieces.join("");
    if (framing === "none") return `${head}\r\n`;
    if (framing === "length") return `${head}Content-Length: ${body.length}\r\n\r\n${body}`;
    const chunks = pieces.map((piece) => `${piece.length.toString(16)}\r\n${piece}\r\n`).join("");
    return `${head}Transfer-Encoding: chunked\r\n\r\n${chunks}0\r\n\r\n`;
  });

/** What a request says: its head without what the proxies add, and its body without the coding. */
function meaningOf(text: string): unknown {
  const window = Buffer.from(text, "latin1");
  const head = scanRequestHead(window, 0, window.length, defaultHttp1Limits);
  if (head.kind !== "head") return text;
  const { method, target, host, framing, section } = head;
  const fields: string[] = [];
  for (let line = 0; line < section.lines; line += 1) {
    const name = window.toString("latin1", section.nameStart(line), section.nameEnd(line)).toLowerCase();
    const value = window.toString("latin1", section.valueStart(line), section.valueEnd(line));
    if (name !== "x-added" && name !== "x-added-outside") fields.push(`${name}: ${value}`);
  }
  const body = text.slice(section.end);
  return {
    method,
    target,
    host,
    framing: framing.kind,
    cookie: fields
      .filter((field) => field.startsWith("cookie: "))
      .join("; ")
      .replaceAll("; cookie: ", "; ")
      .trim(),
    fields: fields.filter((field) => !field.startsWith("cookie: ")).toSorted(),
    body: framing.kind === "chunked" ? withoutChunks(body) : body,
  };
}

function withoutChunks(body: string): string {
  let data = "";
  for (let at = 0; at < body.length; ) {
    const line = body.indexOf("\r\n", at);
    const size = Number.parseInt(body.slice(at, line), 16);
    if (size === 0) return data;
    data += body.slice(line + 2, line + 2 + size);
    at = line + 4 + size;
  }
  return data;
}

/** Whether one request is there as a whole. */
function isWhole(text: string): boolean {
  const end = text.indexOf("\r\n\r\n");
  if (end < 0) return false;
  const length = /\r\ncontent-length: ([0-9]+)\r\n/i.exec(text.slice(0, end + 2))?.[1];
  if (length !== undefined) return text.length >= end + 4 + Number(length);
  const isChunked = /\r\ntransfer-encoding: chunked\r\n/i.test(text.slice(0, end + 2));
  return !isChunked || endsWithLastChunk(text.slice(end + 4));
}

function endsWithLastChunk(body: string): boolean {
  for (let at = 0; at < body.length; ) {
    const line = body.indexOf("\r\n", at);
    if (line < 0) return false;
    const size = Number.parseInt(body.slice(at, line), 16);
    if (size === 0) return body.length >= line + 4;
    at = line + 4 + size;
  }
  return false;
}
