import { once } from "node:events";
import http2 from "node:http2";
import { createServer } from "node:net";
import { describe, expect, test } from "vitest";
import { fakeClock } from "../../../test/fakes/fake-clock.ts";
import { openUpstream, until } from "../../../test/fuzz/http1-hop.ts";
import { fieldsOf, openClient } from "../../../test/fuzz/http2-peers.ts";
import { openLinkHop } from "../../../test/fuzz/link-hop.ts";
import { CoarseTimer } from "../coarse-timer.ts";
import { noEdits } from "../http1/index.ts";
import { ConnectionPool } from "./connection-pool.ts";
import { openTcp } from "./open-tcp.ts";
import { defaultPoolLimits } from "./pool-limits.ts";
import { problemAnswer } from "./problem-answer.ts";
import { type Http2Connection, serveHttp2 } from "./serve-http2.ts";
import type { RequestObserver } from "./verdict.ts";

const get = fieldsOf([":method", "GET"], [":scheme", "http"], [":path", "/a"], [":authority", "a"]);
const call = fieldsOf(
  [":method", "POST"],
  [":scheme", "http"],
  [":path", "/shop.Orders/Watch"],
  [":authority", "a"],
  ["content-type", "application/grpc"],
  ["te", "trailers"],
);

describe("a verdict on a request over HTTP/2", () => {
  test("that edits wrongly is a refusal that tells nothing: decision-failed", async () => {
    await using upstream = await openUpstream(() => {});
    await using hop = await openLinkHop(upstream.port, {
      decide: (_, forward) =>
        forward.kind === "forward" ? { ...forward, edits: { ...forward.edits, target: "/a b" } } : forward,
    });
    using client = await openClient(hop.linkPort);
    const outcome = await client.ask(get);

    expect(outcome).toMatchObject({ status: 500, body: expect.stringContaining("decision-failed") });
    expect([hop.faults.length, upstream.sockets]).toEqual([1, []]);
  });

  test("that denies before the body has come is all that the client gets, and no more is asked of it", async () => {
    await using upstream = await openUpstream(() => {});
    await using hop = await openLinkHop(upstream.port, {
      decide: () => problemAnswer({ status: 403, reason: "no-rule" }),
    });
    using client = await openClient(hop.linkPort);
    const outcome = await client.ask(
      [...fieldsOf([":method", "POST"]), ...get.slice(1)],
      "x".repeat(1_000_000),
    );

    expect(outcome).toMatchObject({ status: 403, body: expect.stringContaining("no-rule") });
    expect(upstream.sockets).toEqual([]);
  });
});

test("a request of the type of gRPC that is no POST is answered as any other", async () => {
  await using hop = await openLinkHop(1);
  using client = await openClient(hop.linkPort);
  const ofCall = await client.ask(call);
  const other = await client.ask([...get, ...fieldsOf(["content-type", "application/grpc"])]);

  expect([ofCall.status, ofCall.body]).toEqual([200, ""]);
  expect(other).toMatchObject({ status: 502, body: expect.stringContaining("upstream-connect-failed") });
});

describe("an answer over HTTP/2 that breaks off", () => {
  const begun =
    "HTTP/1.1 200 OK\r\nContent-Type: application/grpc\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n";

  test("ends a call of gRPC with a status, and any other stream with a reset", async () => {
    await using upstream = await openUpstream((socket, text) => {
      if (!text.endsWith("\r\n\r\n")) return;
      socket.write(begun);
      setTimeout(() => socket.resetAndDestroy(), 20);
    });
    await using hop = await openLinkHop(upstream.port);
    using client = await openClient(hop.linkPort);
    const [ofCall, other] = await Promise.all([client.ask(call, "abc"), client.ask(get)]);
    await until(() => hop.toApp.openCount === 0);

    expect(ofCall).toMatchObject({ status: 200, body: "ok", reset: undefined });
    expect(ofCall.trailers?.map(({ name, value }) => `${name}: ${value}`)).toEqual([
      "grpc-status: 14",
      expect.stringMatching(/^grpc-message: upstream-reset/),
    ]);
    expect(other).toMatchObject({ status: 200, body: "ok", reset: 2, trailers: undefined });
    expect(hop.inner).toMatchObject([{ error: "upstream-reset" }, { error: "upstream-reset" }]);
  });
});

test("a request that waits for its body is refused once it is no longer allowed, and goes nowhere", async () => {
  await using upstream = await openUpstream(() => {});
  const timer = new CoarseTimer(fakeClock());
  const toApp = new ConnectionPool(
    openTcp({ host: "127.0.0.1", port: upstream.port }),
    defaultPoolLimits,
    timer,
  );
  const connections: Http2Connection[] = [];
  const decided: string[] = [];
  const server = createServer((socket) => {
    const observe = (): RequestObserver => ({
      decide: ({ target }) => {
        decided.push(target);
        return { kind: "forward", upstream: toApp, edits: noEdits };
      },
      onComplete: () => {},
    });
    connections.push(serveHttp2(socket, { observe, timer }));
  });
  server.listen({ host: "127.0.0.1", port: 0 });
  await once(server, "listening");
  const at = server.address();
  const client = http2.connect(`http://127.0.0.1:${typeof at === "object" ? at?.port : 0}`);
  const stream = client.request({ ":method": "POST", ":path": "/a", "content-length": "3" });
  await until(() => decided.length === 1);

  for (const connection of connections) connection.review(({ target }) => target !== "/a");
  const [headers]: http2.IncomingHttpHeaders[] = await once(stream, "response");
  let body = "";
  stream.setEncoding("utf8").on("data", (text: string) => {
    body += text;
  });
  await once(stream, "end");
  client.destroy();
  server.close();
  toApp.close();

  expect(headers?.[":status"]).toBe(403);
  expect(body).toContain("no-longer-allowed");
  expect(upstream.sockets).toEqual([]);
});
