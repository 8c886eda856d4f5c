import { describe, expect, test } from "vitest";
import { aWhile, openHop, openUpstream, RawClient, until } from "../../../test/fuzz/http1-hop.ts";
import { refusedBodies, refusedHeads } from "../../../test/fuzz/http1-refused-requests.ts";
import { problemAnswer } from "./problem-answer.ts";

const get = "GET /a HTTP/1.1\r\nHost: a\r\n\r\n";
const okay = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

describe("a client's connection", () => {
  test("gets the refusal of every ambiguous head and is closed, and the upstream gets nothing", async () => {
    await using upstream = await openUpstream(() => {});
    await using hop = await openHop(upstream.port);

    for (const { what, bytes, status, reason } of refusedHeads) {
      using client = new RawClient(hop.port).send(bytes);
      await until(() => client.hasEnded, what);
      expect([what, client.text]).toEqual([what, expect.stringMatching(new RegExp(`^HTTP/1.1 ${status} `))]);
      expect(client.text).toContain("Connection: close\r\n");
      expect(JSON.parse(bodyOf(client.text))).toMatchObject({
        status,
        reason,
        type: `urn:troth:problem:${reason}`,
      });
    }

    expect(upstream.sockets).toEqual([]);
    expect(hop.events.map((event) => event.error)).toEqual(refusedHeads.map(({ reason }) => reason));
  });

  test.each(refusedBodies)("gets the refusal of a chunked body with %s", async (_, body, reason) => {
    await using upstream = await openUpstream(() => {});
    await using hop = await openHop(upstream.port);
    using client = new RawClient(hop.port);

    client.send(`POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n${body}${get}`);
    await until(() => client.hasEnded);

    expect(client.text).toMatch(/^HTTP\/1.1 (400|431) /);
    expect(JSON.parse(bodyOf(client.text))).toMatchObject({ reason });
    expect(upstream.sockets).toEqual([]);
  });

  test("that wants another protocol is refused: upgrade-unsupported", async () => {
    await using upstream = await openUpstream(() => {});
    await using hop = await openHop(upstream.port);
    using client = new RawClient(hop.port);

    client.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
    await until(() => client.text.endsWith("}\n"));

    expect(client.text).toMatch(/^HTTP\/1.1 501 /);
    expect(upstream.sockets).toEqual([]);
  });

  test("gets the answers to requests that came together in their order", async () => {
    const waiting: (() => void)[] = [];
    await using upstream = await openUpstream((socket, text) => {
      const [, path = ""] = /GET (\S+) .*$/m.exec(text.slice(text.lastIndexOf("GET"))) ?? [];
      waiting.push(() => socket.write(`HTTP/1.1 200 OK\r\nContent-Length: ${path.length}\r\n\r\n${path}`));
    });
    await using hop = await openHop(upstream.port);
    using client = new RawClient(hop.port);

    client.send(get.replace("/a", "/1") + get.replace("/a", "/22") + get.replace("/a", "/333"));
    for (let served = 1; served <= 3; served += 1) {
      await until(() => waiting.length === served);
      await aWhile();
      expect(waiting).toHaveLength(served);
      waiting[served - 1]?.();
    }
    await until(() => client.text.endsWith("/333"));

    expect(client.text.match(/\/\d+$/gm)).toEqual(["/333"]);
    expect(client.text.replaceAll(/HTTP.*\r\n.*\r\n\r\n/g, "|")).toBe("|/1|/22|/333");
    expect(upstream.sockets).toHaveLength(1);
  });

  test("that sends many requests and takes no answer is not read from without bound", async () => {
    await using upstream = await openUpstream(() => {});
    const answer = { ...problemAnswer({ status: 403, reason: "x" }), body: Buffer.alloc(60_000) };
    await using hop = await openHop(upstream.port, { decide: () => answer });
    using client = new RawClient(hop.port);
    client.socket.pause();

    client.send(get.repeat(400));
    await until(() => hop.clientSockets[0]?.writableNeedDrain === true);
    await aWhile();

    expect(hop.events.length).toBeLessThan(300);
    expect(hop.clientSockets[0]?.writableLength).toBeLessThan(200_000);
    client.socket.resume();
    await until(() => hop.events.length === 400);
  });

  test("that sends a head byte by byte is refused after the time for heads: head-timeout", async () => {
    await using upstream = await openUpstream(() => {});
    await using hop = await openHop(upstream.port);
    using client = new RawClient(hop.port);

    for (const byte of "GET / HTTP/1.1\r") {
      client.send(byte);
      await aWhile();
      hop.passSeconds(0.35);
    }
    expect(client.text).toBe("");
    hop.passSeconds(1);
    await until(() => client.hasEnded);

    expect(client.text).toMatch(/^HTTP\/1.1 408 /);
    expect(hop.events).toMatchObject([{ status: 408, error: "head-timeout" }]);
  });

  test("that says nothing is closed without an answer, sooner when it is new", async () => {
    await using upstream = await openUpstream((socket) => socket.write(okay));
    await using hop = await openHop(upstream.port);
    using silent = new RawClient(hop.port);
    using once = new RawClient(hop.port).send(get);
    await until(() => once.text.endsWith("ok") && hop.connections.length === 2);

    hop.passSeconds(6);
    await until(() => silent.hasEnded);
    expect(once.hasEnded).toBe(false);
    hop.passSeconds(60);
    await until(() => once.hasEnded);

    expect(silent.text).toBe("");
  });

  test("that we closed is broken after a while if the client does not end its side", async () => {
    await using upstream = await openUpstream(() => {});
    await using hop = await openHop(upstream.port);
    using client = new RawClient(hop.port).send("x\r\n");
    await until(() => client.hasEnded);
    await until(() => hop.clientSockets[0]?.writableFinished === true);

    expect(hop.clientSockets[0]?.destroyed).toBe(false);
    await aWhile();
    hop.passSeconds(3);

    expect(hop.clientSockets[0]?.destroyed).toBe(true);
  });

  test("that we closed is broken when it floods us", async () => {
    await using upstream = await openUpstream(() => {});
    await using hop = await openHop(upstream.port);
    using client = new RawClient(hop.port).send("x\r\n");
    await until(() => client.hasEnded);

    client.socket.write(Buffer.alloc(1_000_000));

    await until(() => hop.clientSockets[0]?.destroyed === true);
  });

  test("that ends its side after a request still gets the answer, and then the end", async () => {
    let answer = (): void => {};
    await using upstream = await openUpstream((socket) => {
      answer = () => socket.write(okay);
    });
    await using hop = await openHop(upstream.port);
    using client = new RawClient(hop.port).send(get);
    client.socket.end();
    await until(() => upstream.received[0]?.endsWith("\r\n\r\n") === true);
    await aWhile();

    answer();
    await until(() => client.isClosed);

    expect(client.text).toBe(okay);
    expect(hop.events).toMatchObject([{ status: 200, responseBytes: 2 }]);
  });

  test("that ends its side within a body loses its request, and the upstream the connection", async () => {
    await using upstream = await openUpstream(() => {});
    await using hop = await openHop(upstream.port);
    using client = new RawClient(hop.port).send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nabc");
    await until(() => upstream.received[0]?.endsWith("abc") === true);

    client.socket.end();
    await until(() => upstream.sockets[0]?.destroyed === true);

    expect(hop.events).toMatchObject([{ status: 0, error: "client-gone", requestBytes: 3 }]);
    expect(hop.pool.openCount).toBe(0);
  });

  test("is closed after the request in progress when asked to close", async () => {
    let answer = (): void => {};
    await using upstream = await openUpstream((socket) => {
      answer = () => socket.write(okay);
    });
    await using hop = await openHop(upstream.port);
    using busy = new RawClient(hop.port).send(get + get);
    using idle = new RawClient(hop.port);
    await until(() => upstream.received.length === 1 && hop.connections.length === 2);

    expect(hop.connections.map((connection) => connection.isIdle)).toEqual([false, true]);
    for (const connection of hop.connections) connection.close();
    await until(() => idle.hasEnded);
    answer();
    await until(() => busy.hasEnded);

    expect(busy.text).toBe("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok");
  });

  test("that is destroyed takes the connection to the upstream with it", async () => {
    await using upstream = await openUpstream(() => {});
    await using hop = await openHop(upstream.port);
    using client = new RawClient(hop.port).send(get);
    await until(() => upstream.received[0] !== undefined);

    hop.connections[0]?.destroy();
    await until(() => client.hasEnded && upstream.sockets[0]?.destroyed === true);

    expect(hop.events).toMatchObject([{ error: "client-gone" }]);
  });
});

describe("a verdict", () => {
  test("is awaited before anything of the request goes upstream", async () => {
    let settle = (): void => {};
    await using upstream = await openUpstream((socket) => socket.write(okay));
    await using hop = await openHop(upstream.port, {
      decide: (_, forward) =>
        new Promise((resolve) => {
          settle = () => resolve(forward);
        }),
    });
    using client = new RawClient(hop.port).send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\n\r\nabc");
    await until(() => hop.connections.length === 1);
    client.send("def");
    await aWhile();

    expect(upstream.sockets).toEqual([]);
    settle();
    await until(() => client.text === okay);

    expect(upstream.received[0]).toMatch(/\r\n\r\nabcdef$/);
  });

  test.each([
    [
      "throws",
      (): never => {
        throw new Error("secret");
      },
    ],
    ["rejects", async () => Promise.reject(new Error("secret"))],
    [
      "edits wrongly",
      (_: unknown, forward: object) => ({
        ...forward,
        edits: { remove: [], add: Buffer.alloc(0), target: "/a b" },
      }),
    ],
  ])("that %s is a refusal that tells nothing: decision-failed", async (_, decide) => {
    await using upstream = await openUpstream(() => {});
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- the rows are wrong verdicts on purpose
    await using hop = await openHop(upstream.port, { decide: decide as never });
    using client = new RawClient(hop.port).send(get);
    await until(() => client.text.endsWith("}\n"));

    expect(client.text).toMatch(/^HTTP\/1.1 500 /);
    expect(JSON.parse(bodyOf(client.text))).toMatchObject({ reason: "decision-failed" });
    expect(client.text).not.toContain("secret");
    expect(hop.faults).toHaveLength(1);
    expect(upstream.sockets).toEqual([]);
  });

  test("that comes later and leads to a fault of ours ends its connection, and no other", async () => {
    await using upstream = await openUpstream((socket) => socket.write(okay));
    let isFaulty = true;
    await using hop = await openHop(upstream.port, {
      decide: async (_, forward) => {
        if (!isFaulty || forward.kind === "answer") return forward;
        const start = (): never => {
          throw new Error("a fault");
        };
        return {
          ...forward,
          upstream: { begin: (request) => Object.assign(forward.upstream.begin(request), { start }) },
        };
      },
    });
    using faulty = new RawClient(hop.port).send(get);
    await until(() => faulty.hasEnded);
    isFaulty = false;
    using next = new RawClient(hop.port).send(get);
    await until(() => next.text === okay);

    expect(hop.faults).toMatchObject([{ message: "a fault" }]);
  });

  test("that never comes is a refusal: decision-timeout", async () => {
    await using upstream = await openUpstream(() => {});
    await using hop = await openHop(upstream.port, { decide: () => new Promise(() => {}) });
    using client = new RawClient(hop.port).send(get);
    await until(() => hop.connections[0]?.isIdle === false);

    hop.passSeconds(11);
    await until(() => client.text.endsWith("}\n"));

    expect(client.text).toMatch(/^HTTP\/1.1 503 /);
  });

  test("that comes after the client has gone does nothing", async () => {
    let settle = (): void => {};
    await using upstream = await openUpstream(() => {});
    await using hop = await openHop(upstream.port, {
      decide: (_, forward) =>
        new Promise((resolve) => {
          settle = () => resolve(forward);
        }),
    });
    const client = new RawClient(hop.port).send(get);
    await until(() => hop.connections[0]?.isIdle === false);
    client.socket.resetAndDestroy();
    await until(() => hop.events.length === 1);

    settle();
    await aWhile();

    expect(upstream.sockets).toEqual([]);
  });

  test("may answer by itself, and the connection goes on where the whole request has been read", async () => {
    await using upstream = await openUpstream(() => {});
    await using hop = await openHop(upstream.port, {
      decide: () => problemAnswer({ status: 403, reason: "not-permitted", detail: "rule 7" }),
    });
    using client = new RawClient(hop.port);

    client.send(`POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc${get.replace("GET", "HEAD")}`);
    await until(() => hop.events.length === 2);
    await aWhile();

    expect(client.hasEnded).toBe(false);
    expect(client.text.split("HTTP/1.1 403 Forbidden\r\n")).toHaveLength(3);
    expect(client.text).toMatch(/"reason":"not-permitted"\}\n/);
    expect(client.text.endsWith("\r\n\r\n")).toBe(true);
  });

  test("that answers before the body has come ends the connection, and the answer still arrives", async () => {
    await using upstream = await openUpstream(() => {});
    await using hop = await openHop(upstream.port, {
      decide: () => problemAnswer({ status: 403, reason: "x" }),
    });
    using client = new RawClient(hop.port);

    client.send(`POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 90000\r\n\r\n${"b".repeat(60_000)}`);
    await until(() => client.hasEnded);
    client.send("b".repeat(30_000));
    client.socket.end();
    await until(() => client.isClosed);

    expect(client.text).toMatch(/^HTTP\/1.1 403 /);
    expect(client.text).toContain("Connection: close\r\n");
    expect(client.errorCode).toBeUndefined();
  });
});

function bodyOf(text: string): string {
  return text.slice(text.indexOf("\r\n\r\n") + 4);
}
