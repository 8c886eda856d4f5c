import { randomUUID } from "node:crypto";
import { join } from "node:path";
import { create } from "@bufbuild/protobuf";
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { temporaryFolder } from "../../test/contracts/temporary-folder.ts";
import { type FakeClock, fakeClock } from "../../test/fakes/fake-clock.ts";
import { silentLog } from "../../test/fakes/silent-log.ts";
import {
  foundSmallDomain,
  putAsOperator,
  putNode,
  putService,
  type SmallDomain,
} from "../../test/fakes/small-domain.ts";
import type { JsonObject } from "../base/canonical-json.ts";
import { CalledInstanceSchema, FollowerStatusSchema, ReportRequestSchema } from "../protocol/index.ts";
import { entryRevision } from "../trust-log/index.ts";
import { FollowerRegistry } from "./follower-registry.ts";
import { StandingKeeper } from "./keep-standings.ts";
import { openLogFiles } from "./log-files.ts";
import { LogWriter, type OwnStatement } from "./log-writer.ts";

const instances = [randomUUID(), randomUUID(), randomUUID()] as const;
const [worst] = instances;
/** Of instances, in tenths. */
const scores = new Map<string, number>();
const feed = {
  worstOf: (_: unknown, instance: string) => {
    const cvssTenths = scores.get(instance) ?? 0;
    return { id: cvssTenths === 0 ? "" : "CVE-2026-1", cvssTenths };
  },
};
let open: AsyncDisposableStack;
let clock: FakeClock;
let domain: SmallDomain;
let writer: LogWriter;
let registry: FollowerRegistry;
let counted: string[];

beforeEach(async () => {
  open = new AsyncDisposableStack();
  const folder = open.use(await temporaryFolder());
  clock = fakeClock();
  domain = await foundSmallDomain(folder.path, clock);
  const storage = open.use(await openLogFiles(join(folder.path, "log")));
  const options = { storage, keys: domain.keys, clock, log: silentLog, epochIntervalMillis: 3_600_000 };
  writer = open.use(await LogWriter.open(options));
  registry = new FollowerRegistry(clock);
  counted = [];
  await putNode(domain, writer, "edge-1");
  await putService(domain, writer, "/shop");
  await writer.write(instances.map((instance) => registration(instance, "/shop")));
  scores.clear();
  scores.set(worst, 98);
});
afterEach(() => open.disposeAsync());

function registration(instance: string, service: string): OwnStatement {
  const body = { instance, service, node: "edge-1", auditKey: "" };
  return { role: "issuer", kind: "instance.register", body };
}

function report(revision: number, reported: readonly string[] = instances): void {
  const followers = reported.map((instance) =>
    create(FollowerStatusSchema, { instance, address: "127.0.0.1:1", entryRevision: revision }),
  );
  registry.report(
    writer.state,
    "edge-1",
    create(ReportRequestSchema, { followers, entryRevision: revision }),
  );
}

function keep(): StandingKeeper {
  const decided = (standing: string, reason: string): void => void counted.push(`${standing} ${reason}`);
  const withheld = (why: string): void => void counted.push(`withheld ${why}`);
  return open.use(new StandingKeeper({ writer, registry, feed, clock, log: silentLog, decided, withheld }));
}

it("writes what is decided, once, and counts it", async () => {
  report(entryRevision);
  keep();

  await vi.waitUntil(() => counted.length > 0, { timeout: 10_000 });

  expect(writer.state.standings.get(worst)).toMatchObject({
    state: "quarantined",
    reason: "vulnerable",
    evidence: { cvssTenths: 98 },
    liftedBy: "control-plane",
  });
  expect(counted).toEqual(["quarantined vulnerable"]);
});

it("writes the other decisions where one cannot be written", async () => {
  const other = randomUUID();
  await putService(domain, writer, "/bank");
  const bank = [other, randomUUID(), randomUUID()];
  await writer.write(bank.map((instance) => registration(instance, "/bank")));
  // No entry could have such a number; it is decided on first.
  scores.set(worst, 98.5).set(other, 98);
  report(entryRevision, [...instances, ...bank]);
  keep();

  await vi.waitUntil(() => counted.length > 0, { timeout: 10_000 });

  expect([...writer.state.standings.entries()].map(([instance]) => instance)).toEqual([other]);
});

it("hears of failures only from those that the rules let call, by its name or by a prefix that it holds", async () => {
  const [one, web] = [instances[1], randomUUID()];
  await putService(domain, writer, "/web");
  await writer.write([registration(web, "/web")]);
  const called = [create(CalledInstanceSchema, { instance: one, requests: 100n, failures: 100n })];
  registry.report(
    writer.state,
    "edge-1",
    create(ReportRequestSchema, {
      followers: [{ instance: web }, { instance: one, address: "127.0.0.1:1" }],
    }),
  );
  for (const times of [1n, 2n]) {
    const more = called.map((seen) => ({ ...seen, requests: 100n * times, failures: 100n * times }));
    registry.report(
      writer.state,
      "edge-1",
      create(ReportRequestSchema, { followers: [{ instance: web, called: more }] }),
    );
  }
  const keeper = keep();
  const failures = (): bigint | undefined =>
    keeper.findings().find(({ instance }) => instance === one)?.callerFailures;
  const rule = { from: "/web", effect: "allow", methods: ["GET"], paths: ["/"] };
  const put = (kind: string, body: JsonObject): Promise<unknown> =>
    putAsOperator(domain, writer, { kind, body });

  const heard = [failures()];
  await put("rule.put", { ...rule, to: "/shop" });
  heard.push(failures());
  await put("rule.remove", { from: "/web", to: "/shop" });
  heard.push(failures());
  await put("rule.put", { ...rule, to: "/media" });
  heard.push(failures());
  const grant = { prefix: "/media", holder: "/shop", depthMax: 0, mayDelegate: false, notAfterSeconds: 0 };
  await put("prefix.grant", grant);
  heard.push(failures());

  expect(heard).toEqual([0n, 100n, 0n, 0n, 100n]);
});

it("withholds what an older proxy would stop at, and says so", async () => {
  report(entryRevision - 1);
  const keeper = keep();

  await vi.waitUntil(() => registry.alarms().length > 0, { timeout: 10_000 });

  expect(writer.state.standings.size).toBe(0);
  expect(registry.alarms()).toMatchObject([
    {
      reason: "decision-withheld",
      detail: `/shop ${worst}: quarantined, vulnerable: older-followers`,
    },
  ]);
  expect(keeper.findings().find(({ instance }) => instance === worst)).toMatchObject({
    vulnerability: "CVE-2026-1",
    cvssTenths: 98,
    withheld: "quarantined, vulnerable: older-followers",
  });
  expect(counted).toEqual(["withheld older-followers"]);
});

it.each([
  ["the domain has granted it to somebody else", true],
  ["it has heard of nobody", false],
])("decides nothing where %s", async (_, isHeard) => {
  const grant = { role: "operator", signatures: 1, approvals: 0 };
  if (isHeard) {
    await putAsOperator(domain, writer, {
      kind: "authority.put",
      body: { kinds: ["instance.judge"], grant },
    });
    report(entryRevision);
  }
  keep();
  const looked = vi.spyOn(writer, "isHalted", "get");

  await vi.waitUntil(() => looked.mock.calls.length >= 2, { timeout: 10_000 });

  expect([writer.state.standings.size, counted]).toEqual([0, []]);
});
