import { constants, randomUUID } from "node:crypto";
import { rm } from "node:fs/promises";
import net from "node:net";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import tls from "node:tls";
import { create } from "@bufbuild/protobuf";
import { afterAll, afterEach, beforeAll, expect, it } from "vitest";
import { type DeceitfulAgent, openDeceitfulAgent } from "../../test/apparatus/deceitful-agent.ts";
import { logPapers, makePapers, metadataExtension, type Papers } from "../../test/apparatus/hostile-peer.ts";
import { MeshInProcess, until } from "../../test/apparatus/mesh-in-process.ts";
import type { Reply, Workload } from "../../test/apparatus/workload.ts";
import { type Endpoint, EndpointSchema, type Update, UpdateSchema } from "../protocol/index.ts";

let mesh: MeshInProcess;
let agent: DeceitfulAgent;
let front: Workload;
let ledger: Workload;
let mallory: Workload;
const listeners: tls.Server[] = [];
/** Takes connections and says nothing; mallory's, for as long as these tests run. */
const silent = net.createServer((socket) => socket.on("error", () => {}));
let stalled: Promise<Reply>;

beforeAll(async () => {
  mesh = await MeshInProcess.found();
  const socketPath = join(mesh.folder, "deceitful.sock");
  // The real endpoints are kept from the front, which is to believe in those that a test makes up.
  let hasToldOne = false;
  agent = await openDeceitfulAgent(socketPath, mesh.agentSocketPath, (update) => {
    if (update.content.case !== "endpoints") return update;
    const first = hasToldOne ? undefined : endpointsUpdate([]);
    hasToldOne = true;
    return first;
  });
  [ledger, mallory, front] = await Promise.all([
    mesh.open("/shop/ledger"),
    mesh.open("/shop/mallory"),
    mesh.open("/shop/front", { agentSocketPath: socketPath }),
  ]);
  await mesh.putRule("/shop/front", "/shop/*");
  await mesh.settled();
  await new Promise<void>((resolve) => silent.listen(0, "127.0.0.1", () => resolve()));
  believe();
  await until(async () => (await front.call(ledger.host)).reason === "no-instances", "what is believed");
  stalled = front.call(mallory.host);
});
afterEach(() => {
  for (const listener of listeners.splice(0)) listener.close();
});
afterAll(async () => {
  await front[Symbol.asyncDispose]();
  await agent[Symbol.asyncDispose]();
  silent.close();
  await rm(agent.socketPath, { force: true });
  await mesh[Symbol.asyncDispose]();
});

it("calls the ledger where the endpoints say the truth", async () => {
  believe({ instance: ledger.instance, address: ledger.sidecar.inboundAddress });

  expect((await front.call(ledger.host, { path: "/true" })).status).toBe(200);
});

interface Impostor {
  readonly what: string;
  readonly reason: string;
  readonly instance: () => string;
  readonly papers: () => Promise<Papers>;
}

const impostors: readonly Impostor[] = [
  {
    what: "another service's good certificate",
    reason: "other-instance",
    instance: () => ledger.instance,
    papers: async () => logged(mallory),
  },
  {
    what: "the good certificate of an instance that serves something else",
    reason: "other-instance",
    instance: () => mallory.instance,
    papers: async () => logged(mallory),
  },
  {
    what: "a good certificate of another instance of the same service",
    reason: "other-instance",
    instance: () => randomUUID(),
    papers: async () => logged(ledger),
  },
  {
    what: "a certificate that the log does not name",
    reason: "not-in-log",
    instance: () => ledger.instance,
    papers: async () => papersOf(ledger),
  },
  {
    what: "two names in its certificate",
    reason: "several-uri-sans",
    instance: () => ledger.instance,
    papers: async () =>
      makePapers(mesh.intermediate, [
        "spiffe://test.example/shop/ledger",
        "spiffe://test.example/shop/mallory",
      ]),
  },
];

for (const { what, reason, instance, papers } of impostors)
  it(`says nothing to a listener with ${what}: ${reason}`, async () => {
    const impostor = await listenAs(await papers());
    believe({ instance: instance(), address: impostor.address });

    const reply = await front.call(ledger.host, { method: "POST", path: "/secret", body: "card 4711" });

    expect(reply).toMatchObject({ status: 502, reason: "upstream-connect-failed" });
    expect(reply.body).toContain(reason);
    expect(impostor.received()).toBe("");
    await until(
      async () => (await recordsOf(reason)).some(({ peer }) => peer === impostor.address),
      "a record",
    );
    const labels = { direction: "outbound", reason };
    expect(await front.metric("troth_proxy_refused_connections_total", labels)).toBeGreaterThan(0);
  });

it("goes to an honest instance when another address is an impostor's", async () => {
  const impostor = await listenAs(await logged(mallory));
  believe(
    { instance: ledger.instance, address: impostor.address },
    { instance: ledger.instance, address: ledger.sidecar.inboundAddress },
  );

  const replies = await Promise.all(
    Array.from({ length: 20 }, () => front.call(ledger.host, { path: "/balanced" })),
  );

  expect(new Set(replies.map(({ status }) => status))).toEqual(new Set([200]));
  expect(impostor.received()).toBe("");
});

it("does not take a peer that hangs up during the check for an impostor", async () => {
  const refused = (): Promise<number> =>
    front.metric("troth_proxy_refused_connections_total", { direction: "outbound" });
  const before = await refused();
  const papers = papersOf(ledger);
  const impostor = await listenAs(papers, (socket) => {
    setTimeout(() => socket.destroy(), 100);
  });
  believe({ instance: ledger.instance, address: impostor.address });

  const calling = front.call(ledger.host, { path: "/gone" });
  await sleep(400);
  await logPapers(mesh, papers, ledger);

  expect((await calling).status).toBe(502);
  expect(await refused()).toBe(before);
});

it("ends a request to a listener that stalls in its handshake", async () => {
  expect(await stalled).toMatchObject({ status: 504, reason: "upstream-connect-timeout" });
});

/** Makes the front believe that the ledger serves at these addresses and nowhere else, and mallory in silence. */
function believe(...endpoints: readonly { readonly instance: string; readonly address: string }[]): void {
  const { service, instance } = mallory;
  const made = [
    ...endpoints.map((endpoint) => create(EndpointSchema, { ...endpoint, service: "/shop/ledger" })),
    create(EndpointSchema, { service, instance, address: `127.0.0.1:${portOf(silent)}` }),
  ];
  agent.say(endpointsUpdate(made));
}

function endpointsUpdate(endpoints: readonly Endpoint[]): Update {
  return create(UpdateSchema, { content: { case: "endpoints", value: { endpoints: [...endpoints] } } });
}

function papersOf({ service, instance }: Workload): Papers {
  return makePapers(mesh.intermediate, [`spiffe://test.example${service}`], {
    extensions: (usual) => [...usual, metadataExtension(instance, service)],
  });
}

async function logged(workload: Workload): Promise<Papers> {
  const papers = papersOf(workload);
  await logPapers(mesh, papers, workload);
  await mesh.settled();
  return papers;
}

async function listenAs(
  papers: Papers,
  onConnection: (socket: tls.TLSSocket) => void = () => {},
): Promise<{
  readonly address: string;
  readonly received: () => string;
}> {
  let received = "";
  const server = tls.createServer(
    { ...papers, requestCert: true, rejectUnauthorized: false, secureOptions: constants.SSL_OP_NO_TICKET },
    (socket) => {
      socket.on("data", (chunk) => {
        received += String(chunk);
      });
      socket.on("error", () => {});
      onConnection(socket);
    },
  );
  listeners.push(server);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", () => resolve()));
  return { address: `127.0.0.1:${portOf(server)}`, received: () => received };
}

async function recordsOf(reason: string): Promise<Record<string, unknown>[]> {
  const records = await front.audit();
  return records.filter((record) => record["type"] === "connection-refused" && record["reason"] === reason);
}

function portOf(server: net.Server): number {
  const bound = server.address();
  return typeof bound === "object" && bound !== null ? bound.port : 0;
}
