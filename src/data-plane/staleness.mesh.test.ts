import http from "node:http";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, expect, it } from "vitest";
import { MeshInProcess, until } from "../../test/apparatus/mesh-in-process.ts";
import { shiftedClock } from "../../test/apparatus/shifted-clock.ts";
import type { Workload } from "../../test/apparatus/workload.ts";

/** What time passes for the ledger's proxy passes for the control plane too, or its epochs would come late. */
const controlPlaneClock = shiftedClock();
let mesh: MeshInProcess;
let front: Workload;
let ledger: Workload;
const minute = 60;

beforeAll(async () => {
  mesh = await MeshInProcess.found({ clock: controlPlaneClock });
  await mesh.putService("/shop/ledger", "restricted");
  [front, ledger] = await Promise.all([mesh.open("/shop/front"), mesh.open("/shop/ledger")]);
  await mesh.putRule("/shop/front", "/shop/ledger");
  await until(async () => (await front.call(ledger.host)).status === 200, "a route");
});
afterAll(() => mesh[Symbol.asyncDispose]());

it("goes on without a control plane, then only reads, then refuses, then goes on with the next epoch", async () => {
  const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
  const get = () => front.call(ledger.host, { agent });
  const post = () => front.call(ledger.host, { agent, method: "POST", body: "x" });
  const upgrade = () => {
    const socket = { connection: "Upgrade", upgrade: "websocket", "sec-websocket-version": "13" };
    const headers = { ...socket, "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==" };
    return front.call(ledger.host, { headers });
  };
  await mesh.stopControlPlane();

  const fresh = [await get(), await post()];
  ledger.clock.shiftMonotonic(minute + 1);
  const degraded = [await get(), await post()];
  // What goes through it may do anything, so it is no mere reading.
  const webSocket = await upgrade();
  const stalenessWhileDegraded = await ledger.metric("troth_proxy_view_staleness_seconds");
  ledger.clock.shiftMonotonic(14 * minute);
  // The pause lets idle connections end, which the leap of the clock has made due.
  await sleep(600);
  const stale = [await get(), await post()];
  const stalenessWhileStale = await ledger.metric("troth_proxy_view_staleness_seconds");
  const refused = await ledger.metric("troth_proxy_refused_connections_total", { reason: "view-stale" });
  controlPlaneClock.shiftWall(15 * minute + 1);
  await mesh.startControlPlane();
  await until(async () => (await ledger.metric("troth_proxy_view_staleness_seconds")) < 30, "an epoch");
  await until(async () => (await get()).status === 200, "an answer");
  const again = [await get(), await post()];
  agent.destroy();

  expect(fresh.map(({ status }) => status)).toEqual([200, 200]);
  expect(degraded.map(({ status, reason }) => `${status} ${reason}`)).toEqual(["200 ", "503 view-degraded"]);
  expect(webSocket.reason).toBe("view-degraded");
  expect(stale.map(({ status }) => status >= 500)).toEqual([true, true]);
  expect(refused).toBeGreaterThan(0);
  expect(again.map(({ status }) => status)).toEqual([200, 200]);
  expect(stalenessWhileDegraded).toBeGreaterThan(minute);
  expect(stalenessWhileStale).toBeGreaterThan(15 * minute);
});

it("has its refusals for staleness on disk", async () => {
  const records = await ledger.audit();

  expect(records).toContainEqual(
    expect.objectContaining({
      effect: "deny",
      reason: "view-degraded",
      method: "POST",
      freshness: "degraded",
    }),
  );
});

it("sends nothing under a stale view of its own", async () => {
  await mesh.stopControlPlane();
  front.clock.shiftMonotonic(24 * 60 * minute + 1);
  const seenBefore = ledger.app.seen.length;

  const reply = await front.call(ledger.host, { path: "/under-a-stale-view" });

  expect(reply).toMatchObject({ status: 503, reason: "view-stale" });
  expect(ledger.app.seen.length).toBe(seenBefore);
});
