import http from "node:http";
import net from "node:net";
import { afterAll, beforeAll, expect, it } from "vitest";
import { type Disk, heldJournal } from "../../test/apparatus/held-journal.ts";
import { MeshInProcess, until } from "../../test/apparatus/mesh-in-process.ts";
import type { Workload } from "../../test/apparatus/workload.ts";

let mesh: MeshInProcess;
let front: Workload;
let ledger: Workload;
/** Lets the ledger's audit log write, unless a test holds it back or breaks it. */
const disk: Disk = { gate: Promise.resolve(), isFull: false };

beforeAll(async () => {
  mesh = await MeshInProcess.found();
  [front, ledger] = await Promise.all([
    mesh.open("/shop/front"),
    mesh.open("/shop/ledger", { journal: heldJournal(disk) }),
  ]);
  await until(async () => (await front.call(ledger.host)).reason !== "no-instances", "a route");
});
afterAll(() => mesh[Symbol.asyncDispose]());

it("denies what no rule allows, says why, and has it on disk before the answer leaves", async () => {
  let open = (): void => {};
  disk.gate = new Promise((resolve) => {
    open = resolve;
  });
  let hasAnswered = false;
  const seenBefore = ledger.app.seen.length;
  const calling = front.call(ledger.host, { path: "/held" }).then((reply) => {
    hasAnswered = true;
    return reply;
  });
  await new Promise((resolve) => setTimeout(resolve, 200));
  const hadAnsweredWithoutRecord = hasAnswered;
  open();
  const reply = await calling;

  expect(hadAnsweredWithoutRecord).toBe(false);
  expect(reply).toMatchObject({ status: 403, reason: "no-rule" });
  expect(await ledger.audit()).toContainEqual(
    expect.objectContaining({
      type: "decision",
      effect: "deny",
      reason: "no-rule",
      caller: "spiffe://test.example/shop/front",
      callee: "/shop/ledger",
      method: "GET",
      path: "/held",
    }),
  );
  expect(ledger.app.seen.length).toBe(seenBefore);
});

it("tells a caller of this trust domain the rule, what is missing, and the number of the record on disk", async () => {
  const documentOf = async (path: string): Promise<Record<string, unknown>> =>
    JSON.parse((await front.call(ledger.host, { path })).body);

  const unnamed = await documentOf("/why");
  await mesh.putRule("/shop/front", "/shop/ledger", { effect: "deny" });
  await mesh.settled();
  const named = await documentOf("/why-now");
  await mesh.put("rule.remove", { from: "/shop/front", to: "/shop/ledger" });
  await mesh.settled();

  expect(unnamed).toEqual({
    type: "urn:troth:problem:no-rule",
    title: "Forbidden",
    status: 403,
    detail: expect.stringContaining("troth allow /shop/front /shop/ledger"),
    reason: "no-rule",
    decisionId: expect.stringMatching(/^[0-9a-f]{24}$/),
    missing: "a rule that allows /shop/front to call /shop/ledger with GET /why",
  });
  expect(named).toMatchObject({ reason: "rule-denies", rule: "/shop/front /shop/ledger" });
  const records = (await ledger.audit()).filter(({ path }) => path === "/why" || path === "/why-now");
  expect(records.map(({ decisionId }) => decisionId)).toEqual([unnamed["decisionId"], named["decisionId"]]);
});

it("gives no answer but 503 to what it cannot record", async () => {
  disk.isFull = true;
  disk.gate = new Promise((resolve) => setTimeout(resolve, 200));
  const seenBefore = ledger.app.seen.length;
  const ask = () => front.call(ledger.host, { path: "/unrecorded" });

  const replies = await Promise.all([ask(), ask()]);
  replies.push(await ask());
  disk.isFull = false;

  expect(replies.map(({ status, reason }) => `${status} ${reason}`)).toEqual(
    replies.map(() => "503 audit-unavailable"),
  );
  expect(await ask()).toMatchObject({ status: 403, reason: "no-rule" });
  expect(ledger.app.seen.length).toBe(seenBefore);
});

it("takes up new rules on connections that are open, a deny above every allow", async () => {
  const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
  const statuses: number[] = [];
  const call = async (): Promise<void> => {
    statuses.push((await front.call(ledger.host, { path: "/accounts", agent })).status);
  };
  await call();
  await mesh.putRule("/shop/*", "/shop/ledger");
  await mesh.settled();
  await call();
  await call();
  await mesh.putRule("/shop/front", "/shop/ledger", { effect: "deny" });
  await mesh.settled();
  await call();
  await mesh.put("rule.remove", { from: "/shop/front", to: "/shop/ledger" });
  await mesh.settled();
  await call();
  await mesh.put("rule.remove", { from: "/shop/*", to: "/shop/ledger" });
  await mesh.settled();
  await call();
  agent.destroy();

  expect(statuses).toEqual([403, 200, 200, 403, 200, 403]);
});

it("records one decision for many requests of a kind, and another when the log has changed", async () => {
  await mesh.putRule("/shop/front", "/shop/ledger");
  await mesh.settled();
  const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
  const decisions = async (): Promise<number> =>
    (await ledger.audit()).filter((record) => record["path"] === "/often").length;

  for (let call = 0; call < 5; call += 1) await front.call(ledger.host, { path: "/often", agent });
  await until(async () => (await decisions()) > 0);
  const atOneSize = await decisions();
  await mesh.putRule("/shop/other", "/shop/ledger");
  await mesh.settled();
  await front.call(ledger.host, { path: "/often", agent });
  await until(async () => (await decisions()) > atOneSize);
  agent.destroy();

  // An epoch may have come between.
  expect(atOneSize).toBeLessThan(3);
});

it("decides by method and path", async () => {
  await mesh.putRule("/shop/front", "/shop/ledger", { methods: ["GET"], paths: ["/cards"] });
  await mesh.settled();
  const statusOf = async (method: string, path: string): Promise<number> =>
    (await front.call(ledger.host, { method, path })).status;

  expect(await statusOf("GET", "/cards")).toBe(200);
  expect(await statusOf("GET", "/cards/1?x=/")).toBe(200);
  expect(await statusOf("POST", "/cards")).toBe(403);
  expect(await statusOf("GET", "/cardsharp")).toBe(403);
  expect(await statusOf("GET", "/")).toBe(403);
});

const spellings: readonly (readonly [sent: string, decided: string, isAllowed: boolean])[] = [
  ["/open/../secret", "/secret", false],
  ["/open/%2e%2e/secret", "/secret", false],
  ["/open/.%2E/secret", "/secret", false],
  ["//secret", "/secret", false],
  ["/open//x", "/open/x", true],
  ["/secret/../open/x", "/open/x", true],
  ["/%6fpen/x", "/open/x", true],
  ["/./open/./x", "/open/x", true],
];

for (const [sent, decided, isAllowed] of spellings)
  it(`decides on ${sent} as ${decided}, and the application gets no other spelling`, async () => {
    await mesh.putRule("/shop/front", "/shop/ledger", { paths: ["/open"] });
    await mesh.settled();
    const seenBefore = ledger.app.seen.length;

    const answer = await raw(front.sidecar.outboundAddress, sent, ledger.host);

    expect(answer).toContain(isAllowed ? "HTTP/1.1 200" : "HTTP/1.1 403");
    expect(ledger.app.seen.slice(seenBefore).map(({ line }) => line)).toEqual(
      isAllowed ? [`GET ${decided}`] : [],
    );
  });

it("counts what it denied as denied and not as forwarded", async () => {
  const counts = async (): Promise<number[]> => [
    await ledger.metric("troth_proxy_requests_total", { direction: "inbound", outcome: "ok" }),
    await ledger.metric("troth_proxy_requests_total", { direction: "inbound", outcome: "denied" }),
    await ledger.metric("troth_proxy_denied_requests_total", { reason: "no-rule" }),
  ];
  const [forwarded = 0, denied = 0, noRule = 0] = await counts();

  await front.call(ledger.host, { path: "/denied" });

  expect(await counts()).toEqual([forwarded, denied + 1, noRule + 1]);
});

it("does not keep the decisions on long paths, which a peer could fill its memory with", async () => {
  const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
  const path = `/denied/${"x".repeat(600)}`;
  const recorded = async (): Promise<number> =>
    (await ledger.audit()).filter((record) => String(record["path"]).startsWith("/denied/xxx")).length;

  for (let call = 0; call < 3; call += 1) await front.call(ledger.host, { path, agent });
  agent.destroy();

  expect(await recorded()).toBe(3);
});

it("says who called in x-forwarded-client-cert, whatever the caller says", async () => {
  await mesh.putRule("/shop/front", "/shop/ledger");
  await mesh.settled();
  const forged = {
    "x-forwarded-client-cert": "URI=spiffe://test.example/shop/admin",
    "troth-caller": "/shop/admin",
  };

  await front.call(ledger.host, { path: "/who", headers: forged });

  const headers = ledger.app.seen.at(-1)?.headers;
  expect(headers?.["x-forwarded-client-cert"]).toMatch(
    /^Hash=[0-9a-f]{64};URI=spiffe:\/\/test\.example\/shop\/front$/,
  );
  expect(Object.keys(headers ?? {}).filter((name) => name.startsWith("troth-"))).toEqual([]);
});

it("says why a request goes nowhere", async () => {
  await mesh.putService("/shop/asleep");
  await mesh.settled();

  expect(await front.call("example.com")).toMatchObject({ status: 404, reason: "not-a-mesh-name" });
  expect(await front.call("nobody.shop.mesh")).toMatchObject({ status: 404, reason: "unknown-service" });
  expect(await front.call("asleep.shop.mesh")).toMatchObject({ status: 503, reason: "no-instances" });
  const outcome = { direction: "outbound", outcome: "no-instances" };
  expect(await front.metric("troth_proxy_requests_total", outcome)).toBeGreaterThan(0);
});

it("shows its metrics to nobody who came by another name than loopback's", async () => {
  const [host, port] = ledger.sidecar.adminAddress.split(":");
  const statusOf = (name: string): Promise<number> =>
    new Promise((resolve, reject) => {
      const request = http.get({ host, port, path: "/metrics", headers: { host: name } }, (response) => {
        response.resume();
        resolve(response.statusCode ?? 0);
      });
      request.on("error", reject);
    });

  expect(await statusOf("attacker.example")).toBe(421);
  expect(await statusOf(`localhost:${port}`)).toBe(200);
});

/** One request as it stands, which no client library would send. */
function raw(address: string, target: string, host: string): Promise<string> {
  const [to, port] = address.split(":");
  return new Promise((resolve, reject) => {
    let answer = "";
    const socket = net.connect({ host: to, port: Number(port) });
    socket.write(`GET ${target} HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`);
    socket.on("data", (chunk) => {
      answer += String(chunk);
    });
    socket.on("error", reject);
    socket.on("close", () => resolve(answer));
  });
}
