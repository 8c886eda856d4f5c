import { describe, expect, test } from "vitest";
import { aWhile, openHop, openUpstream, RawClient, until } from "../../../test/fuzz/http1-hop.ts";
import { openLinkHop } from "../../../test/fuzz/link-hop.ts";
import { problemAnswer } from "./problem-answer.ts";

const get = "GET /a HTTP/1.1\r\nHost: a\r\n\r\n";
const expecting = "POST /a HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n";
const okay = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const hops = [
  ["one proxy", openHop],
  ["two", openLinkHop],
] as const;

describe("a body that waits for leave", () => {
  test.each(hops)("is asked for by the application, and the connection goes on: %s", async (_, open) => {
    await using upstream = await openUpstream((socket, text) => {
      if (text.endsWith("\r\n\r\n")) socket.write("HTTP/1.1 100 Continue\r\n\r\n");
      if (text.endsWith("abc")) socket.write(okay);
    });
    await using hop = await open(upstream.port);
    using client = new RawClient(hop.port);
    for (let round = 1; round <= 2; round += 1) {
      client.text = "";
      client.send(expecting);
      await until(() => client.text === "HTTP/1.1 100 Continue\r\n\r\n");
      client.send("abc");
      await until(() => client.text.endsWith("ok"));
    }

    expect(upstream.received[0]).toMatch(/\r\nexpect: 100-continue\r\n/i);
    expect(upstream.sockets).toHaveLength(1);
  });

  test.each(hops)(
    "is refused by the application, whose answer ends both connections: %s",
    async (_, open) => {
      const refusal = "HTTP/1.1 417 Expectation Failed\r\nContent-Length: 2\r\n\r\nno";
      await using upstream = await openUpstream((socket) => socket.write(refusal));
      await using hop = await open(upstream.port);
      using client = new RawClient(hop.port).send(expecting);
      await until(() => client.hasEnded && upstream.sockets[0]?.destroyed === true);

      expect(client.text).toMatch(/^HTTP\/1.1 417 Expectation Failed\r\nConnection: close\r\n[^]*no$/);
      expect(upstream.received[0]).toMatch(/\r\n\r\n$/);
    },
  );

  test.each(hops)("is sent without leave, to an application that gives none: %s", async (_, open) => {
    await using upstream = await openUpstream((socket, text) => {
      if (text.endsWith("abc")) socket.write(okay);
    });
    await using hop = await open(upstream.port);
    using client = new RawClient(hop.port).send(expecting);
    await until(() => upstream.received[0]?.endsWith("\r\n\r\n") === true);
    await aWhile();
    client.send("abc");
    await until(() => client.text.endsWith("ok"));

    expect(client.text.toLowerCase()).toBe(okay.toLowerCase());
  });

  test.each([
    ["a little of it", "a", 408, "body-timeout"],
    ["nothing of it", "", 504, "upstream-timeout"],
  ])("ends in time as the fault of who was to move: %s has come", async (_, sent, status, error) => {
    await using upstream = await openUpstream(() => {});
    for (const open of [openHop, openLinkHop]) {
      const seen = upstream.received.length;
      await using hop = await open(upstream.port);
      using client = new RawClient(hop.port).send(expecting);
      await until(() => upstream.received[seen]?.endsWith("\r\n\r\n") === true);
      client.send(sent);
      await until(() => upstream.received[seen]?.endsWith(`\r\n\r\n${sent}`) === true);
      hop.passSeconds(31);
      await until(() => client.hasEnded);

      expect(client.text).toMatch(new RegExp(`^HTTP/1.1 ${status} [^]*${error}`));
    }
  });

  test("is the client's to send once leave was given", async () => {
    await using upstream = await openUpstream((socket) => socket.write("HTTP/1.1 100 Continue\r\n\r\n"));
    for (const open of [openHop, openLinkHop]) {
      await using hop = await open(upstream.port);
      using client = new RawClient(hop.port).send(expecting);
      await until(() => client.text.endsWith("\r\n\r\n"));
      hop.passSeconds(31);
      await until(() => client.hasEnded);

      expect(client.text).toMatch(/\r\n\r\nHTTP\/1.1 408 [^]*body-timeout/);
    }
  });

  test("is not asked for where the request is denied", async () => {
    await using upstream = await openUpstream(() => {});
    await using hop = await openHop(upstream.port, {
      decide: () => problemAnswer({ status: 403, reason: "no-rule" }),
    });
    using client = new RawClient(hop.port).send(expecting);
    await until(() => client.hasEnded);

    expect(client.text).toMatch(/^HTTP\/1.1 403 [^]*\r\nConnection: close\r\n/);
    expect(upstream.sockets).toEqual([]);
  });

  test("of a client of HTTP/1.0 is not asked for, since it knows no leave", async () => {
    await using upstream = await openUpstream((socket, text) => {
      if (text.endsWith("abc")) socket.write(`HTTP/1.1 100 Continue\r\n\r\n${okay}`);
    });
    await using hop = await openHop(upstream.port);
    using client = new RawClient(hop.port).send(`${expecting.replace("1.1", "1.0")}abc`);
    await until(() => client.hasEnded);

    expect(client.text).toBe(okay.replace("\r\n", "\r\nConnection: close\r\n"));
    expect(upstream.received[0]).not.toMatch(/expect/i);
  });
});

describe("hints before a response", () => {
  test.each(hops)(
    "come before it, each by itself and without what is for neighbours: %s",
    async (_, open) => {
      await using upstream = await openUpstream((socket) => {
        socket.write(
          "HTTP/1.1 103 Early Hints\r\nLink: a\r\nKeep-Alive: x\r\nTroth-X: y\r\nContent-Length: 5\r\n\r\n",
        );
        setTimeout(() => socket.write("HTTP/1.1 103 Early Hints\r\nLink: b\r\n\r\n"), 10);
        setTimeout(() => socket.write(okay), 20);
      });
      await using hop = await open(upstream.port);
      using client = new RawClient(hop.port).send(get);
      await until(() => client.text.endsWith("ok"));

      expect(client.text.toLowerCase()).toBe(
        `HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: b\r\n\r\n${okay}`.toLowerCase(),
      );
    },
  );

  test.each(hops)("do not put the end of the wait for it off: %s", async (_, open) => {
    await using upstream = await openUpstream(() => {});
    await using hop = await open(upstream.port);
    using client = new RawClient(hop.port).send(get);
    await until(() => upstream.received[0]?.endsWith("\r\n\r\n") === true);
    hop.passSeconds(20);
    upstream.sockets[0]?.write("HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\n");
    await until(() => client.text.endsWith("\r\n\r\n"));
    hop.passSeconds(11);
    await until(() => client.text.endsWith("}\n"));

    expect(client.text).toMatch(/^HTTP\/1.1 103 [^]*\r\n\r\nHTTP\/1.1 504 /);
  });

  test.each(hops)("are at most eight: %s", async (_, open) => {
    const hints = "HTTP/1.1 103 Early Hints\r\n\r\n";
    await using upstream = await openUpstream((socket, text) =>
      socket.write(hints.repeat(text.includes("/many") ? 9 : 8) + okay),
    );
    await using hop = await open(upstream.port);
    using few = new RawClient(hop.port).send(get);
    await until(() => few.text.endsWith("ok"));
    using many = new RawClient(hop.port).send(get.replace("/a", "/many"));
    await until(() => many.text.endsWith("}\n"));

    expect(few.text.toLowerCase()).toBe((hints.repeat(8) + okay).toLowerCase());
    expect(many.text).toContain("HTTP/1.1 502 ");
  });
});
