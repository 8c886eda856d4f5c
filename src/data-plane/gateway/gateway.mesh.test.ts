import http from "node:http";
import http2 from "node:http2";
import net from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import tls from "node:tls";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type EdgeCertificateForTests, edgeCertificate } from "../../../test/apparatus/edge-certificate.ts";
import { MeshInProcess, until } from "../../../test/apparatus/mesh-in-process.ts";
import type { PlainApp } from "../../../test/apparatus/plain-app.ts";
import { ask, type Reply, type Workload } from "../../../test/apparatus/workload.ts";
import { openByConnect, openByUpgrade, openHttp2App } from "../../../test/fuzz/web-socket-ends.ts";
import { parseServiceName, type ServiceName } from "../../identity/index.ts";
import type { GatewayRoute, GatewaySettings } from "./gateway-settings.ts";
import { type Gateway, openGateway } from "./open-gateway.ts";

let mesh: MeshInProcess;
let web: Workload;
let api: Workload;
let gateway: Gateway;
let shop: EdgeCertificateForTests;
let other: EdgeCertificateForTests;
let settings: GatewaySettings;

beforeAll(async () => {
  mesh = await MeshInProcess.found();
  for (const service of ["/edge/gateway", "/shop/secret"]) await mesh.putService(service);
  web = await mesh.open("/shop/web");
  api = await mesh.open("/shop/api");
  await mesh.open("/shop/chat", { app: await openChat(), appProtocol: "http2" });
  for (const service of ["/shop/web", "/shop/chat"]) await mesh.putRule("/edge/gateway", service);
  await mesh.settled();
  shop = edgeCertificate("shop.example");
  other = edgeCertificate("other.example");
  settings = {
    listeners: [
      { host: "127.0.0.1", port: 0, certificates: [fileOf(shop), fileOf(other)] },
      { host: "127.0.0.1", port: 0, certificates: [] },
    ],
    routes: [
      route("/", "/shop/web"),
      route("/denied", "/shop/api"),
      route("/gone", "/shop/secret"),
      { ...route("/strip", "/shop/web"), isPrefixStripped: true },
      route("/chat", "/shop/chat"),
    ],
    limits: { connectionsPerAddressMax: 8, requestsPerAddressMax: 4 },
  };
  gateway = await openGateway({ ...mesh.proxyOptions("/edge/gateway"), settings });
  await until(async () => (await plain("/")).status === 200, "the way through the gateway");
}, 30_000);

afterAll(async () => {
  await gateway[Symbol.asyncDispose]();
  await mesh[Symbol.asyncDispose]();
});

const claims = {
  forwarded: "for=6.6.6.6",
  "x-forwarded-for": "6.6.6.6",
  "X-Forwarded-User": "root",
  "x-forwarded-client-cert": "URI=spiffe://test.example/shop/admin",
  "x-real-ip": "6.6.6.6",
  "x-envoy-external-address": "6.6.6.6",
  "troth-request-token": "x",
};

describe("what an application hears of a client from outside", () => {
  it.each([
    ["HTTP/1.1 in TLS", (path: string) => secure(path, claims), "https"],
    ["HTTP/2 in TLS", (path: string) => secureHttp2(path, claims), "https"],
    ["plain HTTP/1.1", (path: string) => plain(path, claims), "http"],
    ["plain HTTP/2", (path: string) => plainHttp2(path, claims), "http"],
  ])("is what the gateway says, whatever the client claims over %s", async (_, call, scheme) => {
    const path = `/claims-${scheme}`;
    const reply = await call(path);

    expect(reply.status).toBe(200);
    const headers = web.app.seen.findLast(({ line }) => line === `GET ${path}`)?.headers ?? {};
    const said = Object.entries(headers).filter(([name]) => /^(forwarded|x-|troth-)/.test(name));
    expect(Object.fromEntries(said)).toEqual({
      // The second is what the callee's sidecar says of the gateway.
      forwarded: `for=127.0.0.1;host="shop.example";proto=${scheme}, for=_edge.gateway;host="shop.example";proto=http`,
      "x-forwarded-for": "127.0.0.1",
      "x-forwarded-host": "shop.example",
      "x-forwarded-proto": scheme,
      "x-forwarded-client-cert": expect.stringMatching(
        /^Hash=[0-9a-f]{64};URI=spiffe:\/\/test\.example\/edge\/gateway$/,
      ),
    });
  });

  it("is a WebSocket where the client asks for one, over HTTP/1.1 and HTTP/2", async () => {
    const port = Number(gateway.addresses[1]?.split(":")[1]);
    for (const openClient of [openByUpgrade, openByConnect]) {
      using client = await openClient(port, "early ", [], "shop.example");
      client.send(Buffer.from("late"));
      await until(() => client.received() === "early late");
    }
  });

  it("is a path without the prefix where a route says so", async () => {
    await plain("/strip/a?b");

    expect(web.app.seen.at(-1)?.line).toBe("GET /a?b");
  });

  it("is nothing that Connection could have had removed", async () => {
    await plain("/nominated", { connection: "x-forwarded-for, x-forwarded-proto" });

    expect(web.app.seen.at(-1)?.headers).toMatchObject({
      "x-forwarded-for": "127.0.0.1",
      "x-forwarded-proto": "http",
    });
  });
});

describe("a client from outside is answered, and told nothing else,", () => {
  it.each([
    ["421 for a host that is not served", { host: "web.shop.mesh" }, "/", 421],
    ["421 for a host of nobody", { host: "nobody.example" }, "/", 421],
    ["503 where nothing serves what the route names", {}, "/gone", 503],
  ])("%s", async (_, headers, path, status) => {
    const reply = await plain(path, headers);

    expect(reply).toMatchObject({ status, body: `{"status":${status}}\n` });
  });

  it("404 for a path that no route names", async () => {
    await change({ routes: [route("/only", "/shop/web")] });

    expect(await plain("/else")).toMatchObject({ status: 404, body: '{"status":404}\n' });
    await change({});
  });

  it("403 by the rules of the service, which knows the gateway as its caller", async () => {
    const { status, body } = await plain("/denied");

    expect(status).toBe(403);
    expect(body).toMatch(/^\{"status":403,"decisionId":"[0-9a-f]{24}"\}\n$/);
    await until(async () => (await api.audit()).some(({ type }) => type === "decision"));
    expect(await api.audit()).toContainEqual(
      expect.objectContaining({ effect: "deny", caller: "spiffe://test.example/edge/gateway" }),
    );
  });

  it("400 where a request could be read in two ways", async () => {
    const answer = await raw(
      "GET / HTTP/1.1\r\nHost: shop.example\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
    );

    expect(answer).toMatch(/^HTTP\/1\.1 400 [^]*\r\n\r\n\{"status":400\}\n$/);
  });
});

describe("an address from outside", () => {
  it("has so many requests under way at once, and gets 429 for more", async () => {
    const agent = new http.Agent({ maxSockets: 1, keepAlive: true });
    const session = http2.connect(`http://${gateway.addresses[1]}`);
    // The application does not hear of a request whose body has not ended.
    const open = Array.from({ length: 4 }, () => {
      const stream = session.request({ ":method": "POST", ":path": "/", ":authority": "shop.example" });
      stream.on("error", () => {});
      stream.write("begin");
      return stream;
    });
    await until(async () => (await plain("/", {}, agent)).status === 429, "429");
    for (const stream of open) stream.close();
    await until(async () => (await plain("/", {}, agent)).status === 200, "200 once they have ended");
    session.destroy();
    agent.destroy();
  });

  it("has so many connections, and no more are served", async () => {
    const sockets = Array.from({ length: 8 }, () => connect());
    await Promise.all(sockets.map((socket) => new Promise((resolve) => socket.once("connect", resolve))));
    await expect(plain("/")).rejects.toThrow(/socket hang up|ECONNRESET/);
    for (const socket of sockets) socket.destroy();
    await until(async () => (await plain("/").catch(() => undefined))?.status === 200, "a place again");
  });
});

it("ends the oldest of more than 512 handshakes of one address that stall, and goes on to serve", async () => {
  await change({ limits: { connectionsPerAddressMax: 2_000, requestsPerAddressMax: 4 } });
  const [host, port] = (gateway.addresses[0] ?? "").split(":");
  const stalled = Array.from({ length: 513 }, () => net.connect({ host, port: Number(port) }));
  const ended = new Promise<void>((resolve) => {
    for (const socket of stalled)
      socket
        .on("error", () => {})
        .resume()
        .once("close", () => resolve());
  });
  await ended;
  // Had they ended for their age, all would by then.
  await sleep(500);

  expect(stalled.filter(({ destroyed }) => destroyed).length).toBeLessThan(10);
  expect((await secure("/")).status).toBe(200);
  for (const socket of stalled) socket.destroy();
  await change({});
  await until(async () => (await secure("/").catch(() => undefined))?.status === 200, "room again");
});

describe("TLS at the edge", () => {
  it.each([
    ["the one for the host that a client names", "other.example", () => other],
    ["the first to a client that names another host", "nobody.example", () => shop],
    ["the first to a client that names none", undefined, () => shop],
  ])("shows, of several certificates, %s", async (_, servername, expected) => {
    const socket = await handshake(servername === undefined ? {} : { servername });

    expect(socket.getPeerCertificate().fingerprint256).toBe(expected().fingerprint256);
    socket.destroy();
  });

  it("is of version 1.2 or 1.3 with forward secrecy, and no other", async () => {
    const old = await handshake({ maxVersion: "TLSv1.2" });
    expect([old.getProtocol(), old.getCipher().name]).toEqual(["TLSv1.2", "ECDHE-ECDSA-AES128-GCM-SHA256"]);
    old.destroy();
    await expect(handshake({ maxVersion: "TLSv1.2", ciphers: "ECDHE-ECDSA-AES128-SHA256" })).rejects.toThrow(
      /alert/,
    );
    await expect(
      handshake({ minVersion: "TLSv1.1", maxVersion: "TLSv1.1", ciphers: "DEFAULT@SECLEVEL=0" }),
    ).rejects.toThrow(/alert/);
  });

  it("is not negotiated again on a client's wish", async () => {
    const socket = await handshake({ maxVersion: "TLSv1.2" });
    const refused = new Promise<Error | null>((resolve) => {
      socket.on("error", resolve);
      socket.renegotiate({}, resolve);
    });

    expect(await refused).toBeInstanceOf(Error);
    socket.destroy();
  });

  it("shows another certificate once it is given one, and keeps the connections there are", async () => {
    const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
    const before = await plain("/", {}, agent);
    const next = edgeCertificate("shop.example");
    const [first, second] = settings.listeners;
    if (first === undefined || second === undefined) throw new Error("no listeners");
    const changed = await change({ listeners: [{ ...first, certificates: [fileOf(next)] }, second] });
    const socket = await handshake({ servername: "shop.example" });

    expect(changed.ok).toBe(true);
    expect(socket.getPeerCertificate().fingerprint256).toBe(next.fingerprint256);
    expect((await plain("/", {}, agent)).status).toBe(before.status);
    socket.destroy();
    agent.destroy();
    await change({});
  });

  it("goes on with what it had where a port is another's", async () => {
    const taken = Number(web.sidecar.adminAddress.split(":")[1]);
    const changed = await gateway.use({
      ...settings,
      routes: [],
      listeners: [{ host: "127.0.0.1", port: taken, certificates: [] }],
    });

    expect(changed).toMatchObject({ ok: false, reason: "port-unusable" });
    expect(changed).toHaveProperty("detail", expect.stringMatching(/EADDRINUSE.*choose another address/));
    expect((await secure("/")).status).toBe(200);
  });

  it("goes on with what it had where a key is not that of its certificate", async () => {
    const [first, second] = settings.listeners;
    if (first === undefined || second === undefined) throw new Error("no listeners");
    const wrong = { ...fileOf(shop), keyPem: other.keyPem };
    const changed = await gateway.use({
      ...settings,
      routes: [],
      listeners: [{ ...first, certificates: [wrong] }, second],
    });

    expect(changed).toMatchObject({ ok: false, reason: "certificate-unusable" });
    expect((await secure("/")).status).toBe(200);
  });
});

describe("a change of the settings", () => {
  it("opens ports and closes others, whose requests end first", async () => {
    const [first] = settings.listeners;
    if (first === undefined) throw new Error("no listener");
    const [, address = ""] = gateway.addresses;
    let answer = (): void => {};
    const waiting = new Promise<void>((resolve) => {
      answer = resolve;
    });
    const slow = plainPost("/slow", waiting);
    await until(async () => (await openRequests()) > 0, "the request under way");
    const redirecting = { host: "127.0.0.1", port: 0, certificates: [], redirectToHttpsPort: 8443 };
    expect((await change({ listeners: [first, { ...redirecting, host: "localhost" }] })).ok).toBe(true);
    const moved = await ask(targetOf(gateway.addresses[1] ?? "", "/a?b", { host: "shop.example:80" }));

    expect([moved.status, moved.headers.location]).toEqual([308, "https://shop.example:8443/a?b"]);
    expect((await ask(targetOf(gateway.addresses[1] ?? "", "/", { host: "x.example" }))).status).toBe(421);
    answer();
    expect((await slow).status).toBe(200);
    await until(
      () =>
        ask(targetOf(address, "/")).then(
          () => false,
          () => true,
        ),
      "the old port is closed",
    );
    await change({});
  });
});

it("shows what it goes by, without a key", async () => {
  const { body } = await ask(targetOf(gateway.adminAddress, "/config", { host: "localhost" }));

  expect(JSON.parse(body)).toMatchObject({ kind: "GatewayConfig", service: "/edge/gateway" });
  expect(body).not.toMatch(/PRIVATE/);
  expect(JSON.parse(body)).toMatchObject({
    edges: [{ certificates: ["shop.example.pem", "shop.example.pem"] }, { certificates: [] }],
  });
});

function fileOf({ chainPem, keyPem }: EdgeCertificateForTests) {
  return { file: "shop.example.pem", chainPem, keyPem };
}

function route(pathPrefix: string, service: string): GatewayRoute {
  return { hosts: ["shop.example"], pathPrefix, service: serviceNameOf(service), isPrefixStripped: false };
}

function serviceNameOf(text: string): ServiceName {
  const name = parseServiceName(text);
  if (!name.ok) throw new Error(name.reason);
  return name.value;
}

/** Changes some settings, and, with none, takes all changes back. */
function change(changed: Partial<GatewaySettings>) {
  return gateway.use({ ...settings, ...changed });
}

function targetOf(address: string, path: string, headers: http.OutgoingHttpHeaders = {}, agent?: http.Agent) {
  const [host, port] = address.split(":");
  return {
    host,
    port,
    path,
    headers: { host: "shop.example", ...headers },
    agent: agent ?? (false as const),
  };
}

function plain(path: string, headers: http.OutgoingHttpHeaders = {}, agent?: http.Agent): Promise<Reply> {
  return ask(targetOf(gateway.addresses[1] ?? "", path, headers, agent));
}

/** A request whose body ends when `until` does. */
function plainPost(path: string, end: Promise<void>): Promise<{ readonly status: number }> {
  return new Promise((resolve, reject) => {
    const request = http.request(
      { ...targetOf(gateway.addresses[1] ?? "", path), method: "POST" },
      (response) => {
        response.resume();
        response.once("end", () => resolve({ status: response.statusCode ?? 0 }));
      },
    );
    request.on("error", reject);
    request.write("begin");
    void end.then(() => request.end());
  });
}

/** Requests that are under way on the gateway's connections to others. */
async function openRequests(): Promise<number> {
  const { body } = await ask(targetOf(gateway.adminAddress, "/config", { host: "localhost" }));
  const endpoints: Record<string, { openConnections: number }[]> = JSON.parse(body).endpoints;
  return endpoints["/shop/web"]?.[0]?.openConnections ?? 0;
}

async function secure(path: string, headers: http.OutgoingHttpHeaders = {}): Promise<Reply> {
  const socket = await handshake({ servername: "shop.example", ALPNProtocols: ["http/1.1"] });
  return ask({
    path,
    headers: { host: "shop.example", ...headers },
    createConnection: () => socket,
  });
}

function secureHttp2(path: string, headers: http.OutgoingHttpHeaders): Promise<{ readonly status: number }> {
  const options = { ca: [shop.chainPem], servername: "shop.example" };
  return overHttp2(http2.connect(`https://${gateway.addresses[0]}`, options), path, headers);
}

function plainHttp2(path: string, headers: http.OutgoingHttpHeaders): Promise<{ readonly status: number }> {
  return overHttp2(http2.connect(`http://${gateway.addresses[1]}`), path, headers);
}

async function overHttp2(
  session: http2.ClientHttp2Session,
  path: string,
  headers: http.OutgoingHttpHeaders,
): Promise<{ readonly status: number }> {
  const stream = session.request({ ":path": path, ":authority": "shop.example", ...headers });
  const status = await new Promise<number>((resolve, reject) => {
    stream.on("response", (head) => resolve(Number(head[":status"])));
    stream.on("error", reject);
  });
  stream.resume();
  session.close();
  return { status };
}

function handshake(options: tls.ConnectionOptions): Promise<tls.TLSSocket> {
  const [host, port] = (gateway.addresses[0] ?? "").split(":");
  return new Promise((resolve, reject) => {
    const socket = tls.connect({ host, port: Number(port), rejectUnauthorized: false, ...options });
    socket.once("secureConnect", () => resolve(socket));
    socket.once("error", reject);
  });
}

function connect(): net.Socket {
  const [host, port] = (gateway.addresses[1] ?? "").split(":");
  return net.connect({ host, port: Number(port) });
}

/** Sends bytes and reads to the end. */
async function raw(bytes: string): Promise<string> {
  const socket = connect();
  socket.write(bytes);
  let text = "";
  for await (const chunk of socket.setEncoding("latin1")) text += String(chunk);
  return text;
}

/** An application that answers a WebSocket with what it is sent. */
async function openChat(): Promise<PlainApp> {
  const app = await openHttp2App();
  const end = async (): Promise<void> => app[Symbol.asyncDispose]();
  return { port: app.port, seen: [], bytes: () => 0, kill: end, [Symbol.asyncDispose]: end };
}
