import { once } from "node:events";
import net from "node:net";
import fc from "fast-check";
import { afterEach, describe, expect, it, test } from "vitest";
import { connectTo, openTcpApp, type TcpApp, type TcpEnd } from "../../../test/apparatus/tcp-app.ts";
import { fakeClock } from "../../../test/fakes/fake-clock.ts";
import { aWhile, until } from "../../../test/fuzz/http1-hop.ts";
import { type LinkHop, openLinkHop } from "../../../test/fuzz/link-hop.ts";
import { CoarseTimer } from "../coarse-timer.ts";
import { connectRequest, Http2Exchange, type Upstream } from "../forwarding/index.ts";
import { defaultHttp1Limits } from "../http1/index.ts";
import { AppTcp } from "./app-tcp.ts";
import { TcpClient, type TcpOutcome } from "./tcp-client.ts";
import { noTcpCounts, type TcpCounts } from "./tcp-counts.ts";
import { defaultTcpLimits, type TcpLimits } from "./tcp-limits.ts";
import { readRefusal } from "./tcp-refusal.ts";
import { TcpShares } from "./tcp-shares.ts";

const stack: AsyncDisposable[] = [];
afterEach(async () => {
  for (const one of stack.splice(0).toReversed()) await one[Symbol.asyncDispose]();
});

interface Way {
  readonly hop: LinkHop;
  readonly app: TcpApp;
  /** host:port, as the calling application knows it. */
  readonly address: string;
  readonly outcomes: TcpOutcome[];
  readonly near: TcpCounts;
  readonly far: TcpCounts;
}

/** A port for TCP connections, two proxies, and an application behind them. */
async function openWay(
  onConnection: (end: TcpEnd) => void = () => {},
  limits: Partial<TcpLimits> = {},
): Promise<Way> {
  const app = await openTcpApp(onConnection);
  stack.push(app);
  const far = noTcpCounts();
  const tcpLimits = { ...defaultTcpLimits, ...limits };
  const toUpstream = new AppTcp({ host: "127.0.0.1", port: app.port }, far, tcpLimits).for("caller");
  const hop = await openLinkHop(1, { tunnels: ["connect"], toUpstream });
  stack.push(hop);
  const near = noTcpCounts();
  const outcomes: TcpOutcome[] = [];
  const upstream: Upstream = {
    begin: (request) =>
      new Http2Exchange(request, {
        pick: (tried) => (tried.length === 0 ? hop.link : undefined),
        hasOther: () => false,
        avoid: () => {},
      }),
  };
  const server = net.createServer({ allowHalfOpen: true, pauseOnConnect: true }, (socket) => {
    const request = connectRequest("db.shop.mesh:5432", defaultHttp1Limits);
    if (request.kind === "refused") throw new Error(request.reason);
    const timer = new CoarseTimer(fakeClock());
    const parts = { request, upstream, http1Limits: defaultHttp1Limits, limits: tcpLimits, timer };
    new TcpClient(socket, { ...parts, counts: near, onOver: (outcome) => outcomes.push(outcome) }).start();
  });
  server.listen({ host: "127.0.0.1", port: 0 });
  await once(server, "listening");
  stack.push({ [Symbol.asyncDispose]: async () => void server.close() });
  const at = server.address();
  const port = typeof at === "object" && at !== null ? at.port : 0;
  return { hop, app, address: `127.0.0.1:${port}`, outcomes, near, far };
}

/** What one end does: sends so much, or reads nothing for so many turns, one after the other, and then ends. */
type Script = readonly { readonly bytes: number; readonly idleTurns: number }[];

const script: fc.Arbitrary<Script> = fc.array(
  fc.record({
    bytes: fc.oneof(fc.nat({ max: 20 }), fc.nat({ max: 200_000 })),
    idleTurns: fc.oneof(fc.constant(0), fc.nat({ max: 20 })),
  }),
  { maxLength: 6 },
);

/** Bytes at a place of a stream, so that each that is lost, doubled or misplaced shows. */
function bytesAt(offset: number, length: number): Buffer {
  const bytes = Buffer.alloc(length);
  for (let at = 0; at < length; at += 1) bytes[at] = Math.imul(offset + at + 1, 0x9e3779b1) >>> 24;
  return bytes;
}

async function play({ socket }: TcpEnd, steps: Script): Promise<number> {
  let sent = 0;
  for (const { bytes, idleTurns } of steps) {
    if (idleTurns > 0) {
      socket.pause();
      for (let turn = 0; turn < idleTurns; turn += 1) await new Promise(setImmediate);
      socket.resume();
    }
    if (bytes > 0 && !socket.write(bytesAt(sent, bytes))) await once(socket, "drain");
    sent += bytes;
  }
  socket.end();
  return sent;
}

const established = "HTTP/1.1 200 Connection established\r\n\r\n";

/** The two ways in: a port for the service, and CONNECT at the port for HTTP. */
const waysIn: readonly (readonly [name: string, open: (way: Way) => Promise<TcpEnd>])[] = [
  ["at a port", ({ address }) => connectTo(address)],
  [
    "by CONNECT",
    async ({ hop }) => {
      const near = await connectTo(`127.0.0.1:${hop.port}`);
      near.socket.write("CONNECT db.shop.mesh:5432 HTTP/1.1\r\nHost: db.shop.mesh:5432\r\n\r\n");
      await until(() => near.text.length >= established.length);
      expect(near.text.startsWith(established)).toBe(true);
      near.chunks.splice(0, near.chunks.length, near.bytes.subarray(established.length));
      return near;
    },
  ],
];

describe("a TCP connection through two proxies", () => {
  it.each(waysIn)(
    "%s carries every byte once and in order, however both ends send, wait and end",
    { timeout: 60_000 },
    async (_, open) => {
      const scripts: Script[] = [];
      const sentBack: Promise<number>[] = [];
      const way = await openWay((end) => {
        const steps = scripts.at(-1);
        if (steps !== undefined) sentBack.push(play(end, steps));
      });
      const { app, hop } = way;
      await fc.assert(
        fc.asyncProperty(script, script, async (there, back) => {
          scripts.push(back);
          const place = sentBack.length;
          const known = app.connections().length;
          const near = await open(way);
          // The application knows a connection by what comes on it.
          const sent = await play(near, [{ bytes: 1, idleTurns: 0 }, ...there]);
          await until(() => near.closed !== undefined && app.connections()[known]?.closed !== undefined);
          const received = app.connections()[known]?.bytes ?? Buffer.alloc(0);
          const answered = (await sentBack[place]) ?? 0;

          expect(received.equals(bytesAt(0, sent))).toBe(true);
          expect(near.bytes.equals(bytesAt(0, answered))).toBe(true);
          expect([near.closed, app.connections()[known]?.closed]).toEqual(["ended", "ended"]);
        }),
        { numRuns: 40 },
      );
      await until(() => way.near.open === 0 && way.far.open === 0);
      expect(way.outcomes.filter(({ kind }) => kind !== "ended")).toEqual([]);
      expect([...hop.outer, ...hop.inner].filter(({ error }) => error !== undefined)).toEqual([]);
      expect(hop.faults).toEqual([]);
    },
  );

  it("holds back who sends while the other end takes nothing, and no other connection", async () => {
    const { address, app, near, far } = await openWay(({ socket }) => socket.pipe(socket));
    const stuck = await connectTo(address);
    stuck.socket.pause();
    for (let piece = 0; piece < 256; piece += 1) stuck.socket.write(bytesAt(0, 64 * 1024));
    await until(() => app.connections().length === 1);
    await aWhile();
    const held = far.fromAppBytes;
    const other = await connectTo(address);
    other.socket.write("other");
    await until(() => other.text === "other");
    expect(held).toBeLessThan(16 * 1024 * 1024);
    expect(far.toAppBytes).toBeLessThan(16 * 1024 * 1024);

    stuck.socket.resume();
    stuck.socket.end();
    await until(() => stuck.closed !== undefined);
    expect(stuck.bytes.length).toBe(16 * 1024 * 1024);
    other.socket.resetAndDestroy();
    await until(() => near.toAppBytes === 16 * 1024 * 1024 + 5);
  });

  it("is reset at both ends after it has stood still for as long as it may", async () => {
    const { address, app, hop, outcomes } = await openWay();
    const near = await connectTo(address);
    near.socket.write("x");
    await until(() => app.connections().length === 1);
    for (let second = 0; second < defaultHttp1Limits.tunnelIdleMillis / 1000 + 10; second += 5) {
      hop.passSeconds(5);
      await new Promise(setImmediate);
    }
    await until(() => near.closed !== undefined && app.connections()[0]?.closed !== undefined);

    expect([near.closed, app.connections()[0]?.closed]).toEqual(["reset", "reset"]);
    expect(outcomes).toMatchObject([{ kind: "failed", failure: "upstream-reset" }]);
  });

  it("is refused with the reason when the application has as many as it may have, and again when it has not", async () => {
    const { address, app, outcomes, far } = await openWay(({ socket }) => socket.pipe(socket), {
      connectionsPerInstanceMax: 1,
    });
    const first = await connectTo(address);
    first.socket.write("x");
    await until(() => first.text === "x");

    const second = await connectTo(address);
    await until(() => second.closed !== undefined);
    first.socket.resetAndDestroy();
    await until(() => far.open === 0);
    const third = await connectTo(address);
    third.socket.write("y");
    await until(() => third.text === "y");

    expect(second.closed).toBe("reset");
    expect(outcomes[0]).toMatchObject({ kind: "refused", refusal: { reason: "too-many-tcp-connections" } });
    expect(app.connections().length).toBe(2);
    third.socket.resetAndDestroy();
  });

  it("is refused with the reason when the application is not there", async () => {
    const { address, app, outcomes } = await openWay();
    await app.kill();

    const near = await connectTo(address);
    await until(() => near.closed !== undefined);

    expect(near.closed).toBe("reset");
    expect(outcomes).toMatchObject([{ kind: "refused", refusal: { reason: "upstream-connect-failed" } }]);
  });
});

describe("what a peer says of its refusal", () => {
  const said = (document: unknown): Buffer => Buffer.from(JSON.stringify(document));
  const decisionId = "0123456789abcdef01234567";

  test.each([
    [
      "a refusal of ours",
      said({ reason: "no-rule", detail: "ask", decisionId }),
      ["no-rule", "ask", decisionId],
    ],
    ["a reason that nobody knows", said({ reason: "x".repeat(1_000) }), ["refused", "status 403", ""]],
    ["control characters", said({ reason: "no-rule", detail: "a\nb\u001b[2J" }), ["no-rule", "a?b?[2J", ""]],
    ["other types", said({ reason: 1, detail: {}, decisionId: [] }), ["refused", "status 403", ""]],
    ["no JSON", Buffer.from("<html>"), ["refused", "status 403", ""]],
    ["no object", said(null), ["refused", "status 403", ""]],
    ["nothing", Buffer.alloc(0), ["refused", "status 403", ""]],
    ["a number that is none of ours", said({ decisionId: "0".repeat(25) }), ["refused", "status 403", ""]],
  ])("is believed as far as it can be: %s", (_, body, expected) => {
    const { reason, detail, decisionId: id } = readRefusal(403, body);

    expect([reason, detail, id]).toEqual(expected);
  });

  test("is cut where it is long", () => {
    expect(readRefusal(403, said({ detail: "a".repeat(5_000) })).detail.length).toBe(300);
  });
});

describe("the share of a calling instance", () => {
  test("leaves the others theirs, and comes back", () => {
    const shares = new TcpShares({ connectionsMax: 3, connectionsPerInstanceMax: 2 });

    expect([shares.add("a"), shares.add("a"), shares.add("a")]).toEqual([true, true, false]);
    expect([shares.add("b"), shares.add("c")]).toEqual([true, false]);
    shares.remove("a");
    expect([shares.size, shares.add("a"), shares.add("a")]).toEqual([2, true, false]);
  });
});
