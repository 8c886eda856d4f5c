import http2 from "node:http2";
import type { Socket } from "node:net";
import { describe, expect, test } from "vitest";
import { aWhile, openHop, openUpstream, RawClient, until } from "../../../test/fuzz/http1-hop.ts";
import { type LinkHop, openLinkHop } from "../../../test/fuzz/link-hop.ts";

const limits = { bodyIdleMillis: 5_000, eventStreamIdleMillis: 20_000 };
const headOf = (type: string, framing: string): string =>
  `HTTP/1.1 200 OK\r\nContent-Type: ${type}\r\n${framing}\r\n\r\n`;
const get = "GET /events HTTP/1.1\r\nHost: a\r\nAccept: text/event-stream\r\n\r\n";

describe.each([
  ["one proxy", (port: number) => openHop(port, { limits })],
  ["two proxies", (port: number) => openLinkHop(port, { limits })],
] as const)("a stream of events through %s", (_, openWay) => {
  test.each([
    ["chunks", "Transfer-Encoding: chunked", (text: string) => `${text.length.toString(16)}\r\n${text}\r\n`],
    ["until the end of its connection", "Connection: close", (text: string) => text],
  ])(
    "in %s leaves event by event, and may be silent for as long as it may",
    async (_framing, framing, framed) => {
      const sockets: Socket[] = [];
      await using upstream = await openUpstream((socket, text) => {
        if (!text.endsWith("\r\n\r\n")) return;
        sockets.push(socket);
        socket.write(headOf("text/event-stream; charset=utf-8", framing));
      });
      await using hop = await openWay(upstream.port);
      using client = new RawClient(hop.port);
      client.send(get);
      await until(() => client.text.includes("\r\n\r\n"));
      for (let event = 0; event < 20; event += 1) {
        sockets[0]?.write(framed(`data: ${event}\n\n`));
        await until(() => client.text.includes(`data: ${event}\n\n`));
      }
      for (let round = 0; round < 3; round += 1) {
        hop.passSeconds(19);
        await aWhile();
        sockets[0]?.write(framed(`: ${round} still here\n\n`));
        await until(() => client.text.includes(`: ${round} still here`));
      }
      expect(client.isClosed).toBe(false);
      hop.passSeconds(20);
      await aWhile();
      expect(client.isClosed).toBe(false);
      hop.passSeconds(1);
      await until(() => client.isClosed || client.hasEnded);

      // The end of a stream that was cut must not look like its own.
      expect(client.errorCode).toBe("ECONNRESET");
    },
  );

  test("is not what another response is, which may stand still for as long as any body", async () => {
    await using upstream = await openUpstream((socket, text) => {
      if (text.endsWith("\r\n\r\n"))
        socket.write(`${headOf("text/event-streams", "Transfer-Encoding: chunked")}1\r\na\r\n`);
    });
    await using hop = await openWay(upstream.port);
    using client = new RawClient(hop.port);
    client.send(get);
    await until(() => client.text.endsWith("1\r\na\r\n"));
    hop.passSeconds(6);
    await until(() => client.isClosed);
  });
});

describe("a stream of events from an application of HTTP/2", () => {
  test("may be silent as well, and ends by a reset", async () => {
    const app = http2.createServer();
    const streams: http2.ServerHttp2Stream[] = [];
    app.on("stream", (stream: http2.ServerHttp2Stream) => {
      stream.on("error", () => {});
      streams.push(stream);
      stream.respond({ ":status": 200, "content-type": "text/event-stream" });
      stream.write("data: 1\n\n");
    });
    app.listen(0, "127.0.0.1");
    await until(() => app.listening);
    const address = app.address();
    const port = typeof address === "object" && address !== null ? address.port : 0;
    await using hop: LinkHop = await openLinkHop(port, { limits, app: "http2", takesHttp2: true });
    const client = http2.connect(`http://127.0.0.1:${hop.port}`);
    client.on("error", () => {});
    const stream = client.request({ ":path": "/events", ":authority": "a" });
    let text = "";
    stream.on("error", () => {});
    stream.on("data", (chunk: Buffer) => {
      text += chunk.toString();
    });
    await until(() => text === "data: 1\n\n");
    hop.passSeconds(18);
    await aWhile();
    streams[0]?.write("data: 2\n\n");
    await until(() => text === "data: 1\n\ndata: 2\n\n");
    for (const seconds of [10, 10]) {
      hop.passSeconds(seconds);
      await aWhile();
    }
    expect(stream.closed).toBe(false);
    hop.passSeconds(1);
    await until(() => stream.closed);

    expect(stream.rstCode).toBe(http2.constants.NGHTTP2_INTERNAL_ERROR);
    client.destroy();
    app.close();
  });
});

describe("a client that takes nothing of a stream of events", () => {
  test("is given up as soon as any other", async () => {
    const text = "data: a\n\n".repeat(8_000);
    const chunk = `${text.length.toString(16)}\r\n${text}\r\n`;
    await using upstream = await openUpstream((socket, request) => {
      if (!request.endsWith("\r\n\r\n")) return;
      socket.write(headOf("text/event-stream", "Transfer-Encoding: chunked"));
      for (let count = 0; count < 200; count += 1) socket.write(chunk);
    });
    await using hop = await openHop(upstream.port, { limits });
    using client = new RawClient(hop.port);
    client.socket.pause();
    client.send(get);
    await until(() => hop.clientSockets[0]?.writableNeedDrain === true);
    await aWhile();
    hop.passSeconds(6);
    await until(() => hop.events.length === 1);

    expect(hop.events).toMatchObject([{ error: "client-gone" }]);
  });
});
