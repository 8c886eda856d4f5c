import { once } from "node:events";
import http from "node:http";
import http2 from "node:http2";
import net from "node:net";
import tls from "node:tls";
import { afterAll, beforeAll, expect, it } from "vitest";
import { logPapers, makePapers, metadataExtension } from "../../test/apparatus/hostile-peer.ts";
import { MeshInProcess, until } from "../../test/apparatus/mesh-in-process.ts";
import type { PlainApp } from "../../test/apparatus/plain-app.ts";
import type { Workload } from "../../test/apparatus/workload.ts";
import { frame, preface } from "../../test/fuzz/http2-wire.ts";

let mesh: MeshInProcess;
let front: Workload;
let ledger: Workload;

beforeAll(async () => {
  mesh = await MeshInProcess.found();
  [front, ledger] = await Promise.all([mesh.open("/shop/front"), mesh.open("/shop/ledger")]);
  await mesh.putRule("/shop/front", "/shop/ledger");
  await until(async () => (await front.call(ledger.host)).status === 200, "a route");
});
afterAll(() => mesh[Symbol.asyncDispose]());

it("takes HTTP/2 with prior knowledge from an application and forgets the connection with its end", async () => {
  const client = http2.connect(`http://${front.sidecar.outboundAddress}`);
  const stream = client.request({ ":path": "/over-http2", ":authority": ledger.host });
  const [headers]: http2.IncomingHttpHeaders[] = await once(stream, "response");
  stream.resume();
  await once(stream, "close");
  client.destroy();

  expect(headers?.[":status"]).toBe(200);
  expect(ledger.app.seen.at(-1)).toMatchObject({ line: "GET /over-http2" });
});

it.each([
  ["http2", "text/plain", "2.0"],
  ["http2", "application/grpc", "2.0"],
  ["auto", "text/plain", "1.1"],
  ["auto", "application/grpc", "2.0"],
  ["http1", "application/grpc", "1.1"],
] as const)(
  "asks an application of %s, where the content is %s, in HTTP/%s",
  async (protocol, type, expected) => {
    const seen: string[] = [];
    const app = await openApp(expected === "2.0", (version) => seen.push(version));
    const service = `/shop/${protocol}-${type.slice(type.indexOf("/") + 1)}`;
    const workload = await mesh.open(service, { app, appProtocol: protocol });
    await mesh.putRule("/shop/front", service);
    const headers = { "content-type": type, te: "trailers" };
    // The sidecar advertises it once something accepts connections there, whatever that speaks.
    await until(
      async () => (await front.call(workload.host, { method: "POST", headers, body: "x" })).body === "ok",
      "an answer",
    );
    await workload[Symbol.asyncDispose]();

    expect(new Set(seen)).toEqual(new Set([expected]));
  },
);

/** An application that speaks one protocol alone, and says what it was asked in. */
async function openApp(isHttp2: boolean, onVersion: (version: string) => void): Promise<PlainApp> {
  const answer = (
    request: http.IncomingMessage | http2.Http2ServerRequest,
    response: http.ServerResponse | http2.Http2ServerResponse,
  ): void => {
    onVersion(request.httpVersion);
    request.resume().once("end", () => response.end("ok"));
  };
  const sessions = new Set<http2.ServerHttp2Session>();
  const server = isHttp2 ? http2.createServer(answer) : http.createServer(answer);
  if ("setTimeout" in server)
    server.on("session", (session: http2.ServerHttp2Session) => sessions.add(session));
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  const kill = async (): Promise<void> => {
    for (const session of sessions) session.destroy();
    if ("closeAllConnections" in server) server.closeAllConnections();
    await new Promise((resolve) => {
      server.close(resolve);
    });
  };
  return {
    port: typeof address === "object" && address !== null ? address.port : 0,
    seen: [],
    bytes: () => 0,
    kill,
    [Symbol.asyncDispose]: kill,
  };
}

it("counts what an application does against the rules of HTTP/2", async () => {
  const [host = "", port = ""] = front.sidecar.outboundAddress.split(":");
  const socket = net.connect({ host, port: Number(port) });
  socket.on("error", () => {});
  socket.resume().write(Buffer.concat([preface, frame("DATA", 0, 1, Buffer.from("x"))]));
  await once(socket, "close");

  expect(await violations(front, { direction: "outbound", reason: "stream-idle" })).toBe(1);
});

it("takes more fields from another proxy than from an application: room for what that proxy adds", async () => {
  const socket = await connectAsFront();
  const client = http2.connect(`https://${ledger.host}`, { createConnection: () => socket });
  const ask = async (fields: number): Promise<number> => {
    const lines = Array.from({ length: fields }, (_, place) => [`x${place}`, "a"] as const);
    const asked = { ":path": "/", ":authority": ledger.host, ...Object.fromEntries(lines) };
    const stream = client.request(asked).resume();
    const [headers]: http2.IncomingHttpHeaders[] = await once(stream, "response");
    return Number(headers?.[":status"]);
  };
  const statuses = [await ask(118), await ask(121)];
  client.destroy();

  expect(statuses).toEqual([200, 431]);
});

it("counts what a checked peer does against the rules of HTTP/2, and shows it", async () => {
  const socket = await connectAsFront();
  socket.resume().write(Buffer.concat([preface, frame("DATA", 0, 1, Buffer.from("x"))]));
  await once(socket, "close");
  const described = await fetch(`http://${ledger.sidecar.adminAddress}/config`);

  expect(await violations(ledger, { direction: "inbound", reason: "stream-idle" })).toBe(1);
  expect(await described.json()).toMatchObject({
    http2Violations: { inbound: { "stream-idle": 1 }, outbound: {} },
  });
});

/** A connection to the ledger's mesh port under an SVID of the front's. */
async function connectAsFront(): Promise<tls.TLSSocket> {
  const papers = makePapers(mesh.intermediate, ["spiffe://test.example/shop/front"], {
    extensions: (usual) => [...usual, metadataExtension(front.instance, "/shop/front")],
  });
  await logPapers(mesh, papers, { instance: front.instance, service: "/shop/front" });
  await mesh.settled();
  const [host = "", port = ""] = ledger.sidecar.inboundAddress.split(":");
  const { cert, key } = papers;
  const socket = tls.connect({
    host,
    port: Number(port),
    cert,
    key,
    ALPNProtocols: ["h2"],
    rejectUnauthorized: false,
    checkServerIdentity: () => undefined,
  });
  socket.on("error", () => {});
  await once(socket, "secureConnect");
  return socket;
}

async function violations(of: Workload, labels: Readonly<Record<string, string>>): Promise<number> {
  return of.metric("troth_proxy_http2_violations_total", labels);
}
