import { randomUUID } from "node:crypto";
import { once } from "node:events";
import net from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import tls from "node:tls";
import { afterAll, beforeAll, expect, it } from "vitest";
import {
  circleOfAuthorities,
  logPapers,
  makePapers,
  meet,
  metadataExtension,
  type Papers,
  twinOf,
} from "../../test/apparatus/hostile-peer.ts";
import { MeshInProcess, until } from "../../test/apparatus/mesh-in-process.ts";
import type { Workload } from "../../test/apparatus/workload.ts";
import { authorityConstraints, keyUsageExtension, objectIdentifier } from "../crypto/index.ts";
import { testDomain, testWorld } from "../identity/svid-for-tests.ts";

let mesh: MeshInProcess;
let front: Workload;
let ledger: Workload;
/** Begun before the tests, which take longer. */
let stalled: Promise<number>;
const frontId = "spiffe://test.example/shop/front";
const nowSeconds = Math.floor(new Date().getTime() / 1000);

beforeAll(async () => {
  mesh = await MeshInProcess.found();
  [front, ledger] = await Promise.all([mesh.open("/shop/front"), mesh.open("/shop/ledger")]);
  // Everybody may call the ledger: what is refused here is refused for its papers alone.
  await mesh.putRule("/*", "/shop/ledger");
  await mesh.settled();
  stalled = stall();
});
afterAll(() => mesh[Symbol.asyncDispose]());

interface Stranger {
  readonly reason: string;
  readonly papers: () => Promise<Pick<Papers, "cert" | "key"> | Record<string, never>>;
}

const strangers: readonly Stranger[] = [
  { reason: "no-certificate", papers: async () => ({}) },
  {
    reason: "untrusted-issuer",
    papers: async () => makePapers(testDomain("test.example", testWorld(nowSeconds)).issuer, [frontId]),
  },
  { reason: "several-uri-sans", papers: async () => makePapers(mesh.intermediate, [frontId, `${frontId}2`]) },
  {
    reason: "no-uri-san",
    papers: async () =>
      makePapers(mesh.intermediate, [frontId], {
        extensions: (usual) => usual.filter(({ oid }) => oid !== objectIdentifier.subjectAlternativeName),
      }),
  },
  { reason: "no-path", papers: async () => makePapers(mesh.intermediate, ["spiffe://test.example"]) },
  {
    reason: "not-a-leaf",
    papers: async () =>
      makePapers(mesh.intermediate, [frontId], {
        extensions: (usual) => [
          authorityConstraints(0),
          keyUsageExtension(["digitalSignature", "keyCertSign"]),
          ...usual.filter(
            ({ oid }) => oid !== objectIdentifier.basicConstraints && oid !== objectIdentifier.keyUsage,
          ),
        ],
      }),
  },
  {
    reason: "unknown-trust-domain",
    papers: async () => {
      const other = testDomain("other.example", testWorld(nowSeconds)).issuer;
      return makePapers(other, ["spiffe://other.example/shop/front"]);
    },
  },
  {
    reason: "expired",
    papers: async () =>
      makePapers(mesh.intermediate, [frontId], {
        // Backdated, so that its CA was valid then.
        notBeforeSeconds: nowSeconds - 9,
        notAfterSeconds: nowSeconds - 5,
      }),
  },
  {
    reason: "lifetime-too-long",
    papers: async () =>
      makePapers(mesh.intermediate, [frontId], { notAfterSeconds: nowSeconds + 86_400 + 60 }),
  },
  {
    reason: "not-in-log",
    papers: async () =>
      makePapers(mesh.intermediate, [frontId], {
        extensions: (usual) => [...usual, metadataExtension(front.instance, "/shop/front")],
      }),
  },
];

for (const { reason, papers } of strangers)
  it(`refuses a peer for its papers: ${reason}`, async () => {
    const { cert, key } = await papers();
    const before = await refusedSoFar(reason);
    const bytesBefore = ledger.app.bytes();

    const met = await meet(ledger.sidecar.inboundAddress, cert === undefined ? {} : { cert, key });

    expect(met.answer).toBe("");
    expect(met.error).not.toBe("still open");
    expect(ledger.app.bytes()).toBe(bytesBefore);
    expect(await refusedSoFar(reason)).toBe(before + 1);
    await until(async () => (await recordsOf(reason)).length > 0, `a record of ${reason}`);
    expect((await recordsOf(reason)).at(-1)).toMatchObject({ direction: "inbound", peer: "127.0.0.1" });
  });

it("refuses a logged certificate in its other valid spelling, and does not serve it as the first: not-in-log", async () => {
  const papers = goodPapers();
  await logPapers(mesh, papers, { instance: front.instance, service: "/shop/front" });
  await mesh.settled();
  const before = await refusedSoFar("not-in-log");

  const met = await meet(ledger.sidecar.inboundAddress, twinOf(papers));

  expect(met.answer).toBe("");
  expect(await refusedSoFar("not-in-log")).toBe(before + 1);
});

it("judges a chain that goes in a circle: untrusted-issuer", async () => {
  const before = await refusedSoFar("untrusted-issuer");

  const met = await meet(
    ledger.sidecar.inboundAddress,
    makePapers(circleOfAuthorities(mesh.intermediate), [frontId]),
  );

  expect(met.answer).toBe("");
  expect(await refusedSoFar("untrusted-issuer")).toBe(before + 1);
});

it("serves a peer that presents its root and a stranger's with its chain", async () => {
  const stranger = testDomain("test.example", testWorld(nowSeconds)).root;
  const papers = makePapers(mesh.intermediate, [frontId], {
    extensions: (usual) => [...usual, metadataExtension(front.instance, "/shop/front")],
    presented: [stranger.certificate.der, mesh.root.certificate.der, ...mesh.intermediate.presentedIssuers],
  });
  await logPapers(mesh, papers, { instance: front.instance, service: "/shop/front" });

  const met = await meet(ledger.sidecar.inboundAddress, papers);

  expect(met.answer).toContain("HTTP/1.1 200");
});

it("refuses a logged certificate with another serial number than the log has: log-disagrees", async () => {
  const papers = goodPapers();
  await logPapers(mesh, { ...papers, serial: "4242" }, { instance: front.instance, service: "/shop/front" });
  const before = await refusedSoFar("log-disagrees");

  await meet(ledger.sidecar.inboundAddress, papers);

  expect(await refusedSoFar("log-disagrees")).toBe(before + 1);
});

const disagreeing: readonly (readonly [what: string, instance: () => string, node: string])[] = [
  ["instance", () => randomUUID(), "here"],
  ["node", () => front.instance, "elsewhere"],
];

for (const [what, instance, node] of disagreeing)
  it(`refuses a logged certificate that names another ${what} than the log: log-disagrees`, async () => {
    const papers = makePapers(mesh.intermediate, [frontId], {
      extensions: (usual) => [...usual, metadataExtension(instance(), "/shop/front", node)],
    });
    await logPapers(mesh, papers, { instance: front.instance, service: "/shop/front" });
    const before = await refusedSoFar("log-disagrees");

    const met = await meet(ledger.sidecar.inboundAddress, papers);

    expect(met.answer).toBe("");
    expect(await refusedSoFar("log-disagrees")).toBe(before + 1);
  });

it("refuses a logged certificate whose name is another service's than its instance's: log-disagrees", async () => {
  const papers = makePapers(mesh.intermediate, ["spiffe://test.example/shop/ledger"], {
    extensions: (usual) => [...usual, metadataExtension(front.instance, "/shop/ledger")],
  });
  await logPapers(mesh, papers, { instance: front.instance, service: "/shop/front" });
  const before = await refusedSoFar("log-disagrees");

  await meet(ledger.sidecar.inboundAddress, papers);

  expect(await refusedSoFar("log-disagrees")).toBe(before + 1);
});

it("refuses a logged certificate without metadata: log-disagrees", async () => {
  const papers = makePapers(mesh.intermediate, [frontId]);
  await logPapers(mesh, papers, { instance: front.instance, service: "/shop/front" });
  const before = await refusedSoFar("log-disagrees");

  await meet(ledger.sidecar.inboundAddress, papers);

  expect(await refusedSoFar("log-disagrees")).toBe(before + 1);
});

it("serves a logged certificate that says what the log says", async () => {
  const papers = goodPapers();
  await logPapers(mesh, papers, { instance: front.instance, service: "/shop/front" });

  const met = await meet(ledger.sidecar.inboundAddress, papers);

  expect(met.answer).toContain("HTTP/1.1 200");
});

it("serves a peer whose certificate the log names only while it waits", async () => {
  const papers = goodPapers();

  const bytesBefore = ledger.app.bytes();
  const meeting = meet(ledger.sidecar.inboundAddress, papers);
  await sleep(300);
  const bytesWhileWaiting = ledger.app.bytes();
  await logPapers(mesh, papers, { instance: front.instance, service: "/shop/front" });

  expect(bytesWhileWaiting).toBe(bytesBefore);
  expect((await meeting).answer).toContain("HTTP/1.1 200");
});

it("raises an alarm for a certificate that its own CA signed and the log does not name", async () => {
  const client = makePapers(mesh.intermediate, [frontId]);

  const met = await meet(ledger.sidecar.inboundAddress, client);

  expect(met.millis).toBeGreaterThan(1_900);
  expect(met.millis).toBeLessThan(4_000);
  // By way of the agent, which reports once a second.
  await until(async () => (await mesh.alarms()).some(({ reason }) => reason === "not-in-log"), "an alarm");
});

it("resumes no session, and asks a client that tries for its certificate again", async () => {
  const papers = goodPapers();
  await logPapers(mesh, papers, { instance: front.instance, service: "/shop/front" });
  const first = await meet(ledger.sidecar.inboundAddress, papers);
  const before = await refusedSoFar("no-certificate");

  const outcomes = await Promise.all(
    first.sessions.flatMap((session) => [
      meet(ledger.sidecar.inboundAddress, { ...papers, session }),
      meet(ledger.sidecar.inboundAddress, { session }),
    ]),
  );

  expect(first.answer).toContain("HTTP/1.1 200");
  expect(outcomes.filter(({ isResumed }) => isResumed)).toEqual([]);
  expect(outcomes.filter((_, place) => place % 2 === 1).map(({ answer }) => answer)).toEqual(
    first.sessions.map(() => ""),
  );
  expect(await refusedSoFar("no-certificate")).toBe(before + first.sessions.length);
});

it("speaks no TLS before 1.3, and says so in its metrics: handshake-failed", async () => {
  const papers = goodPapers();
  await logPapers(mesh, papers, { instance: front.instance, service: "/shop/front" });
  const before = await refusedSoFar("handshake-failed");

  const met = await meet(ledger.sidecar.inboundAddress, { ...papers, maxVersion: "TLSv1.2" });

  expect(met.answer).toBe("");
  expect(met.protocol).toBe("");
  expect(met.error).toContain("version");
  expect(await refusedSoFar("handshake-failed")).toBe(before + 1);
});

it("lets go of a peer that leaves while it waits to be known", async () => {
  const connections = await ledger.metric("troth_proxy_peer_connections");
  const papers = goodPapers();
  const [host = "", port = ""] = ledger.sidecar.inboundAddress.split(":");
  const wire = net.connect({ host, port: Number(port) });
  const socket = tls.connect({ socket: wire, rejectUnauthorized: false, ...papers });
  socket.on("error", () => {});
  await new Promise<void>((resolve) => socket.once("secureConnect", () => resolve()));
  await sleep(50);
  wire.resetAndDestroy();
  await sleep(200);

  await logPapers(mesh, papers, { instance: front.instance, service: "/shop/front" });
  await mesh.settled();

  expect(await ledger.metric("troth_proxy_peer_connections")).toBe(connections);
});

it("counts strangers one by one and writes those of one second into one record", async () => {
  // What earlier strangers left to be counted is written within half a second, and on disk in a quarter more.
  await sleep(900);
  const before = await refusedSoFar("no-certificate");
  const recordsBefore = await recordsOf("no-certificate");

  for (let attempt = 0; attempt < 30; attempt += 1) await meet(ledger.sidecar.inboundAddress, {});

  expect(await refusedSoFar("no-certificate")).toBe(before + 30);
  const countOf = (records: Record<string, unknown>[]): number =>
    records.reduce((sum, { count }) => sum + Number(count), 0);
  await until(async () => countOf(await recordsOf("no-certificate")) === countOf(recordsBefore) + 30);
  expect((await recordsOf("no-certificate")).length - recordsBefore.length).toBeLessThan(15);
});

it("serves known peers while others with one unknown certificate fill its waiting room", async () => {
  const unknown = makePapers(mesh.intermediate, [frontId], {
    extensions: (usual) => [...usual, metadataExtension(front.instance, "/shop/front")],
  });
  const known = goodPapers();
  await logPapers(mesh, known, { instance: front.instance, service: "/shop/front" });
  const newcomer = makePapers(mesh.intermediate, ["spiffe://test.example/shop/ledger"], {
    extensions: (usual) => [...usual, metadataExtension(ledger.instance, "/shop/ledger")],
  });
  const crowd = Array.from({ length: 100 }, () => meet(ledger.sidecar.inboundAddress, unknown));
  await until(async () => (await refusedSoFar("too-many-unknown")) > 0);

  const served = await meet(ledger.sidecar.inboundAddress, known);
  const waiting = meet(ledger.sidecar.inboundAddress, newcomer);
  await sleep(100);
  await logPapers(mesh, newcomer, { instance: ledger.instance, service: "/shop/ledger" });

  expect(served.answer).toContain("HTTP/1.1 200");
  expect((await waiting).answer).toContain("HTTP/1.1 200");
  expect((await Promise.all(crowd)).filter(({ answer }) => answer !== "")).toEqual([]);
});

it("takes no more connections from one instance than its share, and goes on to serve others", async () => {
  const papers = goodPapers();
  await logPapers(mesh, papers, { instance: front.instance, service: "/shop/front" });
  const own = makePapers(mesh.intermediate, ["spiffe://test.example/shop/ledger"], {
    extensions: (usual) => [...usual, metadataExtension(ledger.instance, "/shop/ledger")],
  });
  await logPapers(mesh, own, { instance: ledger.instance, service: "/shop/ledger" });
  await mesh.settled();
  const [host = "", port = ""] = ledger.sidecar.inboundAddress.split(":");
  const context = tls.createSecureContext(papers);
  const crowd = Array.from({ length: 800 }, () => {
    const socket = tls.connect({
      host,
      port: Number(port),
      rejectUnauthorized: false,
      secureContext: context,
    });
    socket.on("error", () => {});
    // With a request, since a connection without one does not last.
    socket.write("GET /crowd HTTP/1.1\r\nHost: x\r\n\r\n");
    return socket;
  });
  // So many handshakes take a busy machine longer than anything else here is waited for.
  await Promise.all(
    crowd.map((socket) => new Promise((resolve) => socket.once("data", resolve).once("close", resolve))),
  );
  await until(async () => (await refusedSoFar("too-many-connections")) === 800 - 768, "the limit");

  const served = await meet(ledger.sidecar.inboundAddress, own);
  for (const socket of crowd) socket.destroy();

  expect(served.answer).toContain("HTTP/1.1 200");
  await until(async () => (await ledger.metric("troth_proxy_peer_connections")) < 10, "their end");
}, 30_000);

it("takes no more connections of HTTP/2 from one instance than it needs", async () => {
  const papers = goodPapers();
  await logPapers(mesh, papers, { instance: front.instance, service: "/shop/front" });
  await mesh.settled();
  const [host = "", port = ""] = ledger.sidecar.inboundAddress.split(":");
  const secureContext = tls.createSecureContext(papers);
  const before = await refusedSoFar("too-many-connections");
  const crowd = Array.from({ length: 28 }, () => {
    const ALPNProtocols = ["h2", "http/1.1"];
    const socket = tls.connect({
      host,
      port: Number(port),
      rejectUnauthorized: false,
      secureContext,
      ALPNProtocols,
    });
    return socket.on("error", () => {});
  });
  await until(async () => (await refusedSoFar("too-many-connections")) > before, "the limit");
  await until(async () => crowd.filter(({ destroyed }) => destroyed).length >= 4, "their end");
  const protocols = new Set(crowd.flatMap(({ alpnProtocol }) => alpnProtocol ?? []));
  const served = await meet(ledger.sidecar.inboundAddress, papers);
  for (const socket of crowd) socket.destroy();

  expect(protocols).toEqual(new Set(["h2"]));
  expect(served.answer).toContain("HTTP/1.1 200");
}, 30_000);

it("closes a connection that stalls in its handshake", async () => {
  expect(await stalled).toBeGreaterThan(4_500);
  expect(await stalled).toBeLessThan(8_000);
});

it("ends the oldest of more than 2048 connections that stall in their handshake, and goes on to serve", async () => {
  const papers = goodPapers();
  await logPapers(mesh, papers, { instance: front.instance, service: "/shop/front" });
  await mesh.settled();
  const [host = "", port = ""] = ledger.sidecar.inboundAddress.split(":");
  let ended = 0;
  const crowd: net.Socket[] = [];
  // No more at once than the kernel keeps.
  while (crowd.length < 2_100) {
    const some = Array.from({ length: 300 }, () => net.connect({ host, port: Number(port) }));
    for (const socket of some) {
      socket.on("error", () => {});
      socket.on("close", () => {
        ended += 1;
      });
    }
    await Promise.all(some.map((socket) => once(socket, "connect")));
    crowd.push(...some);
  }

  const served = await meet(ledger.sidecar.inboundAddress, papers);
  const endedBefore = ended;
  for (const socket of crowd) socket.destroy();

  expect(served.answer).toContain("HTTP/1.1 200");
  expect(endedBefore).toBeGreaterThanOrEqual(2_100 - 2_048);
});

/** How long a connection lasts, in milliseconds, on which nothing is said. */
function stall(): Promise<number> {
  const [host = "", port = ""] = ledger.sidecar.inboundAddress.split(":");
  const startedMillis = performance.now();
  const socket = net.connect({ host, port: Number(port) });
  socket.on("error", () => {});
  return new Promise((resolve) => socket.once("close", () => resolve(performance.now() - startedMillis)));
}

function goodPapers(): Papers {
  return makePapers(mesh.intermediate, [frontId], {
    extensions: (usual) => [...usual, metadataExtension(front.instance, "/shop/front")],
  });
}

function refusedSoFar(reason: string): Promise<number> {
  return ledger.metric("troth_proxy_refused_connections_total", { direction: "inbound", reason });
}

async function recordsOf(reason: string): Promise<Record<string, unknown>[]> {
  const records = await ledger.audit();
  return records.filter((record) => record["type"] === "connection-refused" && record["reason"] === reason);
}
