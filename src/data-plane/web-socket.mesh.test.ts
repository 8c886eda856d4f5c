import http from "node:http";
import tls from "node:tls";
import { afterAll, beforeAll, expect, it } from "vitest";
import { logPapers, makePapers, metadataExtension } from "../../test/apparatus/hostile-peer.ts";
import { MeshInProcess, until } from "../../test/apparatus/mesh-in-process.ts";
import type { PlainApp } from "../../test/apparatus/plain-app.ts";
import type { Workload } from "../../test/apparatus/workload.ts";
import {
  acceptOf,
  lineOf,
  openByConnect,
  openByUpgrade,
  openHttp2App,
  upgradeAnswer,
  upgradeRequest,
} from "../../test/fuzz/web-socket-ends.ts";

let mesh: MeshInProcess;
let front: Workload;
let ledger: Workload;
let modern: Workload;

beforeAll(async () => {
  mesh = await MeshInProcess.found();
  const http2App = await openHttp2App();
  const asPlain: PlainApp = {
    port: http2App.port,
    seen: [],
    bytes: () => 0,
    kill: async () => http2App[Symbol.asyncDispose](),
    [Symbol.asyncDispose]: async () => http2App[Symbol.asyncDispose](),
  };
  [front, ledger, modern] = await Promise.all([
    mesh.open("/shop/front"),
    mesh.open("/shop/ledger", { app: await openTalkingApp() }),
    mesh.open("/shop/modern", { app: asPlain, appProtocol: "http2" }),
  ]);
  await mesh.putRule("/shop/front", "/shop/ledger");
  await mesh.putRule("/shop/front", "/shop/modern");
  await until(async () => (await front.call(ledger.host)).status === 200, "a route");
  await until(async () => (await front.call(modern.host)).status === 200, "a route");
});
afterAll(() => mesh[Symbol.asyncDispose]());

it.each([
  ["HTTP/1.1", "HTTP/1.1", openByUpgrade, () => ledger],
  ["HTTP/1.1", "HTTP/2", openByUpgrade, () => modern],
  ["HTTP/2", "HTTP/1.1", openByConnect, () => ledger],
  ["HTTP/2", "HTTP/2", openByConnect, () => modern],
] as const)("carries a WebSocket from %s to %s through two sidecars", async (_, __, openClient, to) => {
  using client = await openClient(outboundPort(front), "early ", [], to().host);
  client.send(Buffer.from("late"));
  await until(() => client.received() === "early late");
  client.end();
  await until(() => client.hasEnded());

  expect(client.protocol).toBe("chat");
});

it("decides on it as on a GET of its path, and says why not", async () => {
  const headers = {
    connection: "Upgrade",
    upgrade: "websocket",
    "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==",
    "sec-websocket-version": "13",
  };
  await mesh.putRule("/shop/front", "/shop/ledger", { effect: "deny", methods: ["GET"], paths: ["/secret"] });
  await mesh.settled();
  const reply = await front.call(ledger.host, { path: "/secret", headers });
  await mesh.putRule("/shop/front", "/shop/ledger");

  expect(reply).toMatchObject({ status: 403, reason: "rule-denies" });
});

it("ends what is open and no longer allowed, records it, and leaves the rest alone", async () => {
  await mesh.putRule("/shop/front", "/shop/ledger", { paths: ["/chat", "/events", "/"] });
  await mesh.settled();
  using chat = await openByUpgrade(outboundPort(front), "a", [], ledger.host);
  using modernChat = await openByConnect(outboundPort(front), "a", [], modern.host);
  const events = await openEvents(front, "/events");
  const others = await openEvents(front, "/others");
  await until(() => chat.received() === "a" && modernChat.received() === "a");
  await until(() => events.text() !== "" && others.text() !== "");

  await mesh.putRule("/shop/front", "/shop/ledger", { paths: ["/others"] });
  await until(() => chat.isClosed() && events.isOver());
  modernChat.send(Buffer.from("b"));
  await until(() => modernChat.received() === "ab");

  expect(others.isOver()).toBe(false);
  expect(
    (await ledger.audit()).filter(({ effect, path }) => effect === "deny" && path === "/chat"),
  ).toMatchObject([{ reason: "no-rule", caller: "spiffe://test.example/shop/front", method: "GET" }]);
  expect(await ledger.metric("troth_proxy_requests_total", { outcome: "no-longer-allowed" })).toBe(2);
  others.destroy();
  await mesh.putRule("/shop/front", "/shop/ledger");
  await mesh.settled();
});

it("ends open WebSockets when their caller is no longer known", async () => {
  const caller = await mesh.open("/shop/leaving");
  await mesh.putRule("/shop/leaving", "/shop/ledger");
  await until(async () => (await caller.call(ledger.host)).status === 200, "a route");
  using chat = await openByUpgrade(outboundPort(caller), "a", [], ledger.host);
  await until(() => chat.received() === "a");

  await mesh.put("service.remove", { name: "/shop/leaving" });
  await until(() => chat.isClosed());
  await caller[Symbol.asyncDispose]();
});

it("ends open WebSockets when the instance at their other end is no longer known", async () => {
  const callee = await mesh.open("/shop/fading", { app: await openTalkingApp() });
  await mesh.putRule("/shop/front", "/shop/fading");
  await until(async () => (await front.call(callee.host)).status === 200, "a route");
  using chat = await openByUpgrade(outboundPort(front), "a", [], callee.host);
  await until(() => chat.received() === "a");

  const { instance } = callee;
  await mesh.controlPlane.writer.write([{ role: "issuer", kind: "instance.remove", body: { instance } }]);
  await until(() => chat.isClosed());
  await callee[Symbol.asyncDispose]();
});

it("is given to a peer that speaks HTTP/1.1, each side of which may end before the other", async () => {
  const caller = await mesh.open("/shop/envoy");
  await mesh.putRule("/shop/envoy", "/shop/ledger");
  await until(async () => (await caller.call(ledger.host)).status === 200, "a route");
  const { service, instance } = caller;
  const papers = makePapers(mesh.intermediate, [`spiffe://test.example${service}`], {
    extensions: (usual) => [...usual, metadataExtension(instance, service)],
  });
  await logPapers(mesh, papers, { service, instance });
  const [host = "", port = ""] = ledger.sidecar.inboundAddress.split(":");
  const socket = tls.connect({
    host,
    port: Number(port),
    rejectUnauthorized: false,
    ALPNProtocols: ["http/1.1"],
    ...papers,
  });
  socket.allowHalfOpen = true;
  let text = "";
  let hasEnded = false;
  socket.on("error", () => {});
  socket.on("data", (chunk) => {
    text += chunk.toString("latin1");
  });
  socket.on("end", () => {
    hasEnded = true;
  });
  await until(() => socket.encrypted && socket.authorizationError !== undefined);
  socket.write(upgradeRequest());
  await until(() => text.includes("\r\n\r\n"));
  socket.write("hello");
  await until(() => text.endsWith("hello"));
  // The application answers the end with its last words.
  socket.end("end");
  await until(() => hasEnded);

  expect(lineOf(text, "sec-websocket-accept")).toBe(acceptOf("dGhlIHNhbXBsZSBub25jZQ=="));
  expect(text.endsWith("helloendgood-bye")).toBe(true);
  await caller[Symbol.asyncDispose]();
});

it("gives a WebSocket that is over its place in the metrics, once", async () => {
  const before = await ledger.metric("troth_proxy_requests_total", { direction: "inbound", outcome: "ok" });
  using chat = await openByUpgrade(outboundPort(front), "a", [], ledger.host);
  await until(() => chat.received() === "a");
  const meanwhile = await ledger.metric("troth_proxy_requests_total", {
    direction: "inbound",
    outcome: "ok",
  });
  chat.end();
  await until(() => chat.hasEnded());
  const after = (): Promise<number> =>
    ledger.metric("troth_proxy_requests_total", { direction: "inbound", outcome: "ok" });
  await until(async () => (await after()) > meanwhile);

  expect(meanwhile).toBe(before);
  expect(await after()).toBe(before + 1);
});

function outboundPort({ sidecar }: Workload): number {
  return Number(sidecar.outboundAddress.split(":")[1]);
}

/** An application that repeats what comes through its WebSockets, and has streams of events besides. */
async function openTalkingApp(): Promise<PlainApp> {
  const server = http.createServer((request, response) => {
    if (request.url === "/") return response.end("app");
    response.writeHead(200, { "content-type": "text/event-stream" });
    return response.write("data: first\n\n");
  });
  server.on("upgrade", (request, socket) => {
    const key = String(request.headers["sec-websocket-key"]);
    socket.write(upgradeAnswer(key, "Sec-WebSocket-Protocol: chat\r\n"));
    socket.on("error", () => {});
    socket.on("data", (chunk: Buffer) => socket.write(chunk));
    socket.on("end", () => socket.end("good-bye"));
  });
  await new Promise<void>((resolve) => server.listen({ host: "127.0.0.1", port: 0 }, () => resolve()));
  const address = server.address();
  const kill = (): Promise<void> =>
    new Promise((resolve) => {
      server.close(() => resolve());
      server.closeAllConnections();
    });
  return {
    port: typeof address === "object" && address !== null ? address.port : 0,
    seen: [],
    bytes: () => 0,
    kill,
    [Symbol.asyncDispose]: kill,
  };
}

async function openEvents(
  from: Workload,
  path: string,
): Promise<{ readonly text: () => string; readonly isOver: () => boolean; readonly destroy: () => void }> {
  let text = "";
  let isOver = false;
  const [host, port] = from.sidecar.outboundAddress.split(":");
  const request = http.get({ host, port, path, headers: { host: ledger.host }, agent: false });
  request.on("error", () => {
    isOver = true;
  });
  request.on("response", (response) => {
    response.on("error", () => {});
    response.on("data", (chunk: Buffer) => {
      text += chunk.toString();
    });
    response.on("close", () => {
      isOver = true;
    });
  });
  return { text: () => text, isOver: () => isOver, destroy: () => request.destroy() };
}
