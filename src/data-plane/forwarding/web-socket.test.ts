import http2 from "node:http2";
import fc from "fast-check";
import { afterEach, describe, expect, test } from "vitest";
import { aWhile, openHop, openUpstream, RawClient, until } from "../../../test/fuzz/http1-hop.ts";
import { openLinkHop } from "../../../test/fuzz/link-hop.ts";
import {
  acceptOf,
  lineOf,
  openByConnect,
  openByUpgrade,
  openHttp1App,
  openHttp2App,
  upgradeAnswer,
  upgradeRequest,
} from "../../../test/fuzz/web-socket-ends.ts";

const tunnels = ["websocket"] as const;
const opened: AsyncDisposable[] = [];
afterEach(async () => {
  for (const one of opened.splice(0).toReversed()) await one[Symbol.asyncDispose]();
});

function keep<One extends AsyncDisposable>(one: One): One {
  opened.push(one);
  return one;
}

describe.each([
  ["HTTP/1.1", "HTTP/1.1", openByUpgrade, openHttp1App],
  ["HTTP/1.1", "HTTP/2", openByUpgrade, openHttp2App],
  ["HTTP/2", "HTTP/1.1", openByConnect, openHttp1App],
  ["HTTP/2", "HTTP/2", openByConnect, openHttp2App],
] as const)("a WebSocket from a client of %s to an application of %s", (_, to, openClient, openApp) => {
  const appProtocol = to === "HTTP/2" ? "http2" : "http1";

  test("opens with what the two agree on, and carries their bytes", async () => {
    const app = keep(await openApp());
    const hop = keep(await openLinkHop(app.port, { app: appProtocol, takesHttp2: true, tunnels }));
    using client = await openClient(hop.port, "early ");
    client.send(Buffer.from("late"));
    await until(() => client.received() === "early late");
    const [head = ""] = app.heads;

    expect(client.protocol).toBe("chat");
    expect(lineOf(head, "sec-websocket-protocol")).toBe("chat, talk");
    expect(lineOf(head, "sec-websocket-version")).toBe("13");
    expect(lineOf(head, "x-added")).toBe("inside");
    if (appProtocol === "http1") {
      expect(head).toMatch(/^GET \/chat\?room=1 HTTP\/1\.1\r\nHost: a\r\n/);
      expect(Buffer.from(lineOf(head, "sec-websocket-key") ?? "", "base64")).toHaveLength(16);
    } else expect(lineOf(head, "sec-websocket-key")).toBeUndefined();
    client.end();
    await until(() => client.hasEnded() && hop.outer.length === 1 && hop.inner.length === 1);
    expect(hop.outer).toMatchObject([{ requestBytes: 10, responseBytes: 10, request: { method: "GET" } }]);
    expect([hop.outer[0]?.error, hop.inner[0]?.error]).toEqual([undefined, undefined]);
    expect([hop.faults, hop.violations]).toEqual([[], []]);
  });

  test("carries every byte, however they are cut and whatever they look like", async () => {
    const app = keep(await openApp());
    const hop = keep(await openLinkHop(app.port, { app: appProtocol, takesHttp2: true, tunnels }));
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.oneof(fc.uint8Array({ maxLength: 40 }), fc.constantFrom(...looksLikeHttp)), {
          maxLength: 12,
        }),
        fc.array(fc.nat({ max: 200 }), { maxLength: 4 }),
        async (pieces, cuts) => {
          using client = await openClient(hop.port, "", cuts);
          for (const piece of pieces) client.send(Buffer.from(piece));
          const whole = Buffer.concat(pieces).toString("latin1");
          await until(() => client.received().length === whole.length);
          expect(client.received()).toBe(whole);
          client.end();
          await until(() => client.hasEnded());
        },
      ),
      { numRuns: 15 },
    );
    expect([hop.faults, hop.violations]).toEqual([[], []]);
  });

  test("carries megabytes both ways at once", async () => {
    const app = keep(await openApp());
    const hop = keep(await openLinkHop(app.port, { app: appProtocol, takesHttp2: true, tunnels }));
    using client = await openClient(hop.port);
    const bytes = 4 * 1024 * 1024;
    client.send(Buffer.alloc(bytes, "abcdefg"));
    client.end();
    await until(() => client.hasEnded());

    expect(client.received().length).toBe(bytes);
  });
});

const looksLikeHttp = [
  "GET /admin HTTP/1.1\r\nHost: a\r\n\r\n",
  "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
  "0\r\n\r\n",
  "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
  "",
].map((text) => Buffer.from(text, "latin1"));

describe("an upgrade that is not to be", () => {
  test.each([
    ["no key", ["Sec-WebSocket-Key:-"]],
    ["a short key", ["Sec-WebSocket-Key: dGhlIHNhbXBsZQ=="]],
    [
      "two keys",
      ["Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Key: AQIDBAUGBwgJCgsMDQ4PEA=="],
    ],
    ["no version", ["Sec-WebSocket-Version:-"]],
    ["two versions", ["Sec-WebSocket-Version: 13", "Sec-WebSocket-Version: 8"]],
    ["a list of protocols", ["Upgrade: websocket, h2c"]],
    ["two upgrades", ["Upgrade: websocket", "Upgrade: h2c"]],
    ["another protocol", ["Upgrade: h2c"]],
    ["a Connection that does not name it", ["Connection: keep-alive"]],
    ["a Connection that takes the key away", ["Connection: Upgrade, Sec-WebSocket-Key"]],
    ["a length", ["Content-Length: 0"]],
    ["a body", ["Content-Length: 5"]],
    ["chunks", ["Transfer-Encoding: chunked"]],
  ])("is refused with %s, and ends its connection with what was sent behind it", async (_, lines) => {
    const upstream = keep(await openUpstream(() => {}));
    const hop = keep(await openHop(upstream.port, { tunnels }));
    using client = new RawClient(hop.port);
    client.send(`${upgradeRequest(undefined, lines)}GET /behind HTTP/1.1\r\nHost: a\r\n\r\n`);
    await until(() => client.hasEnded);

    expect(client.text).toMatch(/^HTTP\/1.1 501 [^]*"reason":"upgrade-unsupported"/);
    expect(client.text.match(/HTTP\/1.1/g)).toHaveLength(1);
    expect(upstream.sockets).toEqual([]);
    expect(hop.events).toMatchObject([{ error: "upgrade-unsupported" }]);
  });

  test.each([
    ["POST", "GET /", "POST /"],
    ["HTTP/1.0", "HTTP/1.1", "HTTP/1.0"],
  ])("is refused of %s", async (_, from, to) => {
    const upstream = keep(await openUpstream(() => {}));
    const hop = keep(await openHop(upstream.port, { tunnels }));
    using client = new RawClient(hop.port);
    client.send(upgradeRequest().replace(from, to));
    await until(() => client.hasEnded);

    expect(client.text).toMatch(/"reason":"upgrade-unsupported"/);
    expect(upstream.sockets).toEqual([]);
  });

  test("is refused where it waits for leave to send", async () => {
    const upstream = keep(await openUpstream(() => {}));
    const hop = keep(await openHop(upstream.port, { tunnels }));
    using client = new RawClient(hop.port);
    client.send(upgradeRequest(undefined, ["Expect: 100-continue"]));
    await until(() => client.hasEnded);

    expect(client.text).toMatch(/^HTTP\/1.1 417 /);
  });

  test("is denied as a GET on its path, and what follows it is no request", async () => {
    const upstream = keep(await openUpstream(() => {}));
    const asked: string[] = [];
    const hop = keep(
      await openHop(upstream.port, {
        tunnels,
        decide: ({ method, target }) => {
          asked.push(`${method} ${target}`);
          return {
            kind: "answer",
            status: 403,
            headers: new Uint8Array(0),
            body: new Uint8Array(0),
            summary: "",
          };
        },
      }),
    );
    using client = new RawClient(hop.port);
    client.send(`${upgradeRequest()}GET /behind HTTP/1.1\r\nHost: a\r\n\r\n`);
    await until(() => client.hasEnded);

    expect(client.text).toMatch(/^HTTP\/1.1 403 [^]*Connection: close/);
    expect(asked).toEqual(["GET /chat?room=1"]);
  });
});

/** Ways from a client to an application that answers in its own words. */
const ways = [
  ["one proxy", async (port: number) => keep(await openHop(port, { tunnels }))],
  ["two proxies", async (port: number) => keep(await openLinkHop(port, { tunnels, app: "http1" }))],
] as const;

describe.each(ways)("an application behind %s", (_, openWay) => {
  test.each([
    ["403", "HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\nX-Why: no\r\n\r\nno", 403, "no"],
    [
      "426",
      "HTTP/1.1 426 Upgrade Required\r\nSec-WebSocket-Version: 8\r\nContent-Length: 0\r\n\r\n",
      426,
      "",
    ],
    ["200", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", 200, "hello"],
    [
      "200 in chunks",
      "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
      200,
      "hello",
    ],
    ["204", "HTTP/1.1 204 No Content\r\n\r\n", 204, ""],
    ["302", "HTTP/1.1 302 Found\r\nLocation: /login\r\nContent-Length: 0\r\n\r\n", 302, ""],
  ])(
    "may answer %s, which arrives as it is and ends the connection",
    async (_answer, answer, status, body) => {
      const upstream = keep(
        await openUpstream((socket, text) => {
          if (text.endsWith("\r\n\r\n")) socket.write(answer);
        }),
      );
      const hop = await openWay(upstream.port);
      using client = new RawClient(hop.port);
      client.send(upgradeRequest());
      await until(() => client.hasEnded);
      client.send("GET /behind HTTP/1.1\r\nHost: a\r\n\r\n");
      await aWhile();

      expect(client.text).toMatch(new RegExp(`^HTTP/1.1 ${status} `));
      expect(client.text).toMatch(/\r\nConnection: close\r\n/);
      expect(client.text.toLowerCase()).not.toMatch(/troth-|101 switching/);
      expect(client.text).toContain(body);
      if (status === 426) expect(client.text).toMatch(/sec-websocket-version: 8/i);
      expect(upstream.received.join("")).not.toContain("behind");
    },
  );

  test("never sees what was sent before it said yes, if it says no", async () => {
    const upstream = keep(
      await openUpstream((socket, text) => {
        if (text.endsWith("\r\n\r\n")) socket.write("HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n");
      }),
    );
    const hop = await openWay(upstream.port);
    using client = new RawClient(hop.port);
    client.send(`${upgradeRequest()}GET /admin HTTP/1.1\r\nHost: a\r\n\r\n`);
    await until(() => client.hasEnded);

    expect(client.text.match(/HTTP\/1.1/g)).toHaveLength(1);
    expect(upstream.received.join("")).not.toContain("/admin");
  });

  test.each([
    ["a wrong accept", upgradeAnswer("AQIDBAUGBwgJCgsMDQ4PEA==")],
    ["no accept", "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"],
    ["another protocol", "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n"],
    ["nothing of it", "HTTP/1.1 101 Switching Protocols\r\n\r\n"],
  ])("that switches with %s is not believed", async (_answer, answer) => {
    const upstream = keep(
      await openUpstream((socket, text) => {
        if (text.endsWith("\r\n\r\n")) socket.write(`${answer}HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n`);
      }),
    );
    const hop = await openWay(upstream.port);
    using client = new RawClient(hop.port);
    client.send(upgradeRequest());
    await until(() => client.hasEnded);

    expect(client.text).toMatch(/^HTTP\/1.1 502 [^]*"reason":"upstream-malformed-response"/);
  });

  test("that switches unasked is not believed", async () => {
    const upstream = keep(
      await openUpstream((socket, text) => {
        const key = "dGhlIHNhbXBsZSBub25jZQ==";
        if (text.endsWith("\r\n\r\n")) socket.write(upgradeAnswer(key));
      }),
    );
    const hop = await openWay(upstream.port);
    using client = new RawClient(hop.port);
    client.send("GET /chat HTTP/1.1\r\nHost: a\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n");
    await until(() => client.text.includes("\r\n\r\n"));

    expect(client.text).toMatch(/^HTTP\/1.1 502 /);
  });

  test("may send bytes with the head that opens the WebSocket, and end first", async () => {
    const upstream = keep(
      await openUpstream((socket, text) => {
        const key = lineOf(text, "sec-websocket-key") ?? "";
        if (text.endsWith("\r\n\r\n")) socket.write(`${upgradeAnswer(key)}first`);
        else if (text.endsWith("bye")) socket.end("last");
      }),
    );
    const hop = await openWay(upstream.port);
    using client = new RawClient(hop.port);
    client.send(upgradeRequest());
    await until(() => client.text.endsWith("first"));
    expect(lineOf(client.text, "sec-websocket-accept")).toBe(acceptOf("dGhlIHNhbXBsZSBub25jZQ=="));
    expect(lineOf(client.text, "connection")).toBe("Upgrade");
    client.send("bye");
    await until(() => client.hasEnded);
    expect(client.text.endsWith("firstlast")).toBe(true);
    client.socket.end();
    await until(() => client.isClosed);
  });

  test("is reset when the client is gone", async () => {
    const ends: string[] = [];
    const upstream = keep(
      await openUpstream((socket, text) => {
        const key = lineOf(text, "sec-websocket-key") ?? "";
        if (text.endsWith("\r\n\r\n")) socket.write(upgradeAnswer(key));
        socket.on("close", () => ends.push("closed"));
      }),
    );
    const hop = await openWay(upstream.port);
    using client = new RawClient(hop.port);
    client.send(upgradeRequest());
    await until(() => client.text.includes("101"));
    client.socket.resetAndDestroy();
    await until(() => ends.length > 0);
  });

  test("that is gone resets the client", async () => {
    const upstream = keep(
      await openUpstream((socket, text) => {
        const key = lineOf(text, "sec-websocket-key") ?? "";
        if (text.endsWith("\r\n\r\n")) socket.write(upgradeAnswer(key));
        else if (text.endsWith("now")) socket.resetAndDestroy();
      }),
    );
    const hop = await openWay(upstream.port);
    using client = new RawClient(hop.port);
    client.send(upgradeRequest());
    await until(() => client.text.includes("101"));
    client.send("now");
    await until(() => client.isClosed);

    expect(client.errorCode).toBe("ECONNRESET");
  });
});

describe("a WebSocket over HTTP/1.1", () => {
  test("ends after it has stood still for as long as it may, and not before", async () => {
    const app = keep(await openHttp1App());
    const limits = { bodyIdleMillis: 5_000, responseHeadMillis: 5_000, tunnelIdleMillis: 20_000 };
    const hop = keep(await openHop(app.port, { tunnels, limits }));
    using client = await openByUpgrade(hop.port);
    hop.passSeconds(20);
    client.send(Buffer.from("a"));
    await until(() => client.received() === "a");
    hop.passSeconds(20);
    await aWhile();
    expect([client.hasEnded(), hop.events]).toEqual([false, []]);
    hop.passSeconds(1);
    await until(() => hop.events.length === 1);

    expect(hop.events).toMatchObject([{ error: "tunnel-idle", status: 101 }]);
    expect(hop.pool.openCount).toBe(0);
  });

  test("takes no connection away from requests, and is refused beyond so many", async () => {
    const app = keep(await openHttp1App());
    const poolLimits = { openMax: 1, tunnelsMax: 2 };
    const hop = keep(await openHop(app.port, { tunnels, poolLimits }));
    using first = await openByUpgrade(hop.port, "a");
    using second = await openByUpgrade(hop.port, "b");
    await until(() => first.received() + second.received() === "ab");
    using third = new RawClient(hop.port);
    third.send(upgradeRequest());
    await until(() => third.hasEnded);
    expect(third.text).toMatch(/^HTTP\/1.1 503 [^]*upstream-pool-exhausted/);
    expect(hop.pool.openCount).toBe(2);
    first.end();
    second.end();
    await until(() => hop.pool.openCount === 0);
  });

  test("outlives a drain for as long as it may, whatever it says meanwhile", async () => {
    const app = keep(await openHttp1App());
    const hop = keep(await openHop(app.port, { tunnels, limits: { tunnelDrainMillis: 10_000 } }));
    using client = await openByUpgrade(hop.port);
    for (const connection of hop.connections) connection.close();
    for (let second = 0; second < 10; second += 1) {
      hop.passSeconds(1);
      client.send(Buffer.from("a"));
      await until(() => client.received().length === second + 1);
    }
    expect(hop.events).toEqual([]);
    hop.passSeconds(1);
    await until(() => hop.events.length === 1);

    expect(hop.events).toMatchObject([{ error: "tunnel-drained" }]);
  });

  test("is refused by a proxy that takes none", async () => {
    const app = keep(await openHttp1App());
    const hop = keep(await openHop(app.port));
    using client = new RawClient(hop.port);
    client.send(upgradeRequest());
    await until(() => client.hasEnded);

    expect(client.text).toMatch(/^HTTP\/1.1 501 [^]*upgrade-unsupported/);
    expect(app.heads).toEqual([]);
  });
});

describe("a WebSocket to a peer that knows no extended CONNECT", () => {
  test("goes over HTTP/1.1", async () => {
    const app = keep(await openHttp1App());
    const peer = http2.createServer();
    const hop = keep(
      await openLinkHop(app.port, {
        tunnels,
        serve: (socket) => {
          peer.emit("connection", socket);
        },
      }),
    );
    using client = await openByUpgrade(hop.port, "early");
    await until(() => client.received() === "early");
    peer.close();
  });
});

describe("a client of HTTP/2 whose application answers an upgrade with success", () => {
  test("is told 501 with the answer's body, since 200 would open the tunnel", async () => {
    const upstream = keep(
      await openUpstream((socket, text) => {
        if (text.endsWith("\r\n\r\n")) socket.write("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello");
      }),
    );
    const hop = keep(await openLinkHop(upstream.port, { tunnels, app: "http1", takesHttp2: true }));
    using client = await openByConnect(hop.port, "early");
    await until(() => client.received() === "hello");

    expect(client.status).toBe(501);
    expect(upstream.received.join("")).not.toContain("early");
  });
});
