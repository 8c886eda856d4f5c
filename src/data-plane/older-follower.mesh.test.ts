import { join } from "node:path";
import { create } from "@bufbuild/protobuf";
import { afterAll, beforeAll, expect, it } from "vitest";
import { type DeceitfulAgent, openDeceitfulAgent } from "../../test/apparatus/deceitful-agent.ts";
import { MeshInProcess, until } from "../../test/apparatus/mesh-in-process.ts";
import { ask, type Workload } from "../../test/apparatus/workload.ts";
import { UpdateSchema } from "../protocol/index.ts";
import { leafHash, signCheckpoint } from "../trust-log/index.ts";

const minute = 60;
let mesh: MeshInProcess;
let agent: DeceitfulAgent;
let caller: Workload;
let older: Workload;

beforeAll(async () => {
  mesh = await MeshInProcess.found();
  agent = await openDeceitfulAgent(join(mesh.folder, "newer.sock"), mesh.agentSocketPath, (update) => update);
  caller = await mesh.open("/shop/web");
  await mesh.putService("/shop/ledger", "restricted");
  older = await mesh.open("/shop/ledger", { agentSocketPath: agent.socketPath });
  await mesh.putRule("/shop/web", "/shop/ledger");
  await mesh.put("authority.put", {
    kinds: ["future.kind"],
    grant: { role: "operator", signatures: 1, approvals: 0 },
  });
  await mesh.settled();
  await until(async () => (await caller.call(older.host)).status === 200, "a route");
});
afterAll(async () => {
  await older[Symbol.asyncDispose]();
  await agent[Symbol.asyncDispose]();
  await mesh[Symbol.asyncDispose]();
});

/** The log as a newer control plane would go on with it: with an entry that this software does not know. */
function sayFuture(): number {
  const { tree } = mesh.controlPlane.writer;
  const entry = mesh.sign("future.kind", {});
  const frontier = tree.frontier();
  frontier.append(leafHash(entry));
  const checkpoint = signCheckpoint({ size: frontier.size, root: frontier.root() }, mesh.keys.log);
  agent.say(
    create(UpdateSchema, {
      content: { case: "step", value: { firstIndex: BigInt(tree.size), entries: [entry], checkpoint } },
    }),
  );
  return tree.size;
}

async function readiness(): Promise<string> {
  const [host, port] = older.sidecar.adminAddress.split(":");
  return (await ask({ host, port, path: "/readyz", agent: false })).body;
}

it("stops before an entry of a kind that it does not know, says so everywhere, and serves on", async () => {
  const size = sayFuture();

  await until(async () => (await readiness()).includes("stopped before entry"), "it says so");
  await mesh.putService("/shop/later");

  expect(await readiness()).toContain(
    `stopped before entry ${size} of the trust log: it needs a newer version of Troth`,
  );
  await until(() => agent.alarms.some(({ reason }) => reason === "unknown-kind"), "an alarm");
  await until(() => agent.reported()?.stoppedReason === "unknown-kind", "it reports it");
  expect(await older.metric("troth_proxy_tree_size")).toBe(size);
  expect((await caller.call(older.host)).status).toBe(200);
});

it("refuses only as the staleness table says, while what is new enough goes on", async () => {
  const post = () => caller.call(older.host, { method: "POST", body: "x" });

  older.clock.shiftMonotonic(minute + 1);

  expect((await caller.call(older.host)).status).toBe(200);
  expect(await post()).toMatchObject({ status: 503, reason: "view-degraded" });
  expect(await readiness()).toContain("stopped before entry");
});
