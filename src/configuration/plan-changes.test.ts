import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { SmallTrustLog } from "../../test/fakes/small-trust-log.ts";
import { bytesOf } from "../base/bytes.ts";
import { TrustState } from "../trust-log/index.ts";
import type { Manifest } from "./dialect.ts";
import {
  type DescribedState,
  manifestsOf,
  type PlannedChange,
  planChanges,
  planRemoval,
} from "./plan-changes.ts";
import { readManifests } from "./read-manifests.ts";
import { writeYaml } from "./write-yaml.ts";

const name = fc.constantFrom("/shop/web", "/shop/ledger", "/shop/a.b_c-d", "/x", "/1/2/3");
const pattern = fc.oneof(name, fc.constantFrom("/*", "/shop/*", "/shop/web/*"));
const word = fc.oneof(
  fc.constantFrom("", "yes", "null", "42", "1e3", "0x10", "a/b.c-d", "true", "2026-01-01", "x".repeat(63)),
  fc.stringMatching(/^[a-z0-9]{1,10}$/),
);
const label = word.filter((text) => text !== "");
const service: fc.Arbitrary<Manifest> = fc.record({
  apiVersion: fc.constant("troth/v1" as const),
  kind: fc.constant("Service" as const),
  metadata: fc.record({ name }),
  spec: fc.record({
    nodes: fc.array(fc.constantFrom("*", "local", "box-2", "1"), { minLength: 1, maxLength: 4 }),
    dataClass: fc.constantFrom("public", "internal", "confidential", "restricted"),
    team: word,
    environment: word,
    labels: fc.dictionary(label, label, { maxKeys: 4 }),
  }),
});
const caller = fc.oneof(
  pattern,
  fc.constantFrom("spiffe://bank.example/bank/clerk", "spiffe://bank.example/*"),
);
const rule = fc.record({
  from: caller,
  effect: fc.constantFrom("allow" as const, "deny" as const),
  methods: fc.array(fc.constantFrom("GET", "POST", "MSEARCH"), { maxLength: 3 }),
  paths: fc.array(fc.constantFrom("/", "/orders", "/a:b,c", "/x'y~z"), { maxLength: 3 }),
});
const policy: fc.Arbitrary<Manifest> = fc.record({
  apiVersion: fc.constant("troth/v1" as const),
  kind: fc.constant("AccessPolicy" as const),
  metadata: fc.record({ name: pattern }),
  spec: fc.record({ rules: fc.uniqueArray(rule, { selector: ({ from }) => from, maxLength: 4 }) }),
});
const retries = fc.record(
  {
    retriesMax: fc.integer({ min: 0, max: 5 }),
    attemptMillis: fc.integer({ min: 1, max: 1000 }),
    on: fc.array(fc.constantFrom("reset" as const, "503" as const), { minLength: 1, maxLength: 3 }),
    methods: fc.array(fc.constantFrom("GET", "POST"), { maxLength: 3 }),
  },
  { requiredKeys: ["retriesMax", "on", "methods"] },
);
const route = fc.record(
  {
    methods: fc.array(fc.constantFrom("GET", "POST"), { maxLength: 3 }),
    paths: fc.array(fc.constantFrom("/", "/orders"), { minLength: 1, maxLength: 3 }),
    timeoutMillis: fc.integer({ min: 0, max: 1000 }),
    retries,
    fault: fc.record({ percent: fc.integer({ min: 1, max: 100 }), status: fc.constant(503) }),
  },
  { requiredKeys: ["methods", "paths"] },
);
const traffic: fc.Arbitrary<Manifest> = fc.record({
  apiVersion: fc.constant("troth/v1" as const),
  kind: fc.constant("TrafficPolicy" as const),
  metadata: fc.record({ name: fc.constant("/shop/web") }),
  spec: fc.record(
    {
      protocol: fc.constant("http" as const),
      timeoutMillis: fc.integer({ min: 0, max: 1000 }),
      retries,
      retryBudgetPercent: fc.integer({ min: 1, max: 100 }),
      inFlightMax: fc.integer({ min: 1, max: 1000 }),
      routes: fc.array(route, { maxLength: 3 }),
    },
    { requiredKeys: ["protocol", "routes"] },
  ),
});
const manifests = fc.uniqueArray(fc.oneof(service, policy, traffic), {
  selector: ({ kind, metadata }) => `${kind} ${metadata.name}`,
  maxLength: 8,
});

/** A log with the service that traffic policies are about. */
function logOfShop(): SmallTrustLog {
  const log = new SmallTrustLog();
  const endpoint = { url: "https://bank.example/", profile: "https_web" };
  log.put("federation.put", { trustDomain: "bank.example", ...endpoint });
  apply(log, planned(log.state, `${web}{}`));
  return log;
}

/** Puts what was planned into a real log, in which an entry without effect is an error. */
function apply(log: SmallTrustLog, changes: readonly PlannedChange[]): number {
  const entries = changes.flatMap((change) => change.entries);
  for (const { kind, body } of entries) log.put(kind, body);
  return entries.length;
}

function outcomes(changes: readonly PlannedChange[]): string[] {
  return changes.map(({ kind, name, outcome, entries }) => `${kind} ${name} ${outcome} ${entries.length}`);
}

function planned(state: DescribedState, text: string): PlannedChange[] {
  const read = readManifests([{ name: "x", bytes: bytesOf(text) }]);
  expect(read.problems).toEqual([]);
  return planChanges(state, read.manifests);
}

const ledger = "apiVersion: troth/v1\nkind: AccessPolicy\nmetadata: {name: /shop/ledger}\nspec:\n  rules:\n";
const web = "apiVersion: troth/v1\nkind: Service\nmetadata: {name: /shop/web}\nspec: ";

describe("a plan", () => {
  it("leads any state to what the manifests say, and a second one is empty", () => {
    fc.assert(
      fc.property(manifests, manifests, (before, wanted) => {
        const log = logOfShop();
        apply(log, planChanges(log.state, before));
        const untouched = manifestsOf(log.state).filter(
          ({ kind, metadata }) =>
            !wanted.some((one) => one.kind === kind && one.metadata.name === metadata.name),
        );

        const changes = planChanges(log.state, wanted);
        apply(log, changes);

        const after = manifestsOf(log.state);
        expect(after).toEqual(expect.arrayContaining(untouched));
        expect(new Set(after)).toEqual(
          new Set([...untouched, ...changes.flatMap((change) => change.after ?? [])]),
        );
        expect(planChanges(log.state, wanted).flatMap((change) => change.entries)).toEqual([]);
      }),
      { numRuns: 60 },
    );
  }, 60_000);

  it("is empty for what the state itself says, through YAML and back", () => {
    fc.assert(
      fc.property(manifests, (before) => {
        const log = logOfShop();
        apply(log, planChanges(log.state, before));
        const text = writeYaml(manifestsOf(log.state));

        const read = readManifests([{ name: "x", bytes: bytesOf(text) }]);

        expect(read.problems).toEqual([]);
        expect(read.manifests).toEqual(manifestsOf(log.state));
        expect(planChanges(log.state, read.manifests).flatMap((change) => change.entries)).toEqual([]);
      }),
      { numRuns: 60 },
    );
  }, 60_000);

  it("says what is created, changed, unchanged and removed, services first", () => {
    const log = new SmallTrustLog();
    const first = `${ledger}    - {from: /a, effect: allow}\n    - {from: /b, effect: allow}\n---\n${web}{}\n`;

    expect(outcomes(planned(log.state, first))).toEqual([
      "Service /shop/web created 1",
      "AccessPolicy /shop/ledger created 2",
    ]);
    apply(log, planned(log.state, first));

    expect(outcomes(planned(log.state, first))).toEqual([
      "Service /shop/web unchanged 0",
      "AccessPolicy /shop/ledger unchanged 0",
    ]);
    const second = `${ledger}    - {from: /b, effect: deny}\n---\n${web}{team: shop}\n`;
    expect(outcomes(planned(log.state, second))).toEqual([
      "Service /shop/web changed 1",
      "AccessPolicy /shop/ledger changed 2",
    ]);
    expect(outcomes(planned(log.state, ledger.replace("rules:\n", "rules: []\n")))).toEqual([
      "AccessPolicy /shop/ledger removed 2",
    ]);
  });

  it("takes the order and the repetition in sets for no change", () => {
    const log = new SmallTrustLog();
    apply(log, planned(log.state, `${ledger}    - {from: /a, effect: allow, methods: [GET, POST]}\n`));

    const again = planned(
      log.state,
      `${ledger}    - {from: /a, effect: allow, methods: [POST, GET, POST]}\n`,
    );

    expect(outcomes(again)).toEqual(["AccessPolicy /shop/ledger unchanged 0"]);
  });

  it("removes an object with all its rules, and knows when there is none", () => {
    const log = new SmallTrustLog();
    apply(
      log,
      planned(log.state, `${ledger}    - {from: /a, effect: allow}\n    - {from: /b, effect: allow}\n`),
    );

    const removal = planRemoval(log.state, "AccessPolicy", "/shop/ledger");

    expect(removal?.entries).toHaveLength(2);
    apply(log, removal === undefined ? [] : [removal]);
    expect(planRemoval(log.state, "AccessPolicy", "/shop/ledger")).toBeUndefined();
    expect(planRemoval(log.state, "Service", "/shop/ledger")).toBeUndefined();
  });

  it("takes one entry for a traffic policy, whatever changes in it, and one to remove it", () => {
    const log = logOfShop();
    const policy = web.replace("Service", "TrafficPolicy");
    const steps = [
      "{timeoutMillis: 500}",
      "{timeoutMillis: 500, protocol: http, routes: []}",
      "{retries: {methods: [POST, GET]}, routes: [{paths: [/a], timeoutMillis: 0}]}",
      "{retries: {methods: [GET, POST, GET]}, routes: [{paths: [/a], timeoutMillis: 0}]}",
    ].map((spec) => {
      const changes = planned(log.state, `${policy}${spec}`);
      apply(log, changes);
      return outcomes(changes);
    });

    expect(steps.flat().map((text) => text.replace("TrafficPolicy /shop/web ", ""))).toEqual([
      "created 1",
      "unchanged 0",
      "changed 1",
      "unchanged 0",
    ]);
    expect(log.state.traffic.get("/shop/web")?.retries).toEqual({
      retriesMax: 2,
      on: ["503", "connect-failed", "reset"],
      methods: ["GET", "POST"],
    });
    const removal = planRemoval(log.state, "TrafficPolicy", "/shop/web");
    expect(removal?.entries).toEqual([{ kind: "traffic.remove", body: { service: "/shop/web" } }]);
  });

  it("takes methods from rules before a service is called over TCP, and gives them after it no longer is", () => {
    const log = logOfShop();
    const files = (protocol: string, methods: string): string => {
      const traffic = `${web.replace("Service", "TrafficPolicy")}{protocol: ${protocol}}`;
      const rules = `${web.replace("Service", "AccessPolicy")}{rules: [{from: /a, effect: allow${methods}}]}`;
      return `${traffic}\n---\n${rules}\n`;
    };
    const orders = [
      files("http", ", methods: [GET]"),
      files("tcp", ""),
      files("http", ", methods: [GET]"),
    ].map((text) => {
      const changes = planned(log.state, text);
      // An entry that comes at the wrong moment is an error here.
      apply(log, changes);
      return changes.map(({ kind }) => kind);
    });

    expect(orders.slice(1)).toEqual([
      ["AccessPolicy", "TrafficPolicy"],
      ["TrafficPolicy", "AccessPolicy"],
    ]);
  });
});

it("writes a workload entry once, whatever the order of its selectors, and removes it by its name", () => {
  const entry = (selectors: string[]): Manifest => ({
    apiVersion: "troth/v1",
    kind: "WorkloadEntry",
    metadata: { name: "payments" },
    spec: { service: "/shop/payments", selectors, hint: "" },
  });
  const state = new TrustState();
  const body = { service: "/shop/payments", selectors: ["unix:gid:1", "unix:uid:1"], hint: "" };

  const [created] = planChanges(state, [entry(["unix:uid:1", "unix:gid:1"])]);
  state.workloads.set("payments", body);
  const [again] = planChanges(state, [entry(["unix:gid:1", "unix:uid:1"])]);

  expect(created?.entries).toEqual([{ kind: "workload.put", body: { name: "payments", ...body } }]);
  expect([again?.outcome, again?.entries]).toEqual(["unchanged", []]);
  expect(planRemoval(state, "WorkloadEntry", "payments")?.entries).toEqual([
    { kind: "workload.remove", body: { name: "payments" } },
  ]);
  expect(manifestsOf(state)).toEqual([entry(["unix:gid:1", "unix:uid:1"])]);
});

it("writes a request token policy once, changes and removes it", () => {
  const policy = (spec: Extract<Manifest, { kind: "RequestTokenPolicy" }>["spec"]): Manifest => ({
    apiVersion: "troth/v1",
    kind: "RequestTokenPolicy",
    metadata: { name: "/shop/*" },
    spec,
  });
  const window = { pastSeconds: 5, futureSeconds: 1 };
  const log = new SmallTrustLog();
  const steps = [
    policy({ mode: "granted" }),
    policy({ mode: "granted" }),
    policy({ mode: "off", window }),
  ].map((manifest) => {
    const changes = planChanges(log.state, [manifest]);
    apply(log, changes);
    return outcomes(changes);
  });

  expect(steps.flat()).toEqual([
    "RequestTokenPolicy /shop/* created 1",
    "RequestTokenPolicy /shop/* unchanged 0",
    "RequestTokenPolicy /shop/* changed 1",
  ]);
  expect(manifestsOf(log.state)).toEqual([policy({ mode: "off", window })]);
  const removal = planRemoval(log.state, "RequestTokenPolicy", "/shop/*");
  expect(removal?.entries).toEqual([{ kind: "requesttoken.remove", body: { to: "/shop/*" } }]);
});

describe("a prefix grant", () => {
  const grant = (spec: object = {}): Manifest => ({
    apiVersion: "troth/v1",
    kind: "PrefixGrant",
    metadata: { name: "/media/video" },
    spec: { holder: "/shop/payments", depth: 2, mayDelegate: false, ...spec },
  });
  const service = (name: string): Manifest => ({
    apiVersion: "troth/v1",
    kind: "Service",
    metadata: { name },
    spec: { nodes: ["*"], dataClass: "internal", team: "", environment: "", labels: {} },
  });

  it("is written once, changed, moved to another service and removed", () => {
    const log = new SmallTrustLog();
    apply(log, planChanges(log.state, [service("/shop/payments"), service("/shop/ledger")]));
    const notAfter = "2100-01-31T12:00:00Z";
    const steps = [
      grant(),
      grant(),
      grant({ notAfter }),
      grant({ holder: "/shop/ledger", mayDelegate: true }),
    ];
    const seen = steps.flatMap((manifest) => {
      const changes = planChanges(log.state, [manifest]);
      apply(log, changes);
      expect(manifestsOf(log.state)).toContainEqual(manifest);
      return outcomes(changes);
    });

    expect(seen).toEqual([
      "PrefixGrant /media/video created 1",
      "PrefixGrant /media/video unchanged 0",
      "PrefixGrant /media/video changed 1",
      "PrefixGrant /media/video changed 2",
    ]);
    expect(planRemoval(log.state, "PrefixGrant", "/media/video")?.entries).toEqual([
      { kind: "prefix.withdraw", body: { prefix: "/media/video" } },
    ]);
  });

  it("comes after the service that holds it", () => {
    const kinds = planChanges(new TrustState(), [grant(), service("/shop/payments")]).map(({ kind }) => kind);

    expect(kinds).toEqual(["Service", "PrefixGrant"]);
  });

  it("is not what a holder has handed on, which is the holder's own word", () => {
    const state = new TrustState();
    const row = { holder: "/shop/ledger", depthMax: 0, mayDelegate: false, notAfterSeconds: 0, index: 7 };
    state.prefixes.set("/media/video", { ...row, under: "/media", sequence: 1 });

    expect(manifestsOf(state)).toEqual([]);
    expect(planRemoval(state, "PrefixGrant", "/media/video")).toBeUndefined();
  });
});

describe("a federation", () => {
  const bank = (spec: object = {}): Manifest => ({
    apiVersion: "troth/v1",
    kind: "Federation",
    metadata: { name: "bank.example" },
    spec: {
      url: "https://bank.example/bundle",
      profile: "https_spiffe",
      endpointSpiffeId: "spiffe://bank.example/endpoint",
      services: [{ name: "/bank/vault", addresses: ["10.0.0.1:8490"] }],
      ...spec,
    },
  });
  const place = {
    url: "https://bank.example/bundle",
    profile: "https_spiffe",
    endpointSpiffeId: "spiffe://bank.example/endpoint",
  } as const;

  function known(): TrustState {
    const state = new TrustState();
    state.federation.set("bank.example", { ...place, bundle: "as read since" });
    state.remotes.set("spiffe://bank.example/bank/vault", { addresses: ["10.0.0.1:8490"] });
    state.remotes.set("spiffe://other.example/bank/vault", { addresses: ["10.0.0.9:8490"] });
    return state;
  }

  it("begins with the bundle of the file, and then its services", () => {
    const [created] = planChanges(new TrustState(), [bank({ bundle: "to begin with" })]);

    expect(created?.outcome).toBe("created");
    expect(created?.entries).toEqual([
      { kind: "federation.put", body: { trustDomain: "bank.example", ...place, bundle: "to begin with" } },
      {
        kind: "remote.put",
        body: { trustDomain: "bank.example", service: "/bank/vault", addresses: ["10.0.0.1:8490"] },
      },
    ]);
  });

  it("is unchanged by the bundle it began with, which has been read anew since", () => {
    const [again] = planChanges(known(), [bank({ bundle: "to begin with" })]);

    expect([again?.outcome, again?.entries, again?.after]).toEqual(["unchanged", [], bank()]);
  });

  it("keeps the bundle that is known where the endpoint moves", () => {
    const [moved] = planChanges(known(), [bank({ url: "https://new.example/", bundle: "to begin with" })]);

    expect(moved?.entries).toEqual([
      {
        kind: "federation.put",
        body: { trustDomain: "bank.example", ...place, url: "https://new.example/", bundle: "as read since" },
      },
    ]);
  });

  it("gives up services that are not listed, and changes those whose addresses are others", () => {
    const services = [{ name: "/bank/teller", addresses: ["10.0.0.2:8490"] }];
    const [changed] = planChanges(known(), [bank({ services })]);
    const put = { trustDomain: "bank.example", service: "/bank/teller", addresses: ["10.0.0.2:8490"] };

    expect(changed?.entries).toEqual([
      { kind: "remote.put", body: put },
      { kind: "remote.remove", body: { trustDomain: "bank.example", service: "/bank/vault" } },
    ]);
  });

  it("comes before the rules that speak of it, is told without its bundle, and ends by its name", () => {
    const rules = [{ from: "spiffe://bank.example/*", effect: "allow" as const, methods: [], paths: [] }];
    const policy: Manifest = {
      apiVersion: "troth/v1",
      kind: "AccessPolicy",
      metadata: { name: "/shop/ledger" },
      spec: { rules },
    };

    expect(planChanges(new TrustState(), [policy, bank()]).map(({ kind }) => kind)).toEqual([
      "Federation",
      "AccessPolicy",
    ]);
    expect(manifestsOf(known())).toEqual([bank()]);
    expect(planRemoval(known(), "Federation", "bank.example")?.entries).toEqual([
      { kind: "federation.remove", body: { trustDomain: "bank.example" } },
    ]);
  });
});
