import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { aWhile, openHop, openUpstream, RawClient, until } from "../../../test/fuzz/http1-hop.ts";
import { openLinkHop } from "../../../test/fuzz/link-hop.ts";
import { problemAnswer } from "./problem-answer.ts";

const get = "GET /a HTTP/1.1\r\nHost: a\r\n\r\n";
const okay = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const chunkedHead = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";

describe("requests that come together", () => {
  const requests = [
    "GET /0 HTTP/1.1\r\nHost: a\r\n\r\n",
    "POST /1 HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nGET /",
    `POST /2 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nx-t: GET /\r\n\r\n`,
    "HEAD /3 HTTP/1.1\r\nHost: a\r\n\r\n",
    "POST /4 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "PUT /5 HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n",
    "GET /6 HTTP/1.1\r\nHost: a\r\n\r\n",
  ];

  test.each([
    ["one proxy", openHop],
    ["two", openLinkHop],
  ])(
    "are answered in order, whatever bodies they have and however they are cut: %s",
    async (_, open) => {
      await using upstream = await openUpstream((socket, text, index) => {
        const whole = wholeRequests(text);
        for (const path of whole.slice(answered[index] ?? 0)) {
          const isHead = path.startsWith("HEAD");
          socket.write(`HTTP/1.1 200 OK\r\nContent-Length: ${path.length}\r\n\r\n${isHead ? "" : path}`);
        }
        answered[index] = whole.length;
      });
      const answered: number[] = [];
      await using hop = await open(upstream.port);
      const text = requests.join("");
      const expected = requests
        .map((request) => request.split(" ", 2).join(" "))
        .map((path) => `${path.length}|${path.startsWith("HEAD") ? "" : path}`)
        .join("");

      await fc.assert(
        fc.asyncProperty(fc.array(fc.nat(text.length), { maxLength: 8 }), async (cuts) => {
          using client = new RawClient(hop.port);
          for (const piece of cut(text, cuts)) {
            client.send(piece);
            await new Promise((resolve) => setImmediate(resolve));
          }
          await until(() => client.text.includes("GET /6"));
          const seen = client.text.replaceAll(/HTTP\/1.1 200 OK\r\ncontent-length: (\d+)\r\n\r\n/gi, "$1|");
          expect(seen).toBe(expected);
        }),
        { numRuns: 60 },
      );
      expect(hop.faults).toEqual([]);
    },
    30_000,
  );

  test.each([
    ["a head that is refused", "GET  /b HTTP/1.1\r\n\r\n", 400],
    ["a chunk that is none", `${chunkedHead}zz\r\n`, 400],
    ["a trailer that is forbidden", `${chunkedHead}0\r\nhost: b\r\n\r\n`, 400],
    ["a body declared too large", `POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 11\r\n\r\n0123456789a`, 413],
    ["a chunked body too large", `${chunkedHead}b\r\n0123456789a\r\n0\r\n\r\n`, 413],
    ["a request that asks for the end", get.replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n"), 200],
    ["a request of HTTP/1.0", "GET / HTTP/1.0\r\n\r\n", 200],
  ])("are answered up to the first that ends the connection, with it: %s", async (_, request, status) => {
    await using upstream = await openUpstream((socket) => socket.write(okay));
    await using hop = await openHop(upstream.port, { limits: { requestBodyBytesMax: 10 } });
    using client = new RawClient(hop.port).send(get + request + get);
    await until(() => client.hasEnded);

    expect(client.text.match(/HTTP\/1.1 \d+/g)).toEqual(["HTTP/1.1 200", `HTTP/1.1 ${status}`]);
    expect(client.text.split("Connection: close\r\n")).toHaveLength(2);
    expect(hop.events.map((event) => event.status)).toEqual([200, status]);
  });

  test("are read on behind an answer of the proxy's own to a whole body, in chunks and with trailers", async () => {
    await using upstream = await openUpstream((socket) => socket.write(okay));
    await using hop = await openHop(upstream.port, {
      decide: ({ method }, forward) =>
        method === "GET" ? forward : problemAnswer({ status: 403, reason: "no-rule" }),
    });
    using client = new RawClient(hop.port);
    client.send(`${chunkedHead}3\r\nabc\r\n0\r\nx-t: y\r\n\r\n${get}`);
    await until(() => client.text.endsWith("ok"));

    expect(client.text.match(/HTTP\/1.1 \d+/g)).toEqual(["HTTP/1.1 403", "HTTP/1.1 200"]);
    expect(hop.events).toMatchObject([{ status: 403, requestBytes: 3 }, { status: 200 }]);
  });

  test("are answered in turn and not in depth, however many come at once", async () => {
    const answer = { ...problemAnswer({ status: 204, reason: "x" }), headers: Buffer.alloc(0) };
    await using hop = await openHop(1, { decide: () => answer });
    using client = new RawClient(hop.port).send("GET / HTTP/1.1\r\nHost:a\r\n\r\n".repeat(10_000));
    await until(() => hop.events.length === 10_000);

    expect(client.isClosed).toBe(false);
  });

  test("do not reach the application before the one ahead of them is answered, and wait unread", async () => {
    const answers: (() => void)[] = [];
    await using upstream = await openUpstream((socket) => answers.push(() => socket.write(okay)));
    await using hop = await openHop(upstream.port);
    using client = new RawClient(hop.port).send(get);
    await until(() => answers.length === 1);
    client.socket.write(Buffer.from(get.repeat(100_000), "latin1"));
    await aWhile();

    expect(upstream.received).toEqual([expect.stringMatching(/^GET [^]{0,80}\r\n\r\n$/)]);
    expect(hop.clientSockets[0]?.bytesRead).toBeLessThan(300_000);
    expect(hop.clientSockets[0]?.isPaused()).toBe(true);
  });
});

function cut(text: string, places: readonly number[]): string[] {
  const pieces: string[] = [];
  let from = 0;
  for (const place of places.toSorted((one, other) => one - other)) {
    pieces.push(text.slice(from, place));
    from = place;
  }
  return [...pieces, text.slice(from)].filter((piece) => piece !== "");
}

/** Method and target of each request that is there as a whole. */
function wholeRequests(text: string): string[] {
  const found: string[] = [];
  for (let at = 0; ; ) {
    const end = text.indexOf("\r\n\r\n", at) + 4;
    if (end < 4) return found;
    const head = text.slice(at, end);
    const length = Number(/\r\ncontent-length: (\d+)/i.exec(head)?.[1] ?? 0);
    let bodyEnd = end + length;
    if (/transfer-encoding: chunked/i.test(head)) {
      const last = /0\r\n(?:x-t: GET \/\r\n)?\r\n/.exec(text.slice(end));
      if (last === null) return found;
      bodyEnd = end + last.index + last[0].length;
    }
    if (bodyEnd > text.length) return found;
    found.push(head.split(" ", 2).join(" "));
    at = bodyEnd;
  }
}
