import { describe, expect, test } from "vitest";
import { fakeClock } from "../../../test/fakes/fake-clock.ts";
import { aWhile, openUpstream, RawClient, until } from "../../../test/fuzz/http1-hop.ts";
import { fieldsOf, openClient } from "../../../test/fuzz/http2-peers.ts";
import { type LinkHop, type LinkHopOptions, openLinkHop } from "../../../test/fuzz/link-hop.ts";
import { fail } from "../../base/result.ts";
import { CoarseTimer } from "../coarse-timer.ts";
import type { HeaderField } from "../http2/index.ts";
import { type Answer, ConnectionPool, defaultPoolLimits, openTcp, problemAnswer } from "./index.ts";

const get = "GET /a HTTP/1.1\r\nHost: a\r\n\r\n";
const post = "POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc";
const chunked =
  "POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nx-t: y\r\n\r\n";
const okay = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const call = fieldsOf(
  [":method", "POST"],
  [":scheme", "http"],
  [":path", "/shop.Orders/Place"],
  [":authority", "a"],
  ["content-type", "application/grpc"],
  ["te", "trailers"],
);

describe("a request that reached no application", () => {
  test.each([
    ["a proxy", true],
    ["another client", false],
  ])(
    "is answered with word of it to %s, as a plain answer and as one of gRPC: %s",
    async (_, isClientProxy) => {
      await using hop = await openLinkHop(1, { isClientProxy });
      using client = await openClient(hop.linkPort);
      const plain = await client.ask(call.slice(0, 4), "abc");
      const grpc = await client.ask(call, "abc");

      expect(plain).toMatchObject({ status: 502, body: expect.stringContaining("upstream-connect-failed") });
      expect(valueOf(grpc.fields, "grpc-status")).toBe("14");
      expect(valueOf(grpc.fields, "grpc-message")).toContain("upstream-connect-failed");
      const word = isClientProxy ? "none" : undefined;
      expect([plain, grpc].map(({ fields }) => valueOf(fields, "troth-delivery"))).toEqual([word, word]);
    },
  );

  test.each([
    ["not said to have where it may have been sent", "POST", "upstream-reset", undefined],
    ["said to have where it may be sent twice", "GET", "upstream-connect-failed", "none"],
  ])("is %s: %s", async (_, method, reason, said) => {
    await using upstream = await openUpstream((socket, text) => {
      if (text.indexOf("\r\n\r\n") + 4 === text.length) socket.write(okay);
      else socket.destroy();
    });
    let isThere = true;
    const open = openTcp({ host: "127.0.0.1", port: upstream.port });
    await using hop = await openLinkHop(upstream.port, {
      openApp: async (...args) => (isThere ? open(...args) : fail("connect-failed", "gone")),
    });
    using client = await openClient(hop.linkPort);
    const first = await client.ask(fieldsOf([":method", "GET"], ...pairsOf(call.slice(1, 4))));
    isThere = false;
    const second = await client.ask(fieldsOf([":method", method], ...pairsOf(call.slice(1, 4))));

    expect([first.status, second.status]).toEqual([200, 502]);
    expect(second.body).toContain(reason);
    expect(valueOf(second.fields, "troth-delivery")).toBe(said);
  });

  test("is said to have when its application dies over it before a byte of an answer, if it may be sent twice", async () => {
    await using upstream = await openUpstream((socket) => socket.destroy());
    await using hop = await openLinkHop(upstream.port);
    using client = await openClient(hop.linkPort);
    const said: unknown[] = [];
    for (const method of ["GET", "POST"]) {
      const { status, fields } = await client.ask(
        fieldsOf([":method", method], ...pairsOf(call.slice(1, 4))),
      );
      said.push(status, valueOf(fields, "troth-delivery"));
    }

    expect(said).toEqual([502, "none", 502, undefined]);
  });

  test("is not said to have where the application has too much to do", async () => {
    await using upstream = await openUpstream(() => {});
    const timer = new CoarseTimer(fakeClock());
    const full = new ConnectionPool(
      openTcp({ host: "127.0.0.1", port: upstream.port }),
      { ...defaultPoolLimits, waitingMax: 0 },
      timer,
    );
    await using hop = await openLinkHop(1, { toUpstream: full });
    using client = await openClient(hop.linkPort);
    const { status, fields } = await client.ask(fieldsOf([":method", "GET"], ...pairsOf(call.slice(1, 4))));
    full.close();

    expect([status, valueOf(fields, "troth-delivery")]).toEqual([503, undefined]);
  });
});

describe("a request that a proxy has not passed on", () => {
  test.each([
    ["GET", get],
    ["POST", post],
    ["POST in chunks with a trailer", chunked],
  ])("goes to another instance: %s", async (_, request) => {
    await using upstream = await openUpstream((socket) => socket.write(okay));
    await using pair = await openPair(1, upstream.port);
    using client = new RawClient(pair.hop.port).send(request);
    await until(() => client.text !== "");

    expect(client.text.toLowerCase()).toBe(okay.toLowerCase());
    expect(upstream.received).toHaveLength(1);
    expect(pair.hop.avoided).toEqual([pair.hop.link]);
    expect(pair.hop.outer).toMatchObject([{ status: 200 }]);
    expect([pair.hop.inner, pair.other.inner]).toMatchObject([
      [{ error: "upstream-connect-failed" }],
      [{ status: 200 }],
    ]);
    expect([pair.hop.link.load, pair.hop.otherLink.load]).toEqual([0, 0]);
  });

  test("goes to another instance where it came over HTTP/2 without a body", async () => {
    await using upstream = await openUpstream((socket) => socket.write(okay));
    await using pair = await openPair(1, upstream.port, { takesHttp2: true });
    using client = await openClient(pair.hop.port);
    const outcome = await client.ask(fieldsOf([":method", "GET"], ...pairsOf(call.slice(1, 4))));

    expect(outcome).toMatchObject({ status: 200, body: "ok" });
    expect(upstream.received[0]).not.toMatch(/transfer-encoding|content-length/i);
  });

  test("goes to another instance as a call of gRPC, whose word of it came without a body", async () => {
    await using upstream = await openUpstream((socket, text) => {
      if (text.endsWith("0\r\n\r\n"))
        socket.write(
          "HTTP/1.1 200 OK\r\nContent-Type: application/grpc\r\nTransfer-Encoding: chunked\r\n\r\n" +
            "2\r\nok\r\n0\r\ngrpc-status: 0\r\n\r\n",
        );
    });
    await using pair = await openPair(1, upstream.port, { takesHttp2: true });
    using client = await openClient(pair.hop.port);
    const outcome = await client.ask(call, "abc");

    expect(outcome).toMatchObject({ status: 200, body: "ok", reset: undefined });
    expect(valueOf(outcome.trailers ?? [], "grpc-status")).toBe("0");
    expect(pair.hop.avoided).toEqual([pair.hop.link]);
  });

  test.each([
    ["a plain one", false],
    ["a call of gRPC", true],
  ])(
    "is answered with the second refusal, which says nothing of delivery to the client: %s",
    async (_, isGrpc) => {
      await using pair = await openPair(1, 1, { takesHttp2: true });
      using client = await openClient(pair.hop.port);
      const outcome = await client.ask(isGrpc ? call : call.slice(0, 4), "abc");

      expect(outcome.status).toBe(isGrpc ? 200 : 502);
      expect(outcome.fields.some(({ name }) => name.startsWith("troth-"))).toBe(false);
      expect([pair.hop.inner.length, pair.other.inner.length]).toEqual([1, 1]);
    },
  );

  test.each([
    ["nobody else is there", post, says("none"), false],
    ["the line says something else", post, says("some"), true],
    ["there is no such line", post, problemAnswer({ status: 502, reason: "upstream-connect-failed" }), true],
  ] as const)("stays where it was sent when %s", async (_, request, answer, hasOther) => {
    await using upstream = await openUpstream((socket) => socket.write(okay));
    await using other = await openLinkHop(upstream.port);
    await using hop = await openLinkHop(1, {
      decide: () => answer,
      ...(hasOther ? { otherPort: other.linkPort } : {}),
    });
    using client = new RawClient(hop.port).send(request);
    await until(() => client.text.endsWith("}\n"));

    expect(client.text).toMatch(/^HTTP\/1.1 502 /);
    expect(client.text.toLowerCase()).not.toContain("troth-delivery");
    expect([hop.inner.length, upstream.received]).toEqual([1, []]);
  });

  test.each([
    ["to come", "", 502],
    ["on its way", "7\r\ndefghij\r\n", 502],
  ])("stays where it was sent when a part of the body is still %s", async (_, more, status) => {
    let refuse = (): void => {};
    await using upstream = await openUpstream((socket) => socket.write(okay));
    await using other = await openLinkHop(upstream.port);
    await using hop = await openLinkHop(1, {
      decide: () => new Promise<Answer>((resolve) => (refuse = () => resolve(says("none")))),
      otherPort: other.linkPort,
    });
    using client = new RawClient(hop.port).send(chunked.slice(0, chunked.indexOf("0\r\nx-t")));
    await until(() => hop.link.ready()?.streams === 1);
    await aWhile();
    if (more !== "") client.send(more);
    await aWhile();
    refuse();
    await until(() => client.text.endsWith("}\n"));

    expect(client.text).toMatch(new RegExp(`^HTTP/1.1 ${status} `));
    expect(upstream.received).toEqual([]);
  });

  test("stays where it was sent when a body that came in two parts is whole", async () => {
    await using upstream = await openUpstream((socket) => socket.write(okay));
    let refuse = (): void => {};
    await using other = await openLinkHop(upstream.port);
    await using hop = await openLinkHop(1, {
      decide: () => new Promise<Answer>((resolve) => (refuse = () => resolve(says("none")))),
      otherPort: other.linkPort,
    });
    using client = new RawClient(hop.port).send(chunked.slice(0, chunked.indexOf("0\r\nx-t")));
    await until(() => hop.link.ready()?.streams === 1);
    client.send("0\r\n\r\n");
    await aWhile();
    refuse();
    await until(() => client.text.endsWith("}\n"));

    expect(upstream.received).toEqual([]);
  });

  test("stays where it was sent when an application says so", async () => {
    const claim = okay.replace("200 OK", "502 Bad Gateway\r\nTroth-Delivery: none");
    await using upstream = await openUpstream((socket) => socket.write(claim));
    await using pair = await openPair(upstream.port, upstream.port);
    using client = new RawClient(pair.hop.port).send(get);
    await until(() => client.text.endsWith("ok"));

    expect(upstream.received).toHaveLength(1);
    expect(client.text.toLowerCase()).not.toContain("troth-delivery");
  });
});

/** Two instances: an outer proxy, its inner one before an application, and another inner one before another. */
async function openPair(
  port: number,
  otherPort: number,
  options: LinkHopOptions = {},
): Promise<{ readonly hop: LinkHop; readonly other: LinkHop } & AsyncDisposable> {
  const other = await openLinkHop(otherPort);
  const hop = await openLinkHop(port, { ...options, otherPort: other.linkPort });
  return {
    hop,
    other,
    [Symbol.asyncDispose]: async () => {
      await hop[Symbol.asyncDispose]();
      await other[Symbol.asyncDispose]();
    },
  };
}

/** An answer with the line, and this value of it. */
function says(value: string): Answer {
  const answer = problemAnswer({ status: 502, reason: "upstream-connect-failed", isUndelivered: true });
  const headers = Buffer.from(Buffer.from(answer.headers).toString().replace("none", value));
  return { ...answer, headers };
}

function valueOf(fields: readonly HeaderField[], name: string): string | undefined {
  return fields.find((field) => field.name === name)?.value;
}

function pairsOf(fields: readonly HeaderField[]): [string, string][] {
  return fields.map(({ name, value }) => [name, value]);
}
