import { connect, type Socket } from "node:net";
import { createServer as createTlsServer, type TLSSocket, connect as tlsConnect } from "node:tls";
import { describe, expect, test } from "vitest";
import { aWhile, openHop, openUpstream, RawClient, until } from "../../../test/fuzz/http1-hop.ts";
import { fail, ok, type Result } from "../../base/result.ts";
import { openTcp } from "./index.ts";

const get = "GET /a HTTP/1.1\r\nHost: a\r\n\r\n";
const okay = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

describe("a pool", () => {
  test("opens no more than openMax, serves who waits in turn, and refuses who is too many: upstream-pool-exhausted", async () => {
    const answers: (() => void)[] = [];
    await using upstream = await openUpstream((socket) => answers.push(() => socket.write(okay)));
    await using hop = await openHop(upstream.port, { poolLimits: { openMax: 1, waitingMax: 2 } });
    const clients: RawClient[] = [];
    for (let index = 0; index < 4; index += 1) {
      clients.push(new RawClient(hop.port).send(get.replace("/a", `/${index}`)));
      await until(
        () =>
          (hop.connections.length === index + 1 && hop.connections[index]?.isIdle === false) || index === 3,
      );
      await aWhile();
    }
    await until(() => clients[3]?.text.endsWith("}\n") === true);

    for (let index = 0; index < 3; index += 1) {
      await until(() => answers.length === index + 1);
      answers[index]?.();
      await until(() => clients[index]?.text === okay);
    }

    expect(clients[3]?.text).toMatch(/^HTTP\/1.1 503 [^]*"upstream-pool-exhausted"/);
    expect(upstream.received).toHaveLength(1);
    expect(upstream.received[0]?.match(/GET \/\d/g)).toEqual(["GET /0", "GET /1", "GET /2"]);
    for (const client of clients) client.socket.destroy();
  });

  test("opens no more than openingMax at a time, and who waits takes what others have finished with", async () => {
    const answers: (() => void)[] = [];
    await using upstream = await openUpstream((socket) => answers.push(() => socket.write(okay)));
    let isSlow = false;
    const held: (() => void)[] = [];
    const open = openTcp({ host: "127.0.0.1", port: upstream.port });
    await using hop = await openHop(upstream.port, {
      poolLimits: { openingMax: 2 },
      open: async (...args) => {
        if (isSlow) await new Promise<void>((resolve) => held.push(resolve));
        return open(...args);
      },
    });
    using first = new RawClient(hop.port).send(get);
    await until(() => answers.length === 1);
    isSlow = true;
    const others = [1, 2, 3, 4, 5].map(() => new RawClient(hop.port).send(get));
    await until(() => hop.pool.waitingCount === 5);

    const openings = held.length;
    for (let count = 1; count <= 6; count += 1) {
      answers[count - 1]?.();
      if (count < 6) await until(() => answers.length === count + 1);
    }
    await until(() => others.every(({ text }) => text === okay));

    expect(openings).toBe(2);
    expect(first.text).toBe(okay);
    expect(upstream.sockets).toHaveLength(1);
    for (const release of held) release();
    for (const client of others) client.socket.destroy();
  });

  test("lets nobody wait for ever: upstream-pool-timeout", async () => {
    await using upstream = await openUpstream(() => {});
    await using hop = await openHop(upstream.port, { poolLimits: { openMax: 1 } });
    using first = new RawClient(hop.port).send(get);
    await until(() => upstream.received[0] !== undefined);
    using second = new RawClient(hop.port).send(get);
    await until(() => hop.pool.waitingCount === 1);

    hop.passSeconds(6);
    await until(() => second.text.endsWith("}\n"));

    expect(second.text).toMatch(/^HTTP\/1.1 503 [^]*"upstream-pool-timeout"/);
    expect(first.text).toBe("");
    expect(hop.pool.waitingCount).toBe(0);
  });

  test("forgets who has gone while waiting", async () => {
    await using upstream = await openUpstream(() => {});
    await using hop = await openHop(upstream.port, { poolLimits: { openMax: 1 } });
    using first = new RawClient(hop.port).send(get);
    await until(() => upstream.received[0] !== undefined);
    const second = new RawClient(hop.port).send(get);
    await until(() => hop.pool.waitingCount === 1);

    second.socket.resetAndDestroy();
    await until(() => hop.pool.waitingCount === 0);

    expect(first.text).toBe("");
  });

  test("passes on why a connection was refused: upstream-connect-failed", async () => {
    await using hop = await openHop(1, { open: async () => fail("certificate-revoked", "entry 7") });
    using client = new RawClient(hop.port).send(get);
    await until(() => client.text.endsWith("}\n"));

    expect(client.text).toMatch(
      /^HTTP\/1.1 502 [^]*"detail":"certificate-revoked: entry 7","reason":"upstream-connect-failed"/,
    );
    expect(client.hasEnded).toBe(false);
  });

  test("takes an opener that throws for a refusal", async () => {
    await using hop = await openHop(1, { open: async () => Promise.reject(new Error("broken")) });
    using client = new RawClient(hop.port).send(get);
    await until(() => client.text.endsWith("}\n"));

    expect(client.text).toMatch(/^HTTP\/1.1 502 /);
  });

  test("refuses where nobody listens", async () => {
    await using upstream = await openUpstream(() => {});
    const { port } = upstream;
    await upstream[Symbol.asyncDispose]();
    await using hop = await openHop(port);
    using client = new RawClient(hop.port).send(get);
    await until(() => client.text.endsWith("}\n"));

    expect(client.text).toMatch(/"connect-failed: ECONNREFUSED"/);
  });

  test("gives up an opening in time, and throws away what comes of it later: upstream-connect-timeout", async () => {
    await using upstream = await openUpstream(() => {});
    let isAborted = false;
    let finish = (): void => {};
    await using hop = await openHop(upstream.port, {
      open: async (onread, signal) => {
        signal.addEventListener("abort", () => {
          isAborted = true;
        });
        await new Promise<void>((resolve) => {
          finish = resolve;
        });
        return ok(connect({ port: upstream.port, host: "127.0.0.1", onread }));
      },
      poolLimits: { waitMillis: 60_000 },
    });
    using client = new RawClient(hop.port).send(get);
    await until(() => hop.pool.openCount === 1);

    hop.passSeconds(6);
    await until(() => client.text.endsWith("}\n"));
    finish();
    await until(() => hop.upstreamSockets[0]?.destroyed === true);

    expect(client.text).toMatch(/^HTTP\/1.1 504 [^]*"upstream-connect-timeout"/);
    expect(isAborted).toBe(true);
    expect(hop.pool.openCount).toBe(0);
  });

  test("keeps idleMax connections, and each for idleMillis", async () => {
    const answers: (() => void)[] = [];
    await using upstream = await openUpstream((socket) => answers.push(() => socket.write(okay)));
    await using hop = await openHop(upstream.port, { poolLimits: { idleMax: 2 } });
    const clients = [1, 2, 3].map(() => new RawClient(hop.port).send(get));
    await until(() => answers.length === 3);
    for (const answer of answers) answer();
    await until(() => clients.every((client) => client.text === okay));
    expect([hop.pool.idleCount, hop.pool.openCount]).toEqual([2, 2]);

    hop.passSeconds(49);
    expect(hop.pool.idleCount).toBe(2);
    hop.passSeconds(2);

    expect([hop.pool.idleCount, hop.pool.openCount]).toEqual([0, 0]);
    for (const client of clients) client.socket.destroy();
  });

  test("notices an idle connection that the upstream closes", async () => {
    await using upstream = await openUpstream((socket) => socket.write(okay));
    await using hop = await openHop(upstream.port);
    using client = new RawClient(hop.port).send(get);
    await until(() => hop.pool.idleCount === 1);

    upstream.sockets[0]?.end();
    await until(() => hop.pool.openCount === 0);

    await until(() => client.text === okay);
  });

  test("lends no idle connection whose socket is destroyed already", async () => {
    await using upstream = await openUpstream((socket) => socket.write(okay));
    await using hop = await openHop(upstream.port);
    using client = new RawClient(hop.port).send(get);
    await until(() => hop.pool.idleCount === 1);
    const waiter = { onConnection: () => {}, onNoConnection: () => {} };

    hop.upstreamSockets[0]?.destroy();
    const lent = hop.pool.acquire(waiter, "any");

    expect(lent).toBeUndefined();
    expect(hop.pool.waitingCount).toBe(1);
    hop.pool.cancel(waiter);
    await until(() => client.text === okay);
  });

  test("that drains lets requests finish and sends no other on their connections", async () => {
    const answers: (() => void)[] = [];
    await using upstream = await openUpstream((socket) => answers.push(() => socket.write(okay)));
    await using hop = await openHop(upstream.port);
    using busy = new RawClient(hop.port).send(get);
    using idle = new RawClient(hop.port).send(get);
    await until(() => answers.length === 2);
    answers[1]?.();
    await until(() => hop.pool.idleCount === 1);

    hop.pool.drain();
    await until(() => hop.pool.openCount === 1);
    answers[0]?.();
    await until(() => hop.pool.openCount === 0);
    busy.send(get);
    await until(() => answers.length === 3);
    answers[2]?.();
    await until(() => busy.text === okay + okay);

    expect(upstream.sockets).toHaveLength(3);
    expect(idle.text.length + busy.text.length).toBe(3 * okay.length);
  });

  test("that drains over a time goes on lending the connections whose turn has not come", async () => {
    const answers: (() => void)[] = [];
    await using upstream = await openUpstream((socket) => answers.push(() => socket.write(okay)));
    await using hop = await openHop(upstream.port);
    const clients = Array.from({ length: 4 }, () => new RawClient(hop.port).send(get));
    await until(() => answers.length === 4);
    for (const answer of answers) answer();
    await until(() => hop.pool.idleCount === 4);

    hop.pool.drain(4_000);
    const left = [hop.pool.idleCount];
    for (let second = 0; second < 4; second += 1) {
      hop.passSeconds(1);
      left.push(hop.pool.idleCount);
    }

    expect(left).toEqual([3, 2, 1, 0, 0]);
    for (const client of clients) client.socket.destroy();
  });

  test("breaks the connections it is told to, with the requests on them", async () => {
    await using upstream = await openUpstream((socket) =>
      socket.write("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc"),
    );
    await using hop = await openHop(upstream.port);
    using meant = new RawClient(hop.port).send(get);
    await until(() => meant.text.endsWith("abc"));
    using other = new RawClient(hop.port).send(get);
    await until(() => other.text.endsWith("abc"));

    hop.pool.destroyAll((socket) => socket === hop.upstreamSockets[0]);
    await until(() => meant.isClosed);
    await aWhile();

    expect(other.isClosed).toBe(false);
    expect(hop.pool.openCount).toBe(1);
  });

  test("trusts no connection on which the peer spoke first", async () => {
    let speak = (): void => {};
    await using upstream = await openUpstream(() => {});
    await using hop = await openHop(upstream.port, {
      open: async (onread) => {
        const socket = connect({ port: upstream.port, host: "127.0.0.1", onread });
        await until(() => upstream.sockets.length === 1);
        speak = () => upstream.sockets[0]?.write("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison");
        speak();
        await until(() => socket.bytesRead > 0);
        return ok(socket);
      },
    });
    using client = new RawClient(hop.port).send(get);
    await until(() => client.text.endsWith("}\n"));

    expect(client.text).toMatch(/^HTTP\/1.1 502 /);
    expect(upstream.received).toEqual([""]);
  });

  test.each([
    ["reads into the buffer it is given", true],
    ["reads into buffers of its own", false],
  ])("works over TLS where the socket %s", async (_, usesPort) => {
    const key = Buffer.from("secret");
    const suite = { ciphers: "PSK-AES128-GCM-SHA256", minVersion: "TLSv1.2", maxVersion: "TLSv1.2" } as const;
    const server = createTlsServer({ ...suite, pskCallback: () => key, pskIdentityHint: "h" }, (socket) => {
      socket.on("error", () => {});
      socket.on("data", () => socket.write(okay));
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const address = server.address();
    const port = typeof address === "object" && address !== null ? address.port : 0;
    await using hop = await openHop(port, {
      open: async (onread) =>
        new Promise<Result<Socket, string>>((resolve) => {
          const socket: TLSSocket = tlsConnect(
            {
              port,
              host: "127.0.0.1",
              ...suite,
              pskCallback: () => ({ psk: key, identity: "i" }),
              checkServerIdentity: () => undefined,
              ...(usesPort ? { onread } : {}),
            },
            () => resolve(ok(socket)),
          );
          socket.on("error", (error) => resolve(fail("tls", error.message)));
        }),
    });
    using client = new RawClient(hop.port);

    for (let round = 1; round <= 3; round += 1) {
      client.send(get);
      await until(() => client.text === okay.repeat(round));
    }

    expect(hop.upstreamSockets).toHaveLength(1);
    hop.pool.close();
    await new Promise((resolve) => server.close(resolve));
  });
});
