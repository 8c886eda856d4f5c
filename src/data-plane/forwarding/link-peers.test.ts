import http2 from "node:http2";
import type { Socket } from "node:net";
import { describe, expect, test } from "vitest";
import { openUpstream, RawClient, until } from "../../../test/fuzz/http1-hop.ts";
import { fieldsOf, openClient } from "../../../test/fuzz/http2-peers.ts";
import { type LinkHop, type LinkHopOptions, openLinkHop } from "../../../test/fuzz/link-hop.ts";
import { CoarseTimer } from "../coarse-timer.ts";
import {
  attachSocket,
  type HeaderField,
  type Http2Stream,
  ServerSession,
  type StreamHandler,
} from "../http2/index.ts";

const okay = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const get = "GET /a HTTP/1.1\r\nHost: a\r\n\r\n";
const ask = [
  [":method", "GET"],
  [":scheme", "http"],
  [":path", "/a"],
  [":authority", "a"],
] as const;

const withLength = [["content-length", "2"]] as const;
const announced = [...withLength, ["trailer", "digest"]] as const;

describe("a request of a peer that is not ours", () => {
  test("reaches the application without what is for neighbours or reserved to Troth, its cookie in one piece", async () => {
    await using upstream = await openUpstream((socket) => socket.write(okay));
    await using hop = await openLinkHop(upstream.port);
    using client = await openClient(hop.linkPort);
    const { status, body } = await client.ask(
      fieldsOf(
        [":method", "POST"],
        [":scheme", "https"],
        [":path", "/x/../%7ey?q"],
        [":authority", "A.shop"],
        ["host", "a.shop"],
        ["cookie", "a=1"],
        ["x-forwarded-client-cert", "By=spiffe://evil"],
        ["troth-request-token", "forged"],
        ["proxy-authorization", "x"],
        ["te", "trailers"],
        ["cookie", "b=2"],
        ["x-kept", "yes"],
      ),
      "abc",
    );

    expect([status, body]).toEqual([200, "ok"]);
    expect(upstream.received[0]).toBe(
      "POST /~y?q HTTP/1.1\r\nHost: a.shop\r\nConnection: TE\r\nTE: trailers\r\nx-kept: yes\r\ncookie: a=1; b=2\r\nTransfer-Encoding: chunked\r\n" +
        "X-Added: inside\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    );
  });

  test.each([
    ["an unknown method", [[":method", "BREW"], ...ask.slice(1)], 501, "method-unknown"],
    [
      "a method that opens a tunnel to us",
      [[":method", "TRACE"], ...ask.slice(1)],
      501,
      "method-unsupported",
    ],
    ["no authority", ask.slice(0, 3), 400, "host-missing"],
    ["an authority that is no host", [...ask.slice(0, 3), [":authority", "a,b"]], 400, "host-invalid"],
    ["a path out of the root", [...ask.slice(0, 2), [":path", "/%zz"], [":authority", "a"]], 400, "target-"],
    ["a name that CGI would confuse", [...ask, ["x_a", "1"]], 400, "header-name-underscore"],
    ["another expectation", [...ask, ["expect", "a-miracle"]], 417, "expectation-unsupported"],
    [
      "too many fields",
      [...ask, ...Array.from({ length: 101 }, () => ["x-a", "1"] as const)],
      431,
      "too-many-headers",
    ],
    ["too large a head", [...ask, ["x-a", "1".repeat(17_000)]], 431, "head-too-large"],
  ] as const)("with %s is refused", async (_, pairs, status, reason) => {
    await using upstream = await openUpstream(() => {});
    await using hop = await openLinkHop(upstream.port);
    using client = await openClient(hop.linkPort);
    const outcome = await client.ask(fieldsOf(...pairs));

    expect(outcome.status).toBe(status);
    expect(outcome.body).toContain(reason);
    expect(hop.inner).toMatchObject([{ request: undefined, status }]);
    expect(upstream.sockets).toEqual([]);
  });

  test("with a trailer reaches the application with it", async () => {
    await using upstream = await openUpstream((socket, text) => {
      if (text.endsWith("0\r\ndigest: x\r\n\r\n")) socket.write(okay);
    });
    await using hop = await openLinkHop(upstream.port);
    using client = await openClient(hop.linkPort);
    const post = fieldsOf([":method", "POST"], ...ask.slice(1));
    const outcome = await client.ask(post, "abc", fieldsOf(["digest", "x"]));

    expect(outcome.status).toBe(200);
    expect(upstream.received[0]).toMatch(/\r\n\r\n3\r\nabc\r\n0\r\ndigest: x\r\n\r\n$/);
  });

  test("with a trailer that no message may end with is refused: trailer-forbidden", async () => {
    await using upstream = await openUpstream(() => {});
    await using hop = await openLinkHop(upstream.port);
    using client = await openClient(hop.linkPort);
    const post = fieldsOf([":method", "POST"], ...ask.slice(1));
    const outcome = await client.ask(post, "abc", fieldsOf(["authorization", "x"]));

    expect(outcome.status).toBe(400);
    expect(upstream.received[0] ?? "").not.toMatch(/0\r\n\r\n$/);
  });

  test.each([
    ["65 trailers", Array.from({ length: 65 }, (_, place) => [`x-${place}`, "y"] as const), 431],
    ["9 KiB of trailers", [["x", "y".repeat(9_000)] as const], 431],
    ["a trailer that CGI confuses with another", [["x_y", "z"] as const], 400],
  ])("with %s is refused as over HTTP/1.1", async (_, trailers, status) => {
    await using upstream = await openUpstream(() => {});
    await using hop = await openLinkHop(upstream.port);
    using client = await openClient(hop.linkPort);
    const post = fieldsOf([":method", "POST"], ...ask.slice(1));
    const outcome = await client.ask(post, "abc", fieldsOf(...trailers));

    expect(outcome.status).toBe(status);
  });

  test("of Node's own HTTP/2 client is answered, with its body and with many others", async () => {
    await using upstream = await openUpstream((socket, text) => {
      const last = text.slice(text.lastIndexOf(" /a HTTP/1.1") - 3);
      if (last.endsWith(last.startsWith("GET") ? "\r\n\r\n" : "\r\n0\r\n\r\n")) socket.write(okay);
    });
    await using hop = await openLinkHop(upstream.port);
    const session = http2.connect(`http://127.0.0.1:${hop.linkPort}`);
    const one = (method: string): Promise<string> =>
      new Promise((resolve, reject) => {
        const request = session.request({ ":method": method, ":path": "/a", ":authority": "a" });
        let text = "";
        request.setEncoding("latin1");
        request.on("data", (piece: string) => {
          text += piece;
        });
        request.on("end", () => resolve(text));
        request.on("error", reject);
        request.end(method === "PUT" ? "x".repeat(200_000) : undefined);
      });
    const answers = await Promise.all(
      Array.from({ length: 40 }, (_, place) => one(place % 4 === 0 ? "PUT" : "GET")),
    );
    session.destroy();

    expect(new Set(answers)).toEqual(new Set(["ok"]));
    expect(hop.inner.filter(({ requestBytes }) => requestBytes === 200_000)).toHaveLength(10);
  });
});

describe("an answer of a peer that is not ours", () => {
  test("comes without what is for neighbours or reserved to Troth", async () => {
    await using hop = await openPeer((stream) =>
      answer(stream, [
        ["x-forwarded-client-cert", "a"],
        ["troth-verdict", "allow"],
        ["proxy-authenticate", "x"],
        ["te", "trailers"],
        ["trailer", "content-length"],
        ["x-kept", "yes"],
      ]),
    );
    using client = new RawClient(hop.port).send(get);
    await until(() => client.text.endsWith("0\r\n\r\n"));

    expect(client.text).toBe(
      "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nx-kept: yes\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    );
  });

  test("that refuses the stream unseen lets the request go again, whatever its method", async () => {
    let seen = 0;
    await using hop = await openPeer((stream) => {
      seen += 1;
      if (seen <= 2) return undefined;
      return answer(stream, [["content-length", "2"]]);
    });
    using client = new RawClient(hop.port);
    client.send("POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc");
    await until(() => client.text.endsWith("ok"));

    expect(seen).toBe(3);
  });

  test("that refuses for ever is an end: upstream-reset", async () => {
    await using hop = await openPeer(() => undefined);
    using client = new RawClient(hop.port).send(get);
    await until(() => client.text.endsWith("}\n"));

    expect(client.text).toMatch(/^HTTP\/1.1 502 .*upstream-reset/s);
  });

  test("that refuses after more of the body has left than is kept is an end: upstream-reset", async () => {
    await using hop = await openPeer((stream) => ({
      ...silent,
      onData: (_, start, end) => {
        stream.consume(end - start);
        if (end - start > 3) stream.reset(7);
      },
    }));
    using client = new RawClient(hop.port);
    client.send("POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nabc");
    await until(() => hop.linkSockets[0] !== undefined && hop.link.load === 1);
    await new Promise((resolve) => setTimeout(resolve, 20));
    client.send("defghi");
    await until(() => client.text.endsWith("}\n"));

    expect(client.text).toMatch(/^HTTP\/1.1 502 .*upstream-reset/s);
  });

  test.each([
    ["more than it said", [["content-length", "1"]], undefined],
    ["a trailer that is a credential", [], [["set-cookie", "x"]]],
  ] as const)("with %s is no answer", async (_, fields, trailers) => {
    await using hop = await openPeer((stream) => answer(stream, fields, trailers));
    using client = new RawClient(hop.port).send(get);
    await until(() => client.isClosed || client.text.endsWith("}\n"));

    expect(client.text).not.toMatch(/ok$/);
    expect(hop.outer[0]?.error).toMatch(/^upstream-/);
  });
});

describe("a response with trailers", () => {
  test.each([
    ["in chunks, where it has no length", [], "transfer-encoding: chunked", "0\r\ndigest: x\r\n\r\n"],
    ["in chunks, where it announces them", announced, "transfer-encoding: chunked", "0\r\ndigest: x\r\n\r\n"],
    ["without them, where a length leaves them no place", withLength, "content-length: 2", "\r\n\r\nok"],
  ] as const)("comes to a client of HTTP/1.1 %s", async (_, fields, framing, end) => {
    await using hop = await openPeer((stream) => answer(stream, fields, [["digest", "x"]]));
    using client = new RawClient(hop.port).send(get);
    await until(() => client.text.endsWith(end));

    expect(client.text.toLowerCase()).toContain(framing);
    expect(hop.outer).toMatchObject([{ status: 200, responseBytes: 2 }]);
  });
});

const silent: StreamHandler = {
  onData: () => {},
  onEnd: () => {},
  onReset: () => {},
  onWritable: () => {},
  onDeadline: () => {},
};

/** Answers with `ok` once the request is complete. */
function answer(
  stream: Http2Stream,
  fields: readonly (readonly [string, string])[],
  trailers?: readonly (readonly [string, string])[],
): StreamHandler {
  return {
    ...silent,
    onData: (_, start, end) => stream.consume(end - start),
    onEnd: () => {
      stream.sendHead(fieldsOf([":status", "200"], ...fields), false);
      stream.sendData(Buffer.from("ok"), 0, 2, trailers === undefined);
      if (trailers !== undefined) stream.sendTrailers(fieldsOf(...trailers));
    },
  };
}

/** A proxy of ours whose peer is a bare server of HTTP/2. */
async function openPeer(
  onRequest: (stream: Http2Stream, fields: readonly HeaderField[]) => StreamHandler | undefined,
): Promise<LinkHop> {
  const timer = new CoarseTimer({ nowSeconds: () => 0, monotonicMillis: () => 0 });
  const serve: LinkHopOptions["serve"] = (socket: Socket) => {
    const owner = {
      onRequest: (stream: Http2Stream, { fields }: { fields: readonly HeaderField[] }) =>
        onRequest(stream, fields),
    };
    attachSocket(socket, new ServerSession(owner, { transport: socket, timer, schedule: setImmediate }));
  };
  return openLinkHop(1, { serve });
}
