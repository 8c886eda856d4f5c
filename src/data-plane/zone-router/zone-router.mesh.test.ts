import { randomBytes } from "node:crypto";
import { once } from "node:events";
import https from "node:https";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import {
  logPapers,
  makePapers,
  meet,
  metadataExtension,
  type Papers,
} from "../../../test/apparatus/hostile-peer.ts";
import { askAsPeer } from "../../../test/apparatus/http2-peer.ts";
import { endpointOf, endpointsOf } from "../../../test/apparatus/known-endpoints.ts";
import { MeshInProcess, until } from "../../../test/apparatus/mesh-in-process.ts";
import { openPlainApp, type PlainApp } from "../../../test/apparatus/plain-app.ts";
import { shiftedClock } from "../../../test/apparatus/shifted-clock.ts";
import { connectTo, openTcpApp } from "../../../test/apparatus/tcp-app.ts";
import type { Reply, Workload } from "../../../test/apparatus/workload.ts";
import { openRouterIn, type RouterInProcess } from "../../../test/apparatus/zone-routers.ts";
import { openByUpgrade, openHttp1App } from "../../../test/fuzz/web-socket-ends.ts";
import { freePort } from "../../cli/free-port.ts";
import { type ExportedCredentials, openExport } from "../open-export.ts";
import { defaultRouterLimits } from "./index.ts";

let mesh: MeshInProcess;
/** The agents of nodes in the zones west (one of which moves) and north; the first node is in the east. */
let west: string;
let otherWest: string;
let north: string;
let router: RouterInProcess;
let web: Workload;
let pay: Workload;
let chat: Workload;
let db: Workload;
let far: Workload;
let farther: Workload;

beforeAll(async () => {
  mesh = await MeshInProcess.found();
  [west, otherWest] = [await mesh.joinNode("west-1"), await mesh.joinNode("west-2")];
  north = await mesh.joinNode("north-1");
  await mesh.put("node.zone", { node: "here", zone: "east" });
  await mesh.put("node.zone", { node: "west-1", zone: "west" });
  await mesh.put("node.zone", { node: "north-1", zone: "north" });
  router = await openRouterIn(mesh, "/mesh/west", { agentSocketPath: west });
  const echo = await openHttp1App();
  const asPlain = { ...(await openPlainApp()), port: echo.port };
  await mesh.putService("/shop/db");
  await mesh.putTcp("/shop/db");
  [web, pay, chat, db, far, farther] = await Promise.all([
    mesh.open("/shop/web", { tcp: ["/shop/db"] }),
    mesh.open("/shop/pay", { agentSocketPath: west }),
    mesh.open("/shop/chat", { agentSocketPath: west, app: asPlain }),
    mesh.open("/shop/db", {
      agentSocketPath: west,
      app: await openTcpApp(({ socket }) => socket.pipe(socket)),
    }),
    mesh.open("/shop/far", { agentSocketPath: north }),
    mesh.open("/shop/farther", { agentSocketPath: north }),
  ]);
  for (const to of ["/shop/pay", "/shop/chat", "/shop/db", "/shop/far", "/shop/farther"])
    await mesh.putRule("/shop/web", to);
  await mesh.settled();
  await until(async () => (await web.call(pay.host)).status === 200, "a route");
}, 30_000);
afterAll(async () => {
  await router[Symbol.asyncDispose]();
  await mesh[Symbol.asyncDispose]();
});

/** A good certificate of a workload's instance, for whoever is to speak past its sidecar. */
async function papersOf({ service, instance }: Workload): Promise<Papers> {
  const papers = makePapers(mesh.intermediate, [`spiffe://${mesh.trustDomain}${service}`], {
    extensions: (usual) => [...usual, metadataExtension(instance, service)],
  });
  await logPapers(mesh, papers, { service, instance });
  await mesh.settled();
  return papers;
}

const connectTunnel = (authority: string): Record<string, string> => ({
  ":method": "CONNECT",
  ":authority": authority,
});

it("carries requests to an instance in its zone; those to zones without a router go as before", async () => {
  const replies = [await web.call(pay.host), await web.call(far.host)];

  expect(replies.map(({ status, body }) => [status, body])).toEqual([
    [200, "app"],
    [200, "app"],
  ]);
  expect((await endpointOf(web, pay)).via).toBe(`/mesh/west ${router.instance}`);
  expect((await endpointOf(web, far)).via).toBe("");
});

it("is not asked by a caller in its own zone", async () => {
  await using near = await mesh.open("/shop/near", { agentSocketPath: west });
  await mesh.putRule("/shop/near", "/shop/pay");
  await until(async () => (await near.call(pay.host)).status === 200, "a route");

  expect((await endpointOf(near, pay)).via).toBe("");
});

it("carries a WebSocket", async () => {
  await until(async () => (await endpointOf(web, chat)).zone === "west", "a route");
  using client = await openByUpgrade(
    Number(web.sidecar.outboundAddress.split(":")[1]),
    "early ",
    [],
    chat.host,
  );
  client.send(Buffer.from("late"));
  await until(() => client.received() === "early late", "the echo");

  expect((await endpointOf(web, chat)).via).toBe(`/mesh/west ${router.instance}`);
});

it("carries a TCP connection, megabytes of it, and the end of each direction", async () => {
  const sent = randomBytes(8 * 1024 * 1024);
  const near = await connectTo(web.sidecar.tcpAddresses[0] ?? "");
  near.socket.end(sent);
  await until(() => near.closed !== undefined, "the end");

  expect([near.closed, near.bytes.equals(sent)]).toEqual(["ended", true]);
  expect((await endpointOf(web, db)).via).toBe(`/mesh/west ${router.instance}`);
});

it("carries requests to a proxy that speaks HTTP/1.1 alone", async () => {
  await mesh.putService("/shop/old");
  await mesh.putRule("/shop/web", "/shop/old");
  const port = await freePort();
  const saved = Promise.withResolvers<ExportedCredentials>();
  await using _identity = await openExport({
    ...mesh.proxyOptions("/shop/old", { agentSocketPath: west }),
    peer: { host: "127.0.0.1", port },
    save: (credentials) => Promise.resolve(saved.resolve(credentials)),
  });
  const { chainPem: cert, privateKeyPem: key } = await saved.promise;
  const server = https.createServer(
    { cert, key, requestCert: true, rejectUnauthorized: false, minVersion: "TLSv1.3" },
    (request, response) => request.pipe(response),
  );
  server.listen(port, "127.0.0.1");
  const ask = (): Promise<Reply> => web.call("old.shop.mesh", { method: "POST", body: "over HTTP/1.1" });
  await until(async () => (await ask()).body === "over HTTP/1.1", "an answer");
  const [endpoint] = await endpointsOf(web, "/shop/old");
  server.close();
  server.closeAllConnections();

  expect(endpoint?.via).toBe(`/mesh/west ${router.instance}`);
});

it("holds back a caller whose destination takes nothing", async () => {
  await using stalling = await mesh.open("/shop/stalling", {
    agentSocketPath: west,
    app: await openTcpApp(({ socket }) => socket.pause()),
  });
  await mesh.putTcp(stalling.service);
  await mesh.putRule("/shop/eager", stalling.service);
  await using eager = await mesh.open("/shop/eager", { tcp: [stalling.service] });
  await mesh.settled();
  await until(async () => (await endpointOf(eager, stalling)).zone === "west", "a route");
  const near = await connectTo(eager.sidecar.tcpAddresses[0] ?? "");
  const chunk = Buffer.alloc(64 * 1024);
  let written = 0;
  const push = (): void => {
    while (written < 256 * 1024 * 1024) {
      written += chunk.length;
      if (!near.socket.write(chunk)) return;
    }
  };
  near.socket.on("drain", push);
  push();
  let before = -1;
  await until(async () => {
    const isStill = near.socket.bytesWritten === before && before > 0;
    before = near.socket.bytesWritten;
    await sleep(300);
    return isStill;
  }, "a standstill");
  near.socket.destroy();

  expect((await endpointOf(eager, stalling)).via).toContain("/mesh/west");
  expect(before).toBeLessThan(64 * 1024 * 1024);
});

describe("refuses", () => {
  let papers: Papers;
  let stranger: Workload;
  let strangerPapers: Papers;
  let plain: PlainApp;
  const liars: AsyncDisposable[] = [];

  beforeAll(async () => {
    papers = await papersOf(web);
    stranger = await mesh.open("/shop/stranger");
    strangerPapers = await papersOf(stranger);
    plain = await openPlainApp();
    const lie = async (service: string, address: string): Promise<void> => {
      await mesh.putService(service);
      await mesh.putRule("/shop/web", service);
      const [host = "", port = ""] = address.split(":");
      liars.push(
        await openExport({
          ...mesh.proxyOptions(service, { agentSocketPath: west }),
          peer: { host, port: Number(port) },
          save: () => Promise.resolve(),
        }),
      );
    };
    // Members of its zone that say of others' addresses that they are theirs.
    await lie("/evil/plain", `127.0.0.1:${plain.port}`);
    await lie("/evil/twin", far.sidecar.inboundAddress);
    const isListed = async (service: string): Promise<boolean> =>
      (await endpointsOf(web, service)).length > 0;
    await until(async () => (await isListed("/evil/plain")) && (await isListed("/evil/twin")), "the lies");
  }, 30_000);
  afterAll(async () => {
    for (const one of liars) await one[Symbol.asyncDispose]();
    await plain[Symbol.asyncDispose]();
  });

  it.each([
    ["an address that is no endpoint", "not-an-endpoint", 403, () => `127.0.0.1:${pay.app.port}`],
    ["its own admin listener", "not-an-endpoint", 403, () => router.router.adminAddress],
    ["itself, or another router", "not-an-endpoint", 403, () => router.router.address],
    ["an endpoint in a zone that is not its own", "other-zone", 403, () => farther.sidecar.inboundAddress],
    [
      "an address in another zone that a member of its zone has given as its own",
      "other-instance",
      403,
      () => far.sidecar.inboundAddress,
    ],
    [
      "a listener of something else that a member has given as its own",
      "upstream-connect-failed",
      502,
      () => `127.0.0.1:${plain.port}`,
    ],
  ])("%s: %s", async (_, reason, status, address) => {
    const bytes = [plain.bytes(), pay.app.bytes()];
    await using asked = await askAsPeer(router.router.address, papers, connectTunnel(address()));

    expect([asked.status, asked.reason()]).toEqual([status, reason]);
    expect(await router.audit()).toContainEqual(
      expect.objectContaining({
        type: "decision",
        effect: "deny",
        reason,
        method: "CONNECT",
        path: address(),
        caller: "spiffe://test.example/shop/web",
      }),
    );
    expect(pay.app.bytes()).toBe(bytes[1]);
    // The router's own handshake was all that came there, and no request.
    expect(plain.seen).toEqual([]);
  });

  it("a caller of which no rule says that it may call the service at all: no-rule", async () => {
    const address = pay.sidecar.inboundAddress;
    await using asked = await askAsPeer(router.router.address, strangerPapers, connectTunnel(address));

    expect([asked.status, asked.reason()]).toEqual([403, "no-rule"]);
    expect(asked.text()).toContain("troth allow /shop/stranger /shop/pay");
  });

  it("a caller that a rule denies everything: rule-denies", async () => {
    await mesh.putRule("/shop/stranger", "/shop/pay");
    await mesh.putRule("/shop/stranger", "/shop/*", { effect: "deny" });
    await mesh.settled();
    const address = pay.sidecar.inboundAddress;
    await using asked = await askAsPeer(router.router.address, strangerPapers, connectTunnel(address));
    await mesh.put("rule.remove", { from: "/shop/stranger", to: "/shop/*" });

    expect([asked.status, asked.reason()]).toEqual([403, "rule-denies"]);
  });

  it("a request, whatever its method: not-a-tunnel", async () => {
    await using asked = await askAsPeer(router.router.address, papers, { ":method": "GET", ":path": "/" });

    expect([asked.status, asked.reason()]).toEqual([421, "not-a-tunnel"]);
  });

  it("to be called as a service", async () => {
    await mesh.putRule("/shop/web", "/mesh/west");
    await mesh.settled();

    const reply = await web.call("west.mesh.mesh");

    expect([reply.status, reply.reason]).toEqual([503, "no-instances"]);
  });

  it("whoever has no certificate of the mesh", async () => {
    const { answer } = await meet(router.router.address, {}, "CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n");

    expect(answer).toBe("");
  });
});

describe("cuts what it carries", () => {
  it.each([
    [
      "when no rule allows the caller any more",
      "no-rule",
      () => mesh.put("rule.remove", { from: "/shop/held", to: "/shop/pay" }),
    ],
    [
      "when a rule denies it",
      "rule-denies",
      () => mesh.putRule("/shop/held", "/shop/pay", { effect: "deny" }),
    ],
    [
      "when its destination is removed from the log",
      "not-an-endpoint",
      async (to: Workload) => {
        const body = { instance: to.instance };
        await mesh.controlPlane.writer.write([{ role: "issuer", kind: "instance.remove", body }]);
      },
    ],
    [
      "when its destination is in another zone",
      "other-zone",
      () => mesh.put("node.zone", { node: "west-2", zone: "north" }),
    ],
  ])("%s: %s", async (_, reason, change) => {
    await using caller = await mesh.open("/shop/held");
    await mesh.put("node.zone", { node: "west-2", zone: "west" });
    await using callee = await mesh.open("/shop/pay", { agentSocketPath: otherWest });
    await mesh.putRule("/shop/held", "/shop/pay");
    const papers = await papersOf(caller);
    const headers = connectTunnel(callee.sidecar.inboundAddress);
    await until(async () => {
      await using asked = await askAsPeer(router.router.address, papers, headers);
      return asked.status === 200;
    }, "the route");
    await using held = await askAsPeer(router.router.address, papers, headers);
    expect(held.isOver()).toBe(false);

    const denials = async (): Promise<number> =>
      (await router.audit()).filter((one) => one["reason"] === reason && one["callee"] === "/shop/pay")
        .length;
    const before = await denials();

    await change(callee);
    await until(() => held.isOver(), "the end of the tunnel");
    await until(async () => (await denials()) > before, "the record");
  });

  it("when its caller is removed from the log", async () => {
    await using caller = await mesh.open("/shop/leaving");
    await mesh.putRule("/shop/leaving", "/shop/pay");
    const papers = await papersOf(caller);
    const headers = connectTunnel(pay.sidecar.inboundAddress);
    await until(async () => {
      await using asked = await askAsPeer(router.router.address, papers, headers);
      return asked.status === 200;
    }, "the route");
    await using held = await askAsPeer(router.router.address, papers, headers);

    const body = { instance: caller.instance };
    await mesh.controlPlane.writer.write([{ role: "issuer", kind: "instance.remove", body }]);
    await until(() => held.isOver(), "the end of the tunnel");
  });
});

it("carries no more tunnels of an instance than it may", async () => {
  const limits = { ...defaultRouterLimits, tunnelsPerInstanceMax: 1 };
  await using narrow = await openRouterIn(mesh, "/mesh/narrow", { agentSocketPath: west, limits });
  const papers = await papersOf(web);
  const headers = connectTunnel(pay.sidecar.inboundAddress);
  await until(async () => {
    await using asked = await askAsPeer(narrow.router.address, papers, headers);
    return asked.status === 200;
  }, "the first");
  await using held = await askAsPeer(narrow.router.address, papers, headers);
  await using second = await askAsPeer(narrow.router.address, papers, headers);

  expect([held.status, second.status, second.reason()]).toEqual([200, 503, "too-many-tcp-connections"]);
});

it("carries nothing more under a stale view of its own: view-stale", async () => {
  const clock = shiftedClock();
  await using alone = await openRouterIn(mesh, "/mesh/alone", { agentSocketPath: west, clock });
  const papers = await papersOf(web);
  const headers = connectTunnel(pay.sidecar.inboundAddress);
  await until(async () => {
    await using asked = await askAsPeer(alone.router.address, papers, headers);
    return asked.status === 200;
  }, "the route");
  await using held = await askAsPeer(alone.router.address, papers, headers);

  clock.shiftMonotonic(25 * 60 * 60);
  const stream = held.request(headers);
  const [answer]: Record<string, unknown>[] = await once(stream, "response");
  await until(() => held.isOver(), "the end of what it carried");

  expect(answer?.[":status"]).toBe(503);
  expect(await alone.audit()).toContainEqual(
    expect.objectContaining({ reason: "view-stale", method: "CONNECT" }),
  );
});
