import { describe, expect, test } from "vitest";
import { openPolicedHop, type PolicedHop } from "../../../test/apparatus/policed-hop.ts";
import { aWhile, openUpstream, RawClient, type RawUpstream, until } from "../../../test/fuzz/http1-hop.ts";
import { keptBodyBytesMax } from "./kept-body.ts";
import { retriesPerWindowMin } from "./retry-budget.ts";

const okay = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const busy = "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 4\r\n\r\nbusy";
const get = "GET /a HTTP/1.1\r\nHost: a\r\n\r\n";
const retries = { retriesMax: 2, on: ["503", "reset", "timeout", "connect-failed"], methods: [] } as const;
const again = { retriesMax: 2, on: [...retries.on], methods: [] };
const anyMethod = { ...again, methods: ["POST", "GET"] };

/** How many heads of requests came. */
function asked({ received }: RawUpstream): number {
  return received.join("").split(/(?:GET|POST) \/\S* HTTP/).length - 1;
}

/** Answers the first so many requests with one thing and all others with another. */
function answering(first: string, times: number, then = okay): Parameters<typeof openUpstream>[0] {
  let count = 0;
  return (socket, text) => {
    if (!text.endsWith("\r\n\r\n") && !text.endsWith("!")) return;
    count += 1;
    socket.write(count <= times ? first : then);
  };
}

/** Lets the pause before the next attempt pass. */
async function nextAttempt(hop: PolicedHop, upstream: RawUpstream, attempt: number): Promise<void> {
  await until(() => hop.countOf("retries tried") === attempt - 1);
  hop.pass(250);
  await until(() => asked(upstream) === attempt);
}

describe("a request that is repeated", () => {
  test("is so after a pause, and says which attempt it is", async () => {
    await using upstream = await openUpstream(answering(busy, 2));
    await using hop = await openPolicedHop(upstream.port);
    hop.police({ retries: again });
    using client = new RawClient(hop.port).send(get);
    await until(() => hop.countOf("retries tried") === 1);
    await aWhile();
    expect(asked(upstream)).toBe(1);
    await nextAttempt(hop, upstream, 2);
    await nextAttempt(hop, upstream, 3);
    await until(() => client.text === okay);

    const attempts = upstream.received.map((text) => /troth-attempt: (.*)\r/i.exec(text)?.[1]);
    expect(attempts).toEqual([undefined, "2", "3"]);
    expect(hop.counted).toEqual(["retries tried", "retries tried", "retries succeeded"]);
    expect(hop.hop.events).toMatchObject([{ status: 200, responseBytes: 2 }]);
  });

  test("is sent with its whole body each time, also one that came byte by byte", async () => {
    await using upstream = await openUpstream(answering(busy, 1));
    await using hop = await openPolicedHop(upstream.port);
    hop.police({ retries: anyMethod });
    const body = `${"x".repeat(300)}!`;
    using client = new RawClient(hop.port).send(
      `POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: ${body.length}\r\n\r\n`,
    );
    for (const byte of body) {
      client.send(byte);
      if (byte === "!") break;
      await new Promise((resolve) => setImmediate(resolve));
    }
    await nextAttempt(hop, upstream, 2);
    await until(() => client.text === okay);

    expect(upstream.received.map((text) => text.split("\r\n\r\n")[1])).toEqual([body, body]);
  });

  test("is none whose body is larger than is kept: the answer that there is", async () => {
    await using upstream = await openUpstream(answering(busy, 1));
    await using hop = await openPolicedHop(upstream.port);
    hop.police({ retries: anyMethod });
    const bytes = keptBodyBytesMax + 1;
    using client = new RawClient(hop.port).send(
      `POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: ${bytes}\r\n\r\n${"x".repeat(bytes - 1)}!`,
    );
    await until(() => client.text === busy);

    expect([asked(upstream), hop.counted]).toEqual([1, ["retries body-too-large"]]);
  });

  test("has none of the rest of its body lost that comes during the pause", async () => {
    let whole = "";
    await using upstream = await openUpstream((socket, text, index) => {
      if (index === 0) socket.write(busy);
      else if (text.endsWith("0\r\n\r\n")) {
        whole = text;
        socket.write(okay);
      }
    });
    await using hop = await openPolicedHop(upstream.port);
    hop.police({ retries: anyMethod });
    using client = new RawClient(hop.port).send(
      "POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
    );
    await until(() => hop.countOf("retries tried") === 1);
    const bytes = 2 * keptBodyBytesMax;
    client.send(`${bytes.toString(16)}\r\n${"x".repeat(bytes)}\r\n0\r\n\r\n`);
    await aWhile();
    hop.pass(250);
    await until(() => client.text === okay);

    expect(whole).toContain("abc");
    expect(whole.split("x").length - 1).toBe(bytes + 1);
  });

  test("is none with a method that the policy does not name", async () => {
    await using upstream = await openUpstream(answering(busy, 1));
    await using hop = await openPolicedHop(upstream.port);
    hop.police({ retries: again });
    using client = new RawClient(hop.port).send("POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\n!");
    await until(() => client.text === busy);

    expect([asked(upstream), hop.counted]).toEqual([1, []]);
  });

  test("is none once a byte of a response has gone to the client", async () => {
    await using upstream = await openUpstream((socket) => {
      socket.write("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nfirst");
      setTimeout(() => socket.resetAndDestroy(), 20);
    });
    await using hop = await openPolicedHop(upstream.port);
    hop.police({ retries: again });
    using client = new RawClient(hop.port).send(get);
    await until(() => client.isClosed);

    expect([client.text.endsWith("first"), asked(upstream), hop.counted]).toEqual([true, 1, []]);
  });

  test("is none once a hint has gone to the client", async () => {
    await using upstream = await openUpstream(
      answering(`HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n${busy}`, 1),
    );
    await using hop = await openPolicedHop(upstream.port);
    hop.police({ retries: again });
    using client = new RawClient(hop.port).send(get);
    await until(() => client.text.endsWith("busy"));

    expect(asked(upstream)).toBe(1);
  });

  test("tells its client once to go on", async () => {
    const goOn = "HTTP/1.1 100 Continue\r\n\r\n";
    await using upstream = await openUpstream((socket, text, index) => {
      if (index > 0) socket.write(`${goOn}${okay}`);
      else if (text.endsWith("\r\n\r\n")) socket.write(goOn);
      else socket.write(busy);
    });
    await using hop = await openPolicedHop(upstream.port);
    hop.police({ retries: anyMethod });
    using client = new RawClient(hop.port).send(
      "POST /a HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n",
    );
    await until(() => client.text === goOn);
    client.send("!");
    await nextAttempt(hop, upstream, 2);
    await until(() => client.text.endsWith("ok"));

    expect(client.text).toBe(`${goOn}${okay}`);
  });

  test("waits no longer once its client has gone", async () => {
    await using upstream = await openUpstream(answering(busy, 9));
    await using hop = await openPolicedHop(upstream.port);
    hop.police({ retries: again });
    const client = new RawClient(hop.port).send(get);
    await until(() => hop.countOf("retries tried") === 1);
    client.socket.resetAndDestroy();
    await until(() => hop.hop.events.length === 1);
    hop.pass(10_000);
    await aWhile();

    expect(asked(upstream)).toBe(1);
    expect(hop.hop.events).toMatchObject([{ error: "client-gone", status: 0 }]);
  });

  test("goes on under the policy that it began with", async () => {
    await using upstream = await openUpstream(answering(busy, 1));
    await using hop = await openPolicedHop(upstream.port);
    hop.police({ retries: again });
    using client = new RawClient(hop.port).send(get);
    await until(() => hop.countOf("retries tried") === 1);
    hop.police(undefined);
    hop.pass(250);
    await until(() => client.text === okay);

    expect(asked(upstream)).toBe(2);
  });

  test("stays within the budget, which at no traffic is a few", async () => {
    await using upstream = await openUpstream(answering(busy, Number.POSITIVE_INFINITY));
    await using hop = await openPolicedHop(upstream.port);
    hop.police({ retries: again, retryBudgetPercent: 1 });
    const ask = async (): Promise<void> => {
      using client = new RawClient(hop.port).send(get);
      while (!client.text.endsWith("busy")) {
        hop.pass(60);
        await new Promise((resolve) => setTimeout(resolve, 12));
      }
    };
    for (let count = 0; count < 8; count += 1) await ask();
    // Another policy is no new budget.
    hop.police({ retries: { ...again, retriesMax: 3 }, retryBudgetPercent: 1 });
    await ask();
    const before = asked(upstream) - 1;
    hop.police({ retries: again, retryBudgetPercent: 1 });
    hop.pass(11_000);
    await ask();

    expect(before).toBe(8 + retriesPerWindowMin);
    expect(hop.countOf("retries budget-exhausted")).toBeGreaterThan(0);
    expect(asked(upstream)).toBe(before + 4);
  });

  test("gets nothing of an attempt that answers after its time", async () => {
    await using upstream = await openUpstream((socket, _, index) => {
      if (index > 0) socket.write(okay);
    });
    await using hop = await openPolicedHop(upstream.port);
    hop.police({ retries: { ...again, attemptMillis: 1_000 } });
    using client = new RawClient(hop.port).send(get);
    await until(() => asked(upstream) === 1);
    hop.pass(1_001);
    await nextAttempt(hop, upstream, 2);
    upstream.sockets[0]?.write("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nlate");
    await until(() => client.text === okay);
    await aWhile();

    expect(client.text).toBe(okay);
    expect(hop.counted).toEqual(["retries tried", "timeouts attempt", "retries succeeded"]);
  });
});

describe("the time of a request", () => {
  test("is over at its end, whatever it waits for: request-timeout", async () => {
    await using upstream = await openUpstream(() => {});
    await using hop = await openPolicedHop(upstream.port);
    hop.police({ timeoutMillis: 500, retries: { ...again, attemptMillis: 450 } });
    using client = new RawClient(hop.port).send(get);
    await until(() => asked(upstream) === 1);
    hop.pass(460);
    await until(() => hop.countOf("retries tried") === 1);
    hop.pass(41);
    await until(() => client.text.endsWith("}\n"));

    expect(client.text).toMatch(/^HTTP\/1\.1 504 [^]*"reason":"request-timeout"/);
    expect(hop.hop.events).toMatchObject([{ error: "request-timeout", status: 504 }]);
  });

  test("is not touched before", async () => {
    await using upstream = await openUpstream(() => {});
    await using hop = await openPolicedHop(upstream.port);
    hop.police({ timeoutMillis: 500 });
    using client = new RawClient(hop.port).send(get);
    await until(() => asked(upstream) === 1);
    hop.pass(499);
    await aWhile();

    expect(client.text).toBe("");
  });

  test("has no end where a route says so", async () => {
    await using upstream = await openUpstream(() => {});
    await using hop = await openPolicedHop(upstream.port);
    hop.police({ timeoutMillis: 500, routes: [{ methods: ["GET"], paths: ["/a"], timeoutMillis: 0 }] });
    using client = new RawClient(hop.port).send(get);
    await until(() => asked(upstream) === 1);
    hop.pass(100_000);
    await aWhile();

    expect(client.text).toBe("");
  });
});

describe("a fault", () => {
  test("of a client that goes meanwhile asks nobody", async () => {
    await using upstream = await openUpstream(answering(okay, 1));
    await using hop = await openPolicedHop(upstream.port);
    hop.police({ routes: [{ methods: [], paths: [], fault: { percent: 100, delayMillis: 100 } }] });
    const client = new RawClient(hop.port).send(get);
    await until(() => hop.countOf("faults delay") === 1);
    client.socket.resetAndDestroy();
    await until(() => hop.hop.events.length === 1);
    hop.pass(1_000);
    await aWhile();

    expect(asked(upstream)).toBe(0);
  });

  test("of a status is not repeated, and says so: fault-injected", async () => {
    await using upstream = await openUpstream(answering(okay, 1));
    await using hop = await openPolicedHop(upstream.port);
    const fault = { percent: 100, status: 503 };
    hop.police({ retries: again, routes: [{ methods: [], paths: ["/a"], fault }] });
    using client = new RawClient(hop.port).send(get);
    await until(() => client.text.endsWith("}\n"));

    expect(client.text).toMatch(/^HTTP\/1\.1 503 [^]*"reason":"fault-injected"/);
    expect([asked(upstream), hop.counted]).toEqual([0, ["faults status"]]);
  });

  test("is injected into the share of requests that is drawn", async () => {
    const draws = [0.49, 0.5, 0.1, 0.99];
    await using upstream = await openUpstream(answering(okay, 9));
    await using hop = await openPolicedHop(upstream.port, { random: () => draws.shift() ?? 1 });
    const fault = { percent: 50, status: 418 };
    hop.police({ routes: [{ methods: [], paths: [], fault }] });
    const statuses: string[] = [];
    for (let count = 0; count < 4; count += 1) {
      using client = new RawClient(hop.port).send(get);
      await until(() => client.text.endsWith("ok") || client.text.endsWith("}\n"));
      statuses.push(client.text.slice(9, 12));
    }

    expect(statuses).toEqual(["418", "200", "418", "200"]);
  });
});
