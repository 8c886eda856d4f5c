import http from "node:http";
import { join } from "node:path";
import { afterEach, expect, it } from "vitest";
import { openDeceitfulAgent } from "../../test/apparatus/deceitful-agent.ts";
import { MeshInProcess, until } from "../../test/apparatus/mesh-in-process.ts";
import { shiftedClock, stepClocks } from "../../test/apparatus/shifted-clock.ts";
import { TokenPeer } from "../../test/apparatus/token-peer.ts";
import type { Workload } from "../../test/apparatus/workload.ts";

const opened: AsyncDisposable[] = [];

afterEach(async () => {
  for (const one of opened.splice(0).reverse()) await one[Symbol.asyncDispose]();
});

async function foundMesh(mode = "granted"): Promise<MeshInProcess> {
  const mesh = await MeshInProcess.found();
  opened.push(mesh);
  await mesh.putService("/shop/front");
  await mesh.putService("/shop/ledger");
  await mesh.putRule("/shop/front", "/shop/ledger");
  await mesh.put("requesttoken.put", { to: "/*", mode });
  return mesh;
}

async function routed(front: Workload, ledger: Workload): Promise<void> {
  await until(async () => (await front.call(ledger.host)).status === 200, "a route");
}

const post = { method: "POST", body: "once" };

function outbound(of: Workload, outcome: string): Promise<number> {
  return of.metric("troth_proxy_request_tokens_total", { direction: "outbound", outcome });
}

it.each([
  ["the callee's", 60],
  ["the callee's", -60],
  ["the caller's", 60],
  ["the caller's", -60],
] as const)("loses no request when %s clock steps by %i s, nor lets a replay in", async (whose, seconds) => {
  const mesh = await foundMesh();
  const clocks = { "the caller's": shiftedClock(), "the callee's": shiftedClock() };
  const front = await mesh.open("/shop/front", { clock: clocks["the caller's"] });
  const ledger = await mesh.open("/shop/ledger", { clock: clocks["the callee's"] });
  await routed(front, ledger);
  await using peer = await TokenPeer.open(mesh, "/shop/front");
  await using connection = await peer.connect(ledger);
  const token = await connection.mint();
  expect((await connection.ask(token)).status).toBe(200);

  const clock = clocks[whose];
  for (const step of [seconds, -seconds]) {
    await stepClocks(clock, step);
    const before = ledger.app.seen.length;
    expect((await front.call(ledger.host, post)).status).toBe(200);
    expect(ledger.app.seen.length).toBe(before + 1);
    expect((await connection.ask(token)).status).not.toBe(200);
  }
});

it("asks for a grant once, and tries once more, where the callee's process is another than was said", async () => {
  const mesh = await foundMesh();
  const relay = await openDeceitfulAgent(join(mesh.folder, "relay.sock"), mesh.agentSocketPath, (update) => {
    const { content } = update;
    if (content.case !== "endpoints") return update;
    const endpoints = content.value.endpoints.map((one) => ({ ...one, tokenAudience: "0123456789abcdef" }));
    return { ...update, content: { case: "endpoints", value: { ...content.value, endpoints } } };
  });
  opened.push(relay);
  const ledger = await mesh.open("/shop/ledger");
  const front = await mesh.open("/shop/front", { agentSocketPath: relay.socketPath });
  await until(async () => (await front.call(ledger.host, post)).status === 200, "a route");
  const refused = await outbound(front, "request-token-invalid");

  expect((await front.call(ledger.host, post)).status).toBe(200);
  expect(refused).toBe(1);
  expect(await outbound(front, "request-token-invalid")).toBe(1);
});

it("tells the application why where a part of the body has gone with the refused token", async () => {
  const mesh = await foundMesh();
  const clock = shiftedClock();
  const front = await mesh.open("/shop/front");
  const ledger = await mesh.open("/shop/ledger", { clock });
  await routed(front, ledger);
  await stepClocks(clock, 60);

  const [host, port] = front.sidecar.outboundAddress.split(":");
  const reason = await new Promise<string>((resolve, reject) => {
    const request = http.request(
      { host, port, method: "POST", headers: { host: ledger.host } },
      (response) => {
        let text = "";
        response.on("data", (chunk: Buffer) => {
          text += chunk.toString();
        });
        response.on("end", () => resolve(/"reason":"([a-z-]+)"/.exec(text)?.[1] ?? `${response.statusCode}`));
      },
    );
    request.on("error", reject);
    request.write("a".repeat(100_000));
    setTimeout(() => request.end("b".repeat(100_000)), 50);
  });

  expect(reason).toBe("request-token-expired");
  expect((await front.call(ledger.host, post)).status).toBe(200);
});

it("has the issuer mint each token where the service wants that", async () => {
  const mesh = await foundMesh("per-request");
  const front = await mesh.open("/shop/front");
  const ledger = await mesh.open("/shop/ledger");
  await routed(front, ledger);
  const before = await outbound(front, "issued");

  expect((await front.call(ledger.host, post)).status).toBe(200);
  expect((await outbound(front, "issued")) - before).toBe(1);
  expect(await outbound(front, "minted")).toBe(0);
});

it("says that there is no request token where the issuer is away and nothing was granted before", async () => {
  const mesh = await foundMesh();
  await mesh.putService("/shop/new");
  const front = await mesh.open("/shop/front");
  const ledger = await mesh.open("/shop/ledger");
  await routed(front, ledger);
  const late = await mesh.open("/shop/late");
  await mesh.putRule("/shop/late", "/shop/ledger");
  await mesh.settled();
  await mesh.stopControlPlane();

  await until(
    async () => (await late.call(ledger.host)).reason === "request-token-unavailable",
    "the refusal",
  );
  const reply = await late.call(ledger.host);
  expect(reply).toMatchObject({ status: 503, reason: "request-token-unavailable" });
  // What was granted goes on.
  expect((await front.call(ledger.host)).status).toBe(200);
});

it("loses no request while a policy begins to ask for tokens, asks for more, and ends", async () => {
  const mesh = await foundMesh("off");
  const front = await mesh.open("/shop/front");
  const ledger = await mesh.open("/shop/ledger");
  await routed(front, ledger);
  const over = new AbortController();
  const failed: string[] = [];
  let asked = 0;
  const load = (async () => {
    while (!over.signal.aborted) {
      const { status, reason } = await front.call(ledger.host, post);
      asked += 1;
      if (status !== 200) failed.push(`${status} ${reason}`);
    }
  })();
  for (const mode of ["granted", "per-request", "granted", "off"]) {
    await mesh.put("requesttoken.put", { to: "/shop/ledger", mode });
    await mesh.settled();
    const reached = asked + 5;
    await until(() => asked >= reached, "more requests");
  }
  over.abort();
  await load;

  expect(failed).toEqual([]);
});

it("lets nothing in again that was shown while no token was asked for, and loses no request over it", async () => {
  const mesh = await foundMesh();
  const front = await mesh.open("/shop/front");
  const ledger = await mesh.open("/shop/ledger");
  await routed(front, ledger);
  await using peer = await TokenPeer.open(mesh, "/shop/front");
  await using connection = await peer.connect(ledger);
  const token = await connection.mint();
  await mesh.put("requesttoken.put", { to: "/shop/ledger", mode: "off" });
  await mesh.settled();
  expect((await connection.ask(token)).status).toBe(200);

  await mesh.put("requesttoken.put", { to: "/shop/ledger", mode: "granted" });
  await mesh.settled();

  expect(await connection.ask(token)).toMatchObject({ status: 400, reason: "request-token-expired" });
  expect((await front.call(ledger.host, post)).status).toBe(200);
  expect((await connection.ask(await connection.mint())).status).toBe(200);
});
