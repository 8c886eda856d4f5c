import { describe, expect, test } from "vitest";
import { openUpstream, RawClient, until } from "../../../test/fuzz/http1-hop.ts";
import { type LinkHop, openLinkHop } from "../../../test/fuzz/link-hop.ts";

const get = "GET /a HTTP/1.1\r\nHost: a\r\n\r\n";
const post = "POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nok";
const okay = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/** As many seconds pass as it takes, one by one; how many. */
async function secondsUntil(hop: LinkHop, isSo: () => boolean): Promise<number> {
  for (let seconds = 0; seconds < 60; seconds += 1) {
    hop.passSeconds(1);
    for (let turn = 0; turn < 20; turn += 1) {
      await new Promise((resolve) => setTimeout(resolve, 1));
      if (isSo()) return seconds + 1;
    }
  }
  throw new Error("it did not come about in a minute");
}

/** Has a proxy between the others fall silent, as one that is stopped or cut off. */
function silence(hop: LinkHop): void {
  for (const socket of hop.linkSockets) socket.pause();
}

describe("a peer that falls silent without closing its connection", () => {
  test("is left within seconds: a GET goes to another instance", async () => {
    await using silent = await openUpstream(() => {});
    await using answering = await openUpstream((socket) => socket.write(okay));
    await using other = await openLinkHop(answering.port);
    await using hop = await openLinkHop(silent.port, { otherPort: other.linkPort });
    using client = new RawClient(hop.port).send(get);
    await until(() => silent.received.length === 1);
    silence(hop);
    const seconds = await secondsUntil(hop, () => client.text.endsWith("ok"));

    expect(client.text).toMatch(/^HTTP\/1.1 200 /);
    expect(seconds).toBeLessThanOrEqual(9);
    expect(hop.avoided[0]).toBe(hop.link);
    expect(hop.violations).toContain("ping-timeout");
  });

  test("is left within seconds: a POST is answered 504, since nobody knows what became of it", async () => {
    await using upstream = await openUpstream(() => {});
    await using hop = await openLinkHop(upstream.port);
    using client = new RawClient(hop.port).send(post);
    await until(() => upstream.received.join("").endsWith("ok"));
    silence(hop);
    const seconds = await secondsUntil(hop, () => client.text.endsWith("}\n"));

    expect(client.text).toMatch(/^HTTP\/1.1 504 [^]*upstream-timeout/);
    expect(client.text).toContain("ping-timeout");
    expect(seconds).toBeLessThanOrEqual(9);
  });

  test("is not left while it answers PINGs, however long the application takes", async () => {
    await using upstream = await openUpstream(() => {});
    await using hop = await openLinkHop(upstream.port);
    using client = new RawClient(hop.port).send(post);
    await until(() => upstream.received.join("").endsWith("ok"));
    const seconds = await secondsUntil(hop, () => client.text.endsWith("}\n"));

    expect(client.text).toMatch(/^HTTP\/1.1 504 [^]*upstream-timeout/);
    expect(client.text).not.toContain("ping-timeout");
    expect(seconds).toBeGreaterThanOrEqual(30);
  });
});

test("a connection whose end has been read is given no request, although its close has not been told of", async () => {
  await using upstream = await openUpstream((socket) => socket.write(okay));
  await using hop = await openLinkHop(upstream.port);
  using first = new RawClient(hop.port).send(get);
  await until(() => first.text.endsWith("ok"));
  const [socket] = hop.linkSockets;
  let isReady: boolean | undefined;
  socket?.once("end", () => {
    isReady = hop.link.ready() !== undefined;
  });
  socket?.push(null);
  await until(() => isReady !== undefined);

  expect(isReady).toBe(false);
});
