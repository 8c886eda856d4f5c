import { once } from "node:events";
import http2 from "node:http2";
import { afterEach, describe, expect, test } from "vitest";
import { aWhile, until } from "../../../test/fuzz/http1-hop.ts";
import { type LinkHop, type LinkHopOptions, openLinkHop } from "../../../test/fuzz/link-hop.ts";
import { defaultHttp1Limits } from "../http1/index.ts";
import { headerField } from "../http2/index.ts";
import {
  connectRequest,
  type ForwardedRequest,
  type Forwarding,
  type MessageEnd,
  type ResponseHead,
  tunnelOpened,
  type Upstream,
} from "./index.ts";

/** The far end of tunnels: what came out of one, and what goes into it, as its script says. */
class FarEnd implements Forwarding {
  status = 0;
  responseBytes = 0;
  text = "";
  hasClientEnded = false;
  isAborted = false;
  hasDrained = false;
  readonly asked: ForwardedRequest;
  private hasEnded = false;

  constructor(asked: ForwardedRequest) {
    this.asked = asked;
  }

  start(): void {
    this.asked.client.waitAtMost(Number.POSITIVE_INFINITY);
  }

  open(first = "", head: ResponseHead = tunnelOpened): void {
    this.status = head.status;
    this.asked.client.writeHead(head, Buffer.from(first), undefined);
    this.asked.client.onBodyWanted();
  }

  write(text: string): boolean {
    return this.asked.client.write(Buffer.from(text, "latin1"), undefined);
  }

  end(): void {
    this.hasEnded = true;
    this.asked.client.write(Buffer.alloc(0), { trailers: [] });
    if (this.hasClientEnded) this.asked.client.onResponded();
  }

  onBody(body: Buffer, end: MessageEnd | undefined): void {
    this.text += body.toString("latin1");
    if (end === undefined) return;
    this.hasClientEnded = true;
    if (this.hasEnded) this.asked.client.onResponded();
  }

  clientDrained(): void {
    this.hasDrained = true;
  }

  abort(): void {
    this.isAborted = true;
  }

  fail(): void {
    this.isAborted = true;
  }

  onDeadline(): void {}
}

interface Tunnels extends AsyncDisposable {
  readonly hop: LinkHop;
  readonly client: http2.ClientHttp2Session;
  readonly ends: FarEnd[];
}

const stack = new Set<() => Promise<void>>();
afterEach(async () => {
  for (const close of [...stack].toReversed()) await close();
  stack.clear();
});

async function openTunnels(options: LinkHopOptions = {}): Promise<Tunnels> {
  const ends: FarEnd[] = [];
  const toUpstream: Upstream = {
    begin: (asked) => {
      const end = new FarEnd(asked);
      ends.push(end);
      return end;
    },
  };
  const tunnels = ["websocket", "connect"] as const;
  const hop = await openLinkHop(1, { takesHttp2: true, tunnels, toUpstream, ...options });
  const client = http2.connect(`http://127.0.0.1:${hop.port}`);
  client.on("error", () => {});
  await once(client, "remoteSettings");
  const close = async (): Promise<void> => {
    client.destroy();
    await hop[Symbol.asyncDispose]();
  };
  stack.add(close);
  return { hop, client, ends, [Symbol.asyncDispose]: close };
}

/** A tunnel as its client sees it. */
interface NearEnd {
  readonly stream: http2.ClientHttp2Stream;
  status: number;
  headers: http2.IncomingHttpHeaders;
  text: string;
  hasEnded: boolean;
  isOver: boolean;
}

function ask(client: http2.ClientHttp2Session, headers: http2.OutgoingHttpHeaders): NearEnd {
  const stream = client.request(headers, { endStream: false });
  const near: NearEnd = { stream, status: 0, headers: {}, text: "", hasEnded: false, isOver: false };
  stream.setEncoding("latin1");
  stream.on("response", (received) => {
    near.status = Number(received[":status"]);
    near.headers = received;
  });
  stream.on("data", (text: string) => {
    near.text += text;
  });
  stream.on("end", () => {
    near.hasEnded = true;
  });
  stream.on("close", () => {
    near.isOver = true;
  });
  stream.on("error", () => {});
  return near;
}

/** Lets more time pass than a stream may wait for its peer that is no tunnel. */
async function standStill(hop: LinkHop): Promise<void> {
  for (let seconds = 0; seconds < 45; seconds += 5) {
    hop.passSeconds(5);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

const plain = { ":method": "CONNECT", ":authority": "db.shop.mesh:5432" };
const webSocket = {
  ":method": "CONNECT",
  ":protocol": "websocket",
  ":scheme": "http",
  ":path": "/chat?room=1",
  ":authority": "a",
  "sec-websocket-version": "13",
};

describe.each([
  [
    "CONNECT",
    plain,
    { method: "CONNECT", target: "db.shop.mesh:5432", host: "db.shop.mesh:5432", tunnel: "connect" },
  ],
  ["extended CONNECT", webSocket, { method: "GET", target: "/chat?room=1", host: "a", tunnel: "websocket" }],
] as const)("a tunnel by %s through both proxies", (_, headers, request) => {
  test("is asked for as what it is, and opens when the far end says so", async () => {
    const { client, ends } = await openTunnels();
    const near = ask(client, headers);
    near.stream.write("early");
    await until(() => ends.length === 1);
    await aWhile();
    expect(ends[0]?.asked.request).toMatchObject(request);
    expect([near.status, ends[0]?.text]).toEqual([0, ""]);

    ends[0]?.open("first");
    await until(() => near.text === "first" && ends[0]?.text === "early");
    near.stream.write("ping");
    await until(() => ends[0]?.text === "earlyping");
    ends[0]?.write("pong");
    await until(() => near.text === "firstpong");
    expect(near.status).toBe(200);
    expect(near.headers["content-length"]).toBeUndefined();
  });

  test("goes on in one direction after the other has ended", async () => {
    const { client, ends, hop } = await openTunnels();
    const near = ask(client, headers);
    await until(() => ends.length === 1);
    ends[0]?.open();
    near.stream.end("last");
    await until(() => ends[0]?.hasClientEnded === true);
    expect(ends[0]?.text).toBe("last");
    ends[0]?.write("more");
    await until(() => near.text === "more");
    expect([near.hasEnded, hop.outer.length]).toEqual([false, 0]);
    ends[0]?.end();
    await until(() => near.isOver && hop.outer.length === 1);

    expect([near.hasEnded, near.stream.rstCode]).toEqual([true, 0]);
    expect(hop.outer).toMatchObject([{ status: 200, requestBytes: 4, responseBytes: 4 }]);
    expect(hop.outer[0]?.error).toBeUndefined();
  });

  test("goes on to the far end after that has ended", async () => {
    const { client, ends, hop } = await openTunnels();
    const near = ask(client, headers);
    await until(() => ends.length === 1);
    ends[0]?.open();
    ends[0]?.end();
    await until(() => near.hasEnded);
    near.stream.write("still");
    await until(() => ends[0]?.text === "still");
    expect(hop.outer).toEqual([]);
    near.stream.end();
    await until(() => ends[0]?.hasClientEnded === true && hop.outer.length === 1);

    expect(hop.inner).toMatchObject([{ status: 200, requestBytes: 5 }]);
    expect(hop.faults).toEqual([]);
  });

  test("is reset at the far end when its client resets it", async () => {
    const { client, ends, hop } = await openTunnels();
    const near = ask(client, headers);
    await until(() => ends.length === 1);
    ends[0]?.open();
    await until(() => near.status === 200);
    near.stream.close(http2.constants.NGHTTP2_CANCEL);
    await until(() => ends[0]?.isAborted === true);

    expect(hop.outer).toMatchObject([{ error: "client-gone" }]);
  });

  test("is reset at its client when the far end breaks", async () => {
    const { client, ends, hop } = await openTunnels();
    const near = ask(client, headers);
    await until(() => ends.length === 1);
    ends[0]?.open();
    await until(() => near.status === 200);
    ends[0]?.asked.client.onFailed("upstream-reset", "", "answering");
    await until(() => near.isOver);

    expect(near.stream.rstCode).toBe(http2.constants.NGHTTP2_CONNECT_ERROR);
    expect(hop.outer).toMatchObject([{ error: "upstream-reset" }]);
  });

  test("holds its client back while the far end takes nothing", async () => {
    const { client, ends, hop } = await openTunnels();
    const near = ask(client, headers);
    await until(() => ends.length === 1);
    ends[0]?.open();
    await until(() => near.status === 200);
    ends[0]?.asked.client.pauseBody();
    const piece = Buffer.alloc(64 * 1024, 0x61);
    let accepted = 0;
    for (let count = 0; count < 64; count += 1) near.stream.write(piece, () => (accepted += piece.length));
    await aWhile();
    const held = accepted;
    await standStill(hop);
    expect(held).toBeLessThan(1024 * 1024);
    ends[0]?.asked.client.onBodyWanted();
    await until(() => ends[0]?.text.length === 64 * piece.length);
    expect(held).toBeGreaterThan(0);
  });

  test("holds the far end back while its client takes nothing", async () => {
    const { client, ends, hop } = await openTunnels();
    const near = ask(client, headers);
    await until(() => ends.length === 1);
    ends[0]?.open();
    await until(() => near.status === 200);
    near.stream.pause();
    let written = 0;
    while (written < 64 && ends[0]?.write("a".repeat(64 * 1024)) === true) {
      written += 1;
      await new Promise(setImmediate);
    }
    expect(written).toBeLessThan(64);
    await standStill(hop);
    expect(near.isOver).toBe(false);
    near.stream.resume();
    await until(() => ends[0]?.hasDrained === true);
  });

  test("ends after it has stood still for as long as it may, and not before", async () => {
    const limits = { bodyIdleMillis: 5_000, responseHeadMillis: 5_000, tunnelIdleMillis: 14_000 };
    const { client, ends, hop } = await openTunnels({ limits });
    const near = ask(client, headers);
    await until(() => ends.length === 1);
    ends[0]?.open();
    await until(() => near.status === 200);
    hop.passSeconds(14);
    await aWhile();
    expect(near.isOver).toBe(false);
    hop.passSeconds(1);
    await until(() => near.isOver);

    expect(hop.outer).toMatchObject([{ error: "tunnel-idle" }]);
    await until(() => ends[0]?.isAborted === true);
  });

  test("that is refused gives an ordinary response, and what was sent early goes nowhere", async () => {
    const { client, ends, hop } = await openTunnels();
    const near = ask(client, headers);
    near.stream.write("GET /admin HTTP/1.1\r\n\r\n");
    await until(() => ends.length === 1);
    const refusal = { fields: [headerField(":status", "403")], status: 403, contentLength: undefined };
    const { client: inside } = ends[0]?.asked ?? {};
    inside?.writeHead(refusal, Buffer.from("no"), {
      trailers: [],
    });
    inside?.onResponded();
    await until(() => near.isOver);

    expect([near.status, near.text]).toEqual([403, "no"]);
    expect(ends[0]?.text).toBe("");
    expect(hop.outer).toHaveLength(1);
  });

  test("is refused as any unknown request where the proxy takes no tunnels", async () => {
    const { client, ends, hop } = await openTunnels({ tunnels: [] });
    const near = ask(client, headers);
    near.stream.write("a");
    await until(() => near.isOver);

    expect(near.stream.rstCode).toBe(http2.constants.NGHTTP2_PROTOCOL_ERROR);
    expect([ends.length, hop.outer.length]).toEqual([0, 0]);
  });
});

describe("what is asked for by extended CONNECT", () => {
  test("is given up soon once one side of it has ended", async () => {
    const limits = { bodyIdleMillis: 5_000, tunnelIdleMillis: 60_000 };
    const { client, ends, hop } = await openTunnels({ limits });
    const near = ask(client, webSocket);
    await until(() => ends.length === 1);
    ends[0]?.open();
    near.stream.end();
    await until(() => ends[0]?.hasClientEnded === true);
    hop.passSeconds(6);
    await until(() => hop.outer.length === 1);

    expect(hop.outer).toMatchObject([{ error: "tunnel-idle" }]);
  });

  test.each([
    ["another protocol", { ":protocol": "connect-udp" }, 501, "upgrade-unsupported"],
    ["no version", { "sec-websocket-version": undefined }, 501, "upgrade-unsupported"],
    ["two versions", { "sec-websocket-version": "13, 8" }, 501, "upgrade-unsupported"],
    ["leave to send", { expect: "100-continue" }, 417, "expectation-unsupported"],
    ["a path above the root", { ":path": "/../a" }, 400, "target-above-root"],
  ])("is refused with %s", async (_, changed, status, reason) => {
    const { client, ends, hop } = await openTunnels();
    const near = ask(client, { ...webSocket, ...changed });
    await until(() => near.isOver);

    expect(near.status).toBe(status);
    expect(near.text).toContain(`"reason":"${reason}"`);
    expect(ends).toEqual([]);
    expect(hop.outer).toMatchObject([{ error: reason }]);
  });
});

describe("a request of our own for a tunnel", () => {
  test("names a host and a port", () => {
    expect(connectRequest("Db.shop.mesh:5432", defaultHttp1Limits)).toMatchObject({
      kind: "head",
      method: "CONNECT",
      target: "db.shop.mesh:5432",
      host: "db.shop.mesh:5432",
      tunnel: "connect",
    });
  });

  test.each(["db", "db:", "db:99999", "d b:1", "u@db:1", ":1"])("cannot go to %s", (authority) => {
    expect(connectRequest(authority, defaultHttp1Limits)).toMatchObject({ reason: "host-invalid" });
  });
});
