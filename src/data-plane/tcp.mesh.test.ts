import type http2 from "node:http2";
import { afterAll, beforeAll, beforeEach, expect, it } from "vitest";
import {
  logPapers,
  makePapers,
  meet,
  metadataExtension,
  type Papers,
} from "../../test/apparatus/hostile-peer.ts";
import { askAsPeer, type PeerStream } from "../../test/apparatus/http2-peer.ts";
import { MeshInProcess, until } from "../../test/apparatus/mesh-in-process.ts";
import { connectTo, openTcpApp, type TcpApp, type TcpEnd } from "../../test/apparatus/tcp-app.ts";
import type { Workload } from "../../test/apparatus/workload.ts";

let mesh: MeshInProcess;
let app: TcpApp;
let front: Workload;
let database: Workload;
let web: Workload;
/** What the database does with a connection; each test says. */
let serve: (end: TcpEnd) => void = () => {};

beforeAll(async () => {
  mesh = await MeshInProcess.found();
  app = await openTcpApp((end) => serve(end));
  await mesh.putService("/shop/db");
  await mesh.putTcp("/shop/db");
  await mesh.putService("/shop/web");
  [front, database, web] = await Promise.all([
    mesh.open("/shop/front", { tcp: ["/shop/db", "/shop/web", "/shop/nobody"] }),
    mesh.open("/shop/db", { app }),
    mesh.open("/shop/web"),
  ]);
  await mesh.putRule("/shop/front", "/shop/db");
  await mesh.putRule("/shop/front", "/shop/web");
  await mesh.settled();
  await until(async () => (await front.call(web.host)).status === 200, "a route");
});
afterAll(() => mesh[Symbol.asyncDispose]());
beforeEach(() => {
  serve = ({ socket }) => socket.pipe(socket);
});

async function connect(place = 0): Promise<TcpEnd> {
  const address = front.sidecar.tcpAddresses[place] ?? "";
  return connectTo(address);
}

it("carries bytes both ways, and the end of each", async () => {
  serve = () => {};
  const before = app.connections().length;
  const near = await connect();
  near.socket.write("from the client");
  await until(() => app.connections()[before]?.text === "from the client", "the client's bytes");
  const far = app.connections()[before];
  near.socket.end(", the last");
  await until(() => far?.hasEnded === true, "the client's end");
  far?.socket.write("from the server");
  await until(() => near.text === "from the server", "the server's bytes");
  expect(near.hasEnded).toBe(false);
  far?.socket.end();
  await until(() => near.closed !== undefined && far?.closed !== undefined, "both ends");

  expect(far?.text).toBe("from the client, the last");
  expect([near.closed, far?.closed]).toEqual(["ended", "ended"]);
});

it("hears a server that speaks first", async () => {
  serve = ({ socket }) => socket.write("220 ready\r\n");
  const near = await connect();

  await until(() => near.text === "220 ready\r\n", "the greeting");

  near.socket.resetAndDestroy();
});

it("breaks one end when the other is broken", async () => {
  const before = app.connections().length;
  const near = await connect();
  near.socket.write("x");
  await until(() => near.text === "x", "the echo");
  near.socket.resetAndDestroy();
  await until(() => app.connections()[before]?.closed === "reset", "the reset of the server's end");

  const other = await connect();
  other.socket.write("x");
  await until(() => other.text === "x", "the echo");
  app.connections()[before + 1]?.socket.resetAndDestroy();
  await until(() => other.closed === "reset", "the reset of the client's end");
});

it("decides once for the connections of a peer, by the two services alone, and writes that down", async () => {
  const ends = [await connect(), await connect()];
  for (const end of ends) end.socket.write("x");
  await until(() => ends.every(({ text }) => text === "x"), "two echoes");
  for (const end of ends) end.socket.resetAndDestroy();
  const decisions = async (): Promise<Record<string, unknown>[]> =>
    (await database.audit()).filter(({ method }) => method === "CONNECT");
  await until(async () => (await decisions()).length > 0, "the record");

  expect((await decisions()).at(-1)).toMatchObject({
    type: "decision",
    effect: "allow",
    rule: "/shop/front /shop/db",
    caller: "spiffe://test.example/shop/front",
    callee: "/shop/db",
    path: "",
    evaluatorVersion: 2,
  });
});

it("counts connections and bytes where they come and where they go", async () => {
  const counted = async (direction: string): Promise<number[]> => {
    const workload = direction === "inbound" ? database : front;
    return Promise.all([
      workload.metric("troth_proxy_tcp_connections_total", { direction, outcome: "ok" }),
      workload.metric("troth_proxy_tcp_bytes_total", { direction, application: "sent" }),
      workload.metric("troth_proxy_tcp_bytes_total", { direction, application: "received" }),
      workload.metric("troth_proxy_requests_total", { direction }),
    ]);
  };
  const before = [await counted("outbound"), await counted("inbound")];
  serve = ({ socket }) => socket.end("four");
  const near = await connect();
  near.socket.end("twelve bytes");
  await until(() => near.closed === "ended", "the end");
  const isOver = async (): Promise<boolean> =>
    (await database.metric("troth_proxy_tcp_open_connections")) +
      (await front.metric("troth_proxy_tcp_open_connections")) ===
    0;
  await until(isOver, "the end on both sides");
  const after = [await counted("outbound"), await counted("inbound")];

  const grown = after.map((counts, place) => counts.map((count, at) => count - (before[place]?.[at] ?? 0)));
  expect(grown).toEqual([
    [1, 12, 4, 0],
    [1, 4, 12, 0],
  ]);
});

it.each([
  ["a service over HTTP", 1, "service-speaks-http"],
  ["a service that nobody knows", 2, "unknown-service"],
])("resets a connection to %s, and counts why", async (_, place, reason) => {
  const count = (): Promise<number> =>
    front.metric("troth_proxy_tcp_connections_total", { direction: "outbound", outcome: reason });
  const before = await count();

  const near = await connect(place);
  await until(() => near.closed !== undefined, "the end");

  expect([near.closed, await count()]).toEqual(["reset", before + 1]);
});

it("answers a request of HTTP to a service over TCP with what to do, and asks nobody", async () => {
  const before = app.connections().length;

  const { status, reason, body } = await front.call(database.host);

  expect([status, reason]).toEqual([421, "service-speaks-tcp"]);
  expect(body).toContain("troth run --tcp /shop/db");
  expect(app.connections().length).toBe(before);
});

it.each([
  ["", "HTTP/1.1", "Host: db.shop.mesh:5432\r\nProxy-Connection: keep-alive\r\nContent-Length: 0\r\n"],
  [" without the port in Host", "HTTP/1.1", "Host: db.shop.mesh\r\n"],
  [" of HTTP/1.0", "HTTP/1.0", ""],
])(
  "opens a tunnel by CONNECT%s at the port for HTTP, and carries what came with it",
  async (_, version, lines) => {
    const near = await connectTo(front.sidecar.outboundAddress);

    near.socket.write(`CONNECT db.shop.mesh:5432 ${version}\r\n${lines}\r\nearly`);
    await until(() => near.text.endsWith("early"), "the echo");
    near.socket.end(" and late");
    await until(() => near.closed !== undefined, "the end");

    expect(near.text).toBe("HTTP/1.1 200 Connection established\r\n\r\nearly and late");
    expect(near.closed).toBe("ended");
  },
);

it.each([
  ["web.shop.mesh:80", "Host: web.shop.mesh:80", 421, "service-speaks-http"],
  ["nobody.shop.mesh:80", "Host: nobody.shop.mesh:80", 404, "unknown-service"],
  ["example.com:443", "Host: example.com:443", 404, "not-a-mesh-name"],
  ["db.shop.mesh", "Host: db.shop.mesh", 400, "host-invalid"],
  ["/shop/db", "Host: db.shop.mesh", 400, "host-invalid"],
  ["db.shop.mesh:5432", "Host: web.shop.mesh:5432", 400, "target-host-mismatch"],
  ["db.shop.mesh:5432", "Host: db.shop.mesh\r\nContent-Length: 3", 400, "connect-with-content"],
  ["db.shop.mesh:5432", "Host: db.shop.mesh\r\nTransfer-Encoding: chunked", 400, "connect-with-content"],
  ["db.shop.mesh:5432", "Host: db.shop.mesh\r\nExpect: 100-continue", 417, "expectation-unsupported"],
  [
    "db.shop.mesh:5432",
    "Host: db.shop.mesh\r\nConnection: upgrade\r\nUpgrade: x",
    501,
    "upgrade-unsupported",
  ],
])(
  "answers CONNECT to %s with %s by %i, and takes nothing behind it for a request",
  async (target, lines, status, reason) => {
    const before = app.connections().length;
    const near = await connectTo(front.sidecar.outboundAddress);

    near.socket.write(
      `CONNECT ${target} HTTP/1.1\r\n${lines}\r\n\r\nGET / HTTP/1.1\r\nHost: web.shop.mesh\r\n\r\n`,
    );
    await until(() => near.hasEnded, "the answer");
    near.socket.destroy();

    expect(near.text).toMatch(new RegExp(`^HTTP/1\\.1 ${status} `));
    expect(near.text).toContain(`"reason":"${reason}"`);
    expect(near.text.match(/HTTP\/1\.1 /g)).toHaveLength(1);
    expect(app.connections().length).toBe(before);
  },
);

it("refuses a peer that speaks HTTP to a service over TCP, and a tunnel to one over HTTP, whatever its sidecar would do", async () => {
  await mesh.putRule("/*", "/*");
  const caller = await mesh.open("/shop/bare");
  const papers = await logged(caller);
  const before = [app.connections().length, web.app.seen.length];
  const ask = (to: Workload, headers: http2.OutgoingHttpHeaders): Promise<PeerStream> =>
    askAsPeer(to.sidecar.inboundAddress, papers, headers);

  await using request = await ask(database, { ":method": "GET", ":path": "/" });
  await using tunnel = await ask(web, { ":method": "CONNECT", ":authority": "web.shop.mesh:80" });
  await using allowed = await ask(database, { ":method": "CONNECT", ":authority": "db.shop.mesh:80" });
  allowed.stream.write("x");
  await until(() => allowed.text() === "x", "the echo");
  const after = [app.connections().length, web.app.seen.length];
  await mesh.put("rule.remove", { from: "/*", to: "/*" });
  await caller[Symbol.asyncDispose]();

  expect([request.status, request.reason()]).toEqual([421, "service-speaks-tcp"]);
  expect([tunnel.status, tunnel.reason()]).toEqual([421, "service-speaks-http"]);
  expect(allowed.status).toBe(200);
  expect(after).toEqual([(before[0] ?? 0) + 1, before[1]]);
});

it("takes no CONNECT from a peer that speaks HTTP/1.1, whose rest might be taken for requests", async () => {
  await mesh.putRule("/shop/old", "/shop/db");
  const caller = await mesh.open("/shop/old");
  const papers = await logged(caller);
  const before = app.connections().length;

  const { answer } = await meet(
    database.sidecar.inboundAddress,
    { ...papers, ALPNProtocols: ["http/1.1"] },
    "CONNECT db.shop.mesh:80 HTTP/1.1\r\nHost: db.shop.mesh:80\r\n\r\nx",
  );

  expect(answer).toContain('"reason":"method-unsupported"');
  expect(app.connections().length).toBe(before);
  await caller[Symbol.asyncDispose]();
});

const changes: readonly (readonly [
  what: string,
  reason: string,
  change: (caller: string) => Promise<void>,
])[] = [
  ["its rule is removed", "no-rule", (from) => mesh.put("rule.remove", { from, to: "/shop/db" })],
  ["a rule denies it", "rule-denies", (from) => mesh.putRule(from, "/shop/db", { effect: "deny" })],
  [
    "a rule denies some requests to all services",
    "request-rule-denies",
    (from) => mesh.putRule(from, "/*", { effect: "deny", methods: ["DELETE"] }),
  ],
];

it.each(changes)(
  "cuts open connections when %s, after which no byte passes and no new one is taken",
  async (_, reason, change) => {
    serve = () => {};
    const caller = await mesh.open(`/shop/evil-${reason}`);
    await mesh.putRule(caller.service, "/shop/db");
    await mesh.settled();
    // One that holds on, whatever its own sidecar would do.
    const papers = await logged(caller);
    const connect = { ":method": "CONNECT", ":authority": "db.shop.mesh:80" };
    const before = app.connections().length;
    await using held = await askAsPeer(database.sidecar.inboundAddress, papers, connect);
    await using other = await askAsPeer(database.sidecar.inboundAddress, papers, connect);
    other.stream.write("once");
    const sending = setInterval(() => held.stream.write("more"), 1);
    await until(() => app.connections().length === before + 2, "bytes");

    await change(caller.service);
    await mesh.settled();
    const bytes = app.bytes();
    await until(() => held.isOver() && other.isOver(), "the end of the tunnels");
    const ends = app.connections().slice(before);
    await until(() => ends.every(({ closed }) => closed !== undefined), "the end at the application");
    clearInterval(sending);
    await using again = await askAsPeer(database.sidecar.inboundAddress, papers, connect);

    expect(app.bytes()).toBe(bytes);
    expect(ends.map(({ closed }) => closed)).toEqual(["reset", "reset"]);
    expect([again.status, again.reason()]).toEqual([403, reason]);
    expect(await database.audit()).toContainEqual(
      expect.objectContaining({ effect: "deny", reason, method: "CONNECT" }),
    );
    await caller[Symbol.asyncDispose]();
  },
);

it("keeps open connections through steps of the log that change nothing for them", async () => {
  const near = await connect();
  near.socket.write("x");
  await until(() => near.text === "x", "the echo");
  const denied = await database.metric("troth_proxy_denied_requests_total");

  await mesh.putRule("/shop/front", "/shop/elsewhere", { effect: "deny" });
  await mesh.settled();
  near.socket.write("y");
  await until(() => near.text === "xy", "the second echo");
  near.socket.resetAndDestroy();

  expect(await database.metric("troth_proxy_denied_requests_total")).toBe(denied);
});

it("cuts the open connections of what is no service over TCP any more", async () => {
  const near = await connect();
  near.socket.write("x");
  await until(() => near.text === "x", "the echo");

  await mesh.put("traffic.remove", { service: "/shop/db" });
  await until(() => near.closed !== undefined, "the end");
  await mesh.putTcp("/shop/db");
  await mesh.settled();

  expect(near.closed).toBe("reset");
});

async function logged({ service, instance }: Workload): Promise<Papers> {
  const papers = makePapers(mesh.intermediate, [`spiffe://test.example${service}`], {
    extensions: (usual) => [...usual, metadataExtension(instance, service)],
  });
  await logPapers(mesh, papers, { instance, service });
  await mesh.settled();
  return papers;
}
