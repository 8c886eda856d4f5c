import { join } from "node:path";
import { create } from "@bufbuild/protobuf";
import { afterAll, beforeAll, expect, it } from "vitest";
import { type DeceitfulAgent, openDeceitfulAgent } from "../../test/apparatus/deceitful-agent.ts";
import { MeshInProcess, until } from "../../test/apparatus/mesh-in-process.ts";
import type { Workload } from "../../test/apparatus/workload.ts";
import { type Update, UpdateSchema } from "../protocol/index.ts";
import { signCheckpoint } from "../trust-log/index.ts";

let mesh: MeshInProcess;
let agent: DeceitfulAgent;
let ledger: Workload;
/** What becomes of each update on its way to the ledger's sidecar. */
let alter: (update: Update) => Update | undefined;

const honest = (update: Update): Update => update;

beforeAll(async () => {
  mesh = await MeshInProcess.found();
  alter = honest;
  agent = await openDeceitfulAgent(join(mesh.folder, "deceitful.sock"), mesh.agentSocketPath, (update) =>
    alter(update),
  );
  ledger = await mesh.open("/shop/ledger", { agentSocketPath: agent.socketPath });
});
afterAll(async () => {
  await ledger[Symbol.asyncDispose]();
  await agent[Symbol.asyncDispose]();
  await mesh[Symbol.asyncDispose]();
});

function step(firstIndex: number, entries: Uint8Array[], checkpoint: Uint8Array): Update {
  return create(UpdateSchema, {
    content: { case: "step", value: { firstIndex: BigInt(firstIndex), entries, checkpoint } },
  });
}

async function sizeOfLedger(): Promise<number> {
  return ledger.metric("troth_proxy_tree_size");
}

function newest(): { readonly size: number; readonly checkpoint: Uint8Array } {
  const { newest: signed } = mesh.controlPlane.writer;
  if (signed === undefined) throw new Error("no checkpoint");
  return signed;
}

it("refuses an agent that goes back to an older log, alarms, and follows again once it is honest", async () => {
  const old = newest();
  await mesh.putService("/shop/later");
  await mesh.settled();
  const size = await sizeOfLedger();
  const followsBefore = agent.follows();

  agent.say(step(size, [], old.checkpoint));

  await until(() => agent.alarms.some(({ reason }) => reason === "rolled-back"), "an alarm");
  await until(() => agent.follows() > followsBefore, "another connection");
  expect(await sizeOfLedger()).toBeGreaterThanOrEqual(size);
  await mesh.putService("/shop/still-later");
  await mesh.settled();
});

it("refuses another tree of the same size, though the log's own key signed it", async () => {
  const size = await sizeOfLedger();
  const forged = signCheckpoint({ size, root: new Uint8Array(32) }, mesh.keys.log);

  agent.say(step(size, [], forged));

  await until(() => agent.alarms.some(({ reason }) => reason === "forked"), "an alarm");
});

it("refuses a log with an entry left out", async () => {
  alter = (update) => {
    if (update.content.case !== "step" || update.content.value.entries.length === 0) return update;
    // Once: an agent that always lies keeps the alarm to itself.
    alter = honest;
    const { firstIndex, entries, checkpoint } = update.content.value;
    return step(Number(firstIndex), entries.slice(1), checkpoint);
  };
  const size = await sizeOfLedger();

  await mesh.putService("/shop/hidden");

  await until(() => agent.alarms.some(({ reason }) => reason === "not-the-next-entries"), "an alarm");
  expect(await sizeOfLedger()).toBeGreaterThanOrEqual(size);
  await mesh.settled();
});

it("refuses a log with another entry in place of one", async () => {
  alter = (update) => {
    if (update.content.case !== "step" || update.content.value.entries.length === 0) return update;
    // Once: an agent that always lies keeps the alarm to itself.
    alter = honest;
    const { firstIndex, entries, checkpoint } = update.content.value;
    return step(Number(firstIndex), [Buffer.from("another"), ...entries.slice(1)], checkpoint);
  };

  await mesh.putService("/shop/replaced");

  await until(() => agent.alarms.some(({ reason }) => reason === "wrong-root"), "an alarm");
  await mesh.settled();
});

it("says how it is doing to an agent that has come back", async () => {
  const caller = await mesh.open("/shop/caller");
  await mesh.putRule("/shop/caller", "/shop/ledger");
  await until(async () => (await caller.call(ledger.host)).status === 200, "a route");
  const failures: unknown[] = [];
  const over = new AbortController();
  const load = (async () => {
    while (!over.signal.aborted) {
      const { status, body } = await caller.call(ledger.host);
      if (status !== 200) failures.push(body);
    }
  })();

  await mesh.stopAgent();
  await new Promise((resolve) => setTimeout(resolve, 500));
  await mesh.startAgent();
  await mesh.putService("/shop/after-the-restart");
  await until(async () => (await caller.metric("troth_proxy_tree_size")) >= newest().size, "news");
  over.abort();
  await load;

  expect(failures).toEqual([]);
  const another = await mesh.open("/shop/another");
  await mesh.putRule("/shop/another", "/shop/*");
  await until(
    async () => (await another.call(caller.host)).status === 200,
    "a route to who was there before",
  );
});
