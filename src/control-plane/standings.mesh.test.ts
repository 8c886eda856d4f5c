import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, expect, test } from "vitest";
import { MeshInProcess, until } from "../../test/apparatus/mesh-in-process.ts";
import { openPlainApp } from "../../test/apparatus/plain-app.ts";
import type { Workload } from "../../test/apparatus/workload.ts";
import { standingThresholds } from "./decide-standings.ts";

const count = 3;
let folder: string;
let mesh: MeshInProcess;
let caller: Workload;
let pays: readonly Workload[];
let failing: number | undefined;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "troth-feed-"));
  mesh = await MeshInProcess.found({
    vulnerabilityFeed: join(folder, "feed.json"),
    standingThresholds: {
      ...standingThresholds,
      callerRequestsMin: 5,
      failingDegradeSeconds: 0,
      brokenQuarantineSeconds: 1,
      restoreSeconds: 1,
      releaseSeconds: 1,
      serviceSecondsMin: 0,
    },
  });
  caller = await mesh.open("/shop/web");
  pays = await Promise.all(
    Array.from({ length: count }, async (_, place) =>
      mesh.open("/shop/pay", {
        app: await openPlainApp({
          answer: (_request, response) => void response.writeHead(failing === place ? 500 : 200).end(),
        }),
      }),
    ),
  );
  await mesh.putRule("/*", "/*");
  await mesh.settled();
  await until(async () => (await caller.call("pay.shop.mesh")).status === 200, "a route");
}, 30_000);
afterAll(async () => {
  await mesh[Symbol.asyncDispose]();
  await rm(folder, { recursive: true, force: true });
});

function standingOf(place: number): string {
  const { standings } = mesh.controlPlane.writer.state;
  const row = standings.get(pays[place]?.instance ?? "");
  return row === undefined ? "serving" : `${row.state} ${row.reason} by ${row.liftedBy}`;
}

test("an instance that fails its callers is cut off by decision, and is back once it has been well", {
  timeout: 60_000,
}, async () => {
  failing = 1;

  await until(async () => {
    for (let call = 0; call < 30; call += 1) await caller.call("pay.shop.mesh");
    return standingOf(1) === "quarantined failing by control-plane";
  }, "it is in quarantine");
  const others = [standingOf(0), standingOf(2)];
  failing = undefined;
  // What its callers saw of it counts for ten seconds more.
  while (standingOf(1) !== "serving") await sleep(50);

  expect(others).toEqual(["serving", "serving"]);
});

test("says what it would have decided, and has not, so that a feed empties no service", {
  timeout: 30_000,
}, async () => {
  const vulnerabilities = [{ id: "CVE-2026-1", cvss: 10, service: "/shop/pay" }];
  await writeFile(join(folder, "feed.json"), JSON.stringify({ kind: "VulnerabilityFeed", vulnerabilities }));

  await until(
    async () => (await mesh.alarms()).filter(({ reason }) => reason === "decision-withheld").length >= 2,
    "alarms",
  );

  const standings = [0, 1, 2].map((place) => standingOf(place).split(" ")[0]);
  expect(standings.filter((standing) => standing === "quarantined").length).toBe(1);
  expect(standings.filter((standing) => standing === "serving").length).toBe(2);
  expect((await caller.call("pay.shop.mesh")).status).toBe(200);
});
