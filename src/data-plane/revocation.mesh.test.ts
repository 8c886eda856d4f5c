import tls from "node:tls";
import { afterAll, beforeAll, expect, it } from "vitest";
import {
  logPapers,
  makePapers,
  meet,
  metadataExtension,
  type Papers,
} from "../../test/apparatus/hostile-peer.ts";
import { MeshInProcess, until } from "../../test/apparatus/mesh-in-process.ts";
import type { Workload } from "../../test/apparatus/workload.ts";

let mesh: MeshInProcess;
let ledger: Workload;

beforeAll(async () => {
  mesh = await MeshInProcess.found();
  ledger = await mesh.open("/shop/ledger");
  await mesh.putRule("/*", "/shop/ledger");
});
afterAll(() => mesh[Symbol.asyncDispose]());

const removals: readonly (readonly [what: string, remove: (caller: Workload) => Promise<unknown>])[] = [
  [
    "instance.remove",
    ({ instance }) =>
      mesh.controlPlane.writer.write([{ role: "issuer", kind: "instance.remove", body: { instance } }]),
  ],
  ["service.remove", ({ service }) => mesh.put("service.remove", { name: service })],
];

for (const [kind, remove] of removals)
  it(`closes the open connections of what ${kind} removed, and takes no new ones`, async () => {
    const caller = await mesh.open(`/shop/${kind.replace(".", "-")}`);
    const papers = await logged(caller);
    const connection = await openKeepAlive(papers);
    const before = await connection.ask();

    await remove(caller);
    await connection.closed;

    const again = await meet(ledger.sidecar.inboundAddress, papers);
    expect(before).toContain("HTTP/1.1 200");
    expect(again.answer).toBe("");
    await caller[Symbol.asyncDispose]();
  });

it("breaks a request that is under way when its caller is removed", async () => {
  const caller = await mesh.open("/shop/slow");
  const papers = await logged(caller);
  const connection = await openKeepAlive(papers);
  connection.say("POST /upload HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\nhalf of it");
  await until(() => ledger.app.bytes() > 0);

  await mesh.put("service.remove", { name: "/shop/slow" });
  await connection.closed;

  expect(ledger.app.seen.some(({ line }) => line === "POST /upload")).toBe(false);
  await caller[Symbol.asyncDispose]();
});

it("ends a connection when its peer's certificate ends, and not before", async () => {
  const caller = await mesh.open("/shop/short");
  const endSeconds = Math.floor(new Date().getTime() / 1000) + 2;
  const papers = await logged(caller, endSeconds);
  const connection = await openKeepAlive(papers);
  const before = await connection.ask();

  await connection.closed;

  const closedSeconds = new Date().getTime() / 1000;
  expect(before).toContain("HTTP/1.1 200");
  expect(closedSeconds).toBeGreaterThanOrEqual(endSeconds + 1);
  expect(closedSeconds).toBeLessThan(endSeconds + 2.5);
  await caller[Symbol.asyncDispose]();
});

it("replaces an SVID of its own that the log has dropped, at once", async () => {
  const caller = await mesh.open("/shop/returning");
  await until(async () => (await caller.call(ledger.host)).status === 200, "a route");
  const { instance } = caller;

  await mesh.controlPlane.writer.write([{ role: "issuer", kind: "instance.remove", body: { instance } }]);
  await mesh.settled();

  await until(async () => (await caller.call(ledger.host)).status === 200, "another SVID");
  expect(mesh.controlPlane.writer.state.instances.has(instance)).toBe(true);
  await caller[Symbol.asyncDispose]();
});

it("ends a revoked instance in both directions, for good, and says so once", async () => {
  const said: string[] = [];
  const caller = await mesh.open("/shop/stolen", { revoked: (reason) => said.push(reason) });
  await mesh.putRule("/*", "/shop/stolen");
  await until(async () => (await caller.call(ledger.host)).status === 200, "a route");
  await until(async () => (await ledger.call(caller.host)).status === 200, "a route back");
  const { instance } = caller;

  await mesh.put("instance.revoke", { instance, reason: "key-compromise" });
  await mesh.settled();

  expect((await caller.call(ledger.host)).status).toBeGreaterThanOrEqual(500);
  expect((await ledger.call(caller.host)).status).toBeGreaterThanOrEqual(500);
  expect(await caller.metric("troth_proxy_peer_connections")).toBe(0);
  expect(said).toEqual(["key-compromise"]);
  expect(mesh.controlPlane.writer.state.instances.has(instance)).toBe(false);
  await caller[Symbol.asyncDispose]();
});

it("brings a held instance back once it is lifted, without a new start", async () => {
  const caller = await mesh.open("/shop/held");
  await until(async () => (await caller.call(ledger.host)).status === 200, "a route");

  await mesh.put("service.hold", { name: "/shop/held", reason: "unspecified" });
  await mesh.settled();
  const during = await caller.call(ledger.host);
  await mesh.put("service.lift", { name: "/shop/held" });

  expect(during.status).toBeGreaterThanOrEqual(500);
  await until(async () => (await caller.call(ledger.host)).status === 200, "its return");
  await caller[Symbol.asyncDispose]();
});

it("replaces a certificate that is to be renewed, and cuts nothing", async () => {
  const caller = await mesh.open("/shop/renewed");
  await until(async () => (await caller.call(ledger.host)).status === 200, "a route");
  const certificates = (): number =>
    [...mesh.controlPlane.writer.state.certificates.entries()].filter(
      ([, row]) => row.instance === caller.instance,
    ).length;
  const before = certificates();

  await mesh.put("instance.renew", { instance: caller.instance });

  await until(() => certificates() === before + 1, "another certificate");
  expect((await caller.call(ledger.host)).status).toBe(200);
  await caller[Symbol.asyncDispose]();
});

it("closes the connections of a node that was removed, and closes its own with everybody", async () => {
  const caller = await mesh.open("/shop/neighbour");
  const connection = await openKeepAlive(await logged(caller));
  const before = await connection.ask();

  await mesh.put("node.remove", { node: "here" });
  await connection.closed;

  expect(before).toContain("HTTP/1.1 200");
  expect(await ledger.metric("troth_proxy_peer_connections")).toBe(0);
});

async function logged({ service, instance }: Workload, notAfterSeconds?: number): Promise<Papers> {
  const papers = makePapers(mesh.intermediate, [`spiffe://test.example${service}`], {
    extensions: (usual) => [...usual, metadataExtension(instance, service)],
    ...(notAfterSeconds === undefined ? {} : { notAfterSeconds }),
  });
  await logPapers(mesh, papers, { service, instance });
  return papers;
}

/** A connection past any sidecar that stays open for as long as the ledger's proxy lets it. */
async function openKeepAlive(papers: Papers): Promise<{
  readonly say: (bytes: string) => void;
  readonly ask: () => Promise<string>;
  readonly closed: Promise<void>;
}> {
  const [host = "", port = ""] = ledger.sidecar.inboundAddress.split(":");
  const socket = tls.connect({ host, port: Number(port), rejectUnauthorized: false, ...papers });
  socket.on("error", () => {});
  const closed = new Promise<void>((resolve) => socket.once("close", () => resolve()));
  await new Promise<void>((resolve) => socket.once("secureConnect", () => resolve()));
  return {
    say: (bytes) => socket.write(bytes),
    ask: () => {
      socket.write("GET /kept HTTP/1.1\r\nHost: x\r\n\r\n");
      return new Promise((resolve) => {
        socket.once("data", (chunk) => resolve(String(chunk)));
        void closed.then(() => resolve(""));
      });
    },
    closed,
  };
}
