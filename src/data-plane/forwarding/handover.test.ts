import { createServer } from "node:net";
import { expect, test } from "vitest";
import { fakeClock } from "../../../test/fakes/fake-clock.ts";
import { closed, listen, openUpstream, RawClient, until } from "../../../test/fuzz/http1-hop.ts";
import { openLinkHop } from "../../../test/fuzz/link-hop.ts";
import { CoarseTimer } from "../coarse-timer.ts";
import { problemAnswer } from "./problem-answer.ts";
import { serveHttp1 } from "./serve-http1.ts";

const get = "GET /a HTTP/1.1\r\nHost: a\r\n\r\n";
const okay = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

test("a connection that begins as one of HTTP/2 is handed over with nobody's listeners but ours taken off", async () => {
  let isClosed = false;
  let first = "";
  const server = createServer((socket) => {
    serveHttp1(socket, {
      timer: new CoarseTimer(fakeClock()),
      decide: () => problemAnswer({ status: 403, reason: "no-rule" }),
      onHttp2: (bytes) => {
        first = bytes.toString("latin1");
        socket.resume();
        socket.on("end", () => socket.end());
      },
    });
    socket.once("close", () => {
      isClosed = true;
    });
  });
  const port = await listen(server);
  using client = new RawClient(port);
  for (const byte of preface) {
    client.send(byte);
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
  await until(() => first !== "");
  client.socket.end();
  await until(() => isClosed);
  await closed(server);

  expect(preface.startsWith(first)).toBe(true);
  expect(client.text).toBe("");
});

test("a preface of HTTP/2 after a request, or where HTTP/2 is not taken, is refused", async () => {
  await using upstream = await openUpstream((socket) => socket.write(okay));
  for (const [takesHttp2, text] of [
    [true, get + preface],
    [false, preface],
  ] as const) {
    await using hop = await openLinkHop(upstream.port, { takesHttp2 });
    using client = new RawClient(hop.port).send(text);
    await until(() => client.hasEnded);

    expect(client.text).toContain("HTTP/1.1 505 ");
  }
});

test("a first head that is no request is refused where HTTP/2 is taken, and nobody need hear of it", async () => {
  let isHandedOver = false;
  const server = createServer((socket) => {
    serveHttp1(socket, {
      timer: new CoarseTimer(fakeClock()),
      decide: () => problemAnswer({ status: 403, reason: "no-rule" }),
      onHttp2: () => {
        isHandedOver = true;
      },
    });
  });
  const port = await listen(server);
  using client = new RawClient(port).send("PRI * HTTP/3.0\r\n\r\n");
  await until(() => client.hasEnded);
  client.socket.destroy();
  await closed(server);

  expect(client.text).toMatch(/^HTTP\/1.1 505 /);
  expect(isHandedOver).toBe(false);
});
