import { expect, test } from "vitest";
import { aWhile, openHop, openUpstream, RawClient, until } from "../../../test/fuzz/http1-hop.ts";

const get = "GET /a HTTP/1.1\r\nHost: a\r\n\r\n";
const post = "POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc";
const okay = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const last = okay.replace("Content-Length", "Connection: close\r\nContent-Length");

test("an idle connection that retires is left to its client, which gets one more answer and then the end", async () => {
  await using upstream = await openUpstream((socket) => socket.write(okay));
  await using hop = await openHop(upstream.port);
  using client = new RawClient(hop.port).send(get);
  await until(() => client.text === okay);

  hop.connections[0]?.retire();
  await aWhile();
  expect(client.hasEnded).toBe(false);
  client.send(post);
  await until(() => client.hasEnded);

  expect(client.text).toBe(okay + last);
});

test("a connection that retires before its first request answers it", async () => {
  await using upstream = await openUpstream((socket) => socket.write(okay));
  await using hop = await openHop(upstream.port);
  using client = new RawClient(hop.port);
  await until(() => hop.connections.length === 1);

  hop.connections[0]?.retire();
  client.send(post);
  await until(() => client.hasEnded);

  expect(client.text).toBe(last);
});

test("an answer that has begun without saying so does not end a connection that retires; the next one does", async () => {
  await using upstream = await openUpstream((socket, text) => {
    const isSecond = text.split("POST").length > 1;
    socket.write(isSecond ? okay : okay.slice(0, -1));
  });
  await using hop = await openHop(upstream.port);
  using client = new RawClient(hop.port).send(get);
  await until(() => client.text === okay.slice(0, -1));

  hop.connections[0]?.retire();
  upstream.sockets[0]?.write("k");
  await until(() => client.text === okay);
  await aWhile();
  expect(client.hasEnded).toBe(false);
  client.send(post);
  await until(() => client.hasEnded);

  expect(client.text).toBe(okay + last);
});

test("what a client has sent already is answered before a connection that retires says that it ends", async () => {
  await using upstream = await openUpstream((socket, text) => {
    if (text.includes("POST")) socket.write(okay);
  });
  await using hop = await openHop(upstream.port);
  using client = new RawClient(hop.port).send(get);
  await until(() => upstream.received.length === 1);
  client.send(post);
  await aWhile();

  hop.connections[0]?.retire();
  upstream.sockets[0]?.write(okay);
  await until(() => client.hasEnded);

  expect(client.text).toBe(okay + last);
});
