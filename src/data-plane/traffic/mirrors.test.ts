import { describe, expect, test } from "vitest";
import { openPolicedHop } from "../../../test/apparatus/policed-hop.ts";
import { aWhile, openUpstream, RawClient, until } from "../../../test/fuzz/http1-hop.ts";
import { CoarseTimer } from "../coarse-timer.ts";
import { ConnectionPool, defaultPoolLimits, openTcp } from "../forwarding/index.ts";
import { keptBodyBytesMax } from "./kept-body.ts";
import { mirroredInFlightMax, mirrorMillisMax, mirrorResponseBytesMax } from "./mirrors.ts";

const okay = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const get = "GET /a?b HTTP/1.1\r\nHost: a\r\n\r\n";
const everything = { methods: [], paths: [], mirror: { to: "/shop/shadow", percent: 100 } };

type OnText = Parameters<typeof openUpstream>[0];

async function openHops(
  mirrored: OnText,
  original: OnText = (socket, text) => {
    if (text.endsWith("\r\n\r\n") || text.endsWith("!")) socket.write(okay);
  },
) {
  const open = new AsyncDisposableStack();
  const upstream = open.use(await openUpstream(original));
  const mirror = open.use(await openUpstream(mirrored));
  const timer = new CoarseTimer({ nowSeconds: () => 0, monotonicMillis: () => 0 });
  const pool = new ConnectionPool(
    openTcp({ host: "127.0.0.1", port: mirror.port }),
    defaultPoolLimits,
    timer,
  );
  open.defer(() => pool.close());
  const hop = open.use(await openPolicedHop(upstream.port, { mirror: pool }));
  hop.police({ routes: [everything] });
  return { upstream, mirror, hop, [Symbol.asyncDispose]: () => open.disposeAsync() };
}

describe("a copy of a request", () => {
  test("has its head and body, another Host, and says what it is", async () => {
    await using hops = await openHops((socket) => socket.write(okay));
    using client = new RawClient(hops.hop.port).send(
      "POST /a?b HTTP/1.1\r\nHost: a\r\nX-One: 1\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\nxy!",
    );
    await until(() => client.text === okay && hops.hop.countOf("mirrored answered") === 1);

    expect(hops.mirror.received).toEqual([
      "POST /a?b HTTP/1.1\r\nHost: shadow.shop.mesh\r\nX-One: 1\r\nContent-Length: 3\r\nX-Added: by-the-proxy\r\nTroth-Mirrored: ?1\r\n\r\nxy!",
    ]);
  });

  test("holds nothing up and fails nothing when it is never answered, and is given up", async () => {
    await using hops = await openHops(() => {});
    using client = new RawClient(hops.hop.port).send(get);
    await until(() => client.text === okay);
    expect(hops.hop.counted).toEqual([]);
    await until(() => hops.mirror.received.length === 1);
    hops.hop.pass(mirrorMillisMax + 1);
    await until(() => hops.hop.countOf("mirrored failed") === 1);

    expect(hops.hop.hop.events).toMatchObject([{ status: 200 }]);
  });

  test("whose answer is larger than anybody would throw away is given up", async () => {
    const bytes = 2 * mirrorResponseBytesMax;
    await using hops = await openHops((socket) =>
      socket.write(`HTTP/1.1 200 OK\r\nContent-Length: ${bytes}\r\n\r\n${"x".repeat(bytes)}`),
    );
    using client = new RawClient(hops.hop.port).send(get);
    await until(() => client.text === okay && hops.hop.counted.length === 1);

    expect(hops.hop.counted).toEqual(["mirrored failed"]);
  });

  test("is not made where too many are on their way", async () => {
    await using hops = await openHops(() => {});
    for (let count = 0; count <= mirroredInFlightMax; count += 1) {
      using client = new RawClient(hops.hop.port).send(get);
      await until(() => client.text === okay);
    }

    expect(hops.hop.counted).toEqual(["mirrored too-many"]);
  });

  test("is not made of a body that is larger than is kept, which goes on its way whole", async () => {
    await using hops = await openHops(() => {});
    const bytes = keptBodyBytesMax * 4;
    using client = new RawClient(hops.hop.port).send(
      `POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: ${bytes}\r\n\r\n${"x".repeat(bytes - 1)}!`,
    );
    await until(() => client.text === okay);

    expect(hops.hop.counted).toEqual(["mirrored too-large"]);
    expect(hops.upstream.received[0]?.split("\r\n\r\n")[1]?.length).toBe(bytes);
    expect(hops.mirror.received).toEqual([]);
  });

  test("is not made of a request that never becomes whole", async () => {
    await using hops = await openHops(() => {});
    const client = new RawClient(hops.hop.port).send(
      "POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nx",
    );
    await until(() => hops.upstream.received.length === 1);
    client.socket.resetAndDestroy();
    await until(() => hops.hop.hop.events.length === 1);
    await aWhile();

    expect(hops.mirror.received).toEqual([]);
  });

  test("is one, however often the request is repeated", async () => {
    let count = 0;
    await using hops = await openHops(
      (socket) => socket.write(okay),
      (socket) => {
        count += 1;
        socket.write(count === 1 ? okay.replace("200 OK", "503 No") : okay);
      },
    );
    hops.hop.police({ retries: { retriesMax: 1, on: ["503"], methods: [] }, routes: [everything] });
    using client = new RawClient(hops.hop.port).send(get);
    await until(() => hops.hop.countOf("retries tried") === 1);
    hops.hop.pass(250);
    await until(() => client.text === okay && hops.hop.countOf("mirrored answered") === 1);
    await aWhile();

    expect(hops.mirror.received.join("").split("GET").length).toBe(2);
  });

  test("for which nothing is there is counted: no-instances", async () => {
    await using upstream = await openUpstream((socket) => socket.write(okay));
    await using hop = await openPolicedHop(upstream.port);
    hop.police({ routes: [everything] });
    using client = new RawClient(hop.port).send(get);
    await until(() => client.text === okay);

    expect(hop.counted).toEqual(["mirrored no-instances"]);
  });
});
