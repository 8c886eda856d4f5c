import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  authorityNamed,
  certificateFor,
  foundedAtSeconds,
  joinBody,
  keyTextOf,
  SmallTrustLog,
  serviceBody,
  signerNamed,
  type Unusual,
} from "../../test/fakes/small-trust-log.ts";
import { base64Of, bytesOf } from "../base/bytes.ts";
import type { JsonObject } from "../base/canonical-json.ts";
import {
  buildSelfSignedCertificate,
  distinguishedName,
  exportPublicKey,
  generateEd25519,
  generateP256,
  sha256,
} from "../crypto/index.ts";
import { type EntryStatement, parseEntry, signEntry } from "./entry.ts";
import { entryBodies, isEntryKind } from "./entry-kinds.ts";
import { foldEntry } from "./fold.ts";
import { Frontier } from "./merkle-tree.ts";
import { signDelegation } from "./prefix-delegation.ts";
import { type NoteSigner, signNote, verifierKeyOf } from "./signed-note.ts";
import { TrustState } from "./trust-state.ts";

const instance = "00000000-0000-4000-8000-000000000001";
const otherInstance = "00000000-0000-4000-8000-000000000002";
const certificate = "ab".repeat(32);
const trustedRoot = authorityNamed("root");
const shownAuthority = authorityNamed("shown");
const leafCertificate = base64Of(
  buildSelfSignedCertificate(
    {
      serial: Uint8Array.of(1),
      subject: distinguishedName("test"),
      notBeforeSeconds: foundedAtSeconds,
      notAfterSeconds: foundedAtSeconds + 60,
    },
    generateEd25519().privateKey,
  ),
);
const invite = signerNamed("invite");
const day = 86_400;
/** Of identity/trust-bundle.ts, which reads what is trusted. */
const bundleAuthoritiesMax = 32;

function issuance(changes: JsonObject = {}): JsonObject {
  return {
    certificate,
    spiffeId: "spiffe://example.org/shop",
    instance,
    serial: "01",
    notBeforeSeconds: foundedAtSeconds,
    notAfterSeconds: foundedAtSeconds + 3600,
    ...changes,
  };
}

function rule(changes: JsonObject = {}): JsonObject {
  return { from: "/shop", to: "/pay", effect: "allow", methods: ["GET"], paths: ["/"], ...changes };
}

function traffic(changes: JsonObject = {}): JsonObject {
  const retries = { retriesMax: 2, on: ["reset", "503"], methods: [] };
  const mirror = { to: "/pay", percent: 10 };
  const route = { methods: ["GET"], paths: ["/reports"], timeoutMillis: 60_000, mirror };
  const common = { service: "/shop", protocol: "http", timeoutMillis: 15_000, retries };
  return { ...common, retryBudgetPercent: 20, routes: [route], ...changes };
}

function recovery(log: SmallTrustLog): JsonObject {
  return {
    generation: 2,
    size: log.tree.size,
    root: base64Of(log.tree.root()),
    logKey: verifierKeyOf(signerNamed("example.org/trust-log-2")),
  };
}

function registration(changes: JsonObject = {}): JsonObject {
  return { instance: otherInstance, service: "/shop", node: "edge-1", auditKey: "", ...changes };
}

/** A log with one of everything: node edge-1 with an instance of /shop, and an open invitation for edge-2. */
function busyLog(): SmallTrustLog {
  const log = new SmallTrustLog();
  log.put("ca.trust", { certificate: trustedRoot });
  log.put("ca.issue", { certificate: shownAuthority });
  log.put("service.put", serviceBody("/shop", ["edge-1"]));
  log.put("service.put", serviceBody("/pay"));
  log.put("rule.put", rule());
  log.putNode("edge-1");
  log.put("instance.register", registration({ instance }));
  log.put("svid.issue", issuance());
  log.put("node.invite", {
    node: "edge-2",
    inviteKey: keyTextOf(invite),
    expiresAtSeconds: foundedAtSeconds + 600,
  });
  return log;
}

/** What an entry of each kind says that takes effect in a busy log. */
const effective: { readonly [kind: string]: (log: SmallTrustLog) => JsonObject } = {
  epoch: (log) => log.epochBody(),
  "authority.put": () => ({
    kinds: ["rule.put", "rule.remove"],
    grant: { role: "issuer", signatures: 1, approvals: 0 },
  }),
  "key.put": () => ({
    name: "example.org/new",
    role: "issuer",
    publicKey: keyTextOf(signerNamed("example.org/new")),
  }),
  "key.remove": () => ({ name: "example.org/operator/carol" }),
  "log.recover": recovery,
  "ca.trust": () => ({ certificate: authorityNamed("another") }),
  "ca.issue": () => ({ certificate: Buffer.alloc(64, 4).toString("base64") }),
  "service.put": () => serviceBody("/new"),
  "service.remove": () => ({ name: "/shop" }),
  "rule.put": () => rule({ from: "/*", effect: "deny" }),
  "rule.remove": () => ({ from: "/shop", to: "/pay" }),
  "traffic.put": () => traffic(),
  "traffic.remove": (log) => {
    if (log.state.services.has("/shop") && !log.state.traffic.has("/shop")) log.put("traffic.put", traffic());
    return { service: "/shop" };
  },
  "node.invite": () => ({
    node: "edge-3",
    inviteKey: keyTextOf(signerNamed("invite")),
    expiresAtSeconds: foundedAtSeconds + 60,
  }),
  "node.join": (log) => joinBody(log.genesis, invite, "edge-2", keyTextOf(signerNamed("edge-2"))),
  "node.remove": () => ({ node: "edge-1" }),
  "node.zone": () => ({ node: "edge-1", zone: "west" }),
  "instance.register": () => registration(),
  "instance.remove": () => ({ instance }),
  "instance.drain": () => ({ instance }),
  "instance.resume": (log) => {
    const isServing = log.state.instances.get(instance)?.isDraining === false;
    if (isServing && !log.state.standings.has(instance)) log.put("instance.drain", { instance });
    return { instance };
  },
  "svid.issue": () => issuance({ certificate: "cd".repeat(32) }),
  "svid.put": () =>
    issuance({
      certificate: "cd".repeat(32),
      authorityKeyId: "0a",
      generation: 1,
      keySha256: "ef".repeat(32),
    }),
  "workload.put": () => ({ name: "shop", service: "/shop", selectors: ["unix:uid:1000"], hint: "" }),
  "workload.remove": (log) => {
    if (log.state.services.has("/shop") && !log.state.workloads.has("shop"))
      log.put("workload.put", { name: "shop", service: "/shop", selectors: ["unix:uid:1000"], hint: "" });
    return { name: "shop" };
  },
  "instance.revoke": () => ({ instance, reason: "key-compromise" }),
  "instance.lock": () => ({ instance }),
  "instance.renew": () => ({ instance }),
  "svid.revoke": () => ({ certificate, reason: "superseded" }),
  "token.revoke": () => ({
    id: "a-token",
    expiresAtSeconds: foundedAtSeconds + 60,
    reason: "privilege-withdrawn",
  }),
  "service.hold": () => ({ name: "/shop", reason: "unspecified" }),
  "service.lift": (log) => {
    if (log.state.services.has("/pay") && !log.state.holds.has("service:/pay"))
      log.put("service.hold", { name: "/pay", reason: "unspecified" });
    return { name: "/pay" };
  },
  "node.hold": () => ({ node: "edge-1", reason: "unspecified" }),
  "node.lift": (log) => {
    if (log.state.nodes.has("edge-1") && !log.state.holds.has("node:edge-1"))
      log.put("node.hold", { node: "edge-1", reason: "unspecified" });
    return { node: "edge-1" };
  },
  "jwk.put": () => tokenKey(),
  "ca.activate": () => ({ authority: sha256Of(trustedRoot) }),
  "ca.taint": (log) => ({ authority: oldAuthority(log) }),
  "ca.revoke": (log) => ({ authority: oldAuthority(log), reason: "ca-compromise" }),
  "federation.put": () => federation(),
  "federation.bundle": (log) => ({ trustDomain: federated(log), bundle: "{}" }),
  "federation.remove": (log) => ({ trustDomain: federated(log) }),
  "remote.put": (log) => ({
    trustDomain: federated(log),
    service: "/web",
    addresses: ["192.0.2.1:8443"],
  }),
  "remote.remove": (log) => {
    const remote = { trustDomain: federated(log), service: "/web" };
    if (!log.state.remotes.has("spiffe://other.example/web"))
      log.put("remote.put", { ...remote, addresses: ["192.0.2.1:8443"] });
    return remote;
  },
  "foreignrule.put": (log) => foreignRule(log),
  "foreignrule.remove": (log) => {
    const { from = "", to = "" } = foreignRule(log);
    if (!log.state.rules.has("spiffe://other.example/web /shop"))
      log.put("foreignrule.put", foreignRule(log));
    return { from, to };
  },
  "requesttoken.put": () => ({ to: "/shop/*", mode: "granted" }),
  "requesttoken.remove": (log) => {
    if (!log.state.requestTokens.has("/shop")) log.put("requesttoken.put", { to: "/shop", mode: "off" });
    return { to: "/shop" };
  },
  "prefix.grant": () => prefixGrant(),
  "prefix.withdraw": (log) => ({ prefix: heldPrefix(log).under }),
  "prefix.delegate": (log) => delegation(log),
  "prefix.recall": (log) => {
    if (!log.state.prefixes.has("/held/part")) log.order(log.entry("prefix.delegate", delegation(log)));
    const sequence = (log.state.prefixes.get("/held")?.sequence ?? 0) + 1;
    const said = { ...heldPrefix(log), sequence, prefix: "/held/part" };
    return { ...signDelegation(log.genesis, said, holderSvid) };
  },
  "instance.degrade": () => ({ instance, reason: "slow", evidence: { p90Millis: 900 } }),
  "instance.quarantine": () => ({ instance, reason: "unspecified", evidence: {} }),
  "instance.release": (log) => {
    if (log.state.instances.has(instance) && !log.state.standings.has(instance))
      log.put("instance.quarantine", { instance, reason: "unspecified", evidence: {} });
    return { instance, decision: log.state.standings.get(instance)?.decision ?? 0 };
  },
  "instance.judge": () => ({
    instance,
    standing: "degraded",
    reason: "failing",
    evidence: { errorPermille: 900 },
    decision: 0,
  }),
};

const { privateKey: holderKey } = generateP256();
const holderSvid = { certificate: certificateFor(holderKey), privateKey: holderKey };

function prefixGrant(changes: JsonObject = {}): JsonObject {
  return { prefix: "/part", holder: "/shop", depthMax: 1, mayDelegate: true, notAfterSeconds: 0, ...changes };
}

/** A prefix that an instance of /shop holds by a known key: by which it says what it hands on. */
function heldPrefix(log: SmallTrustLog): { under: string; grant: number; instance: string } {
  if (!log.state.prefixes.has("/held")) {
    log.order(log.entry("prefix.grant", prefixGrant({ prefix: "/held" })));
    const hexSha256 = (bytes: Uint8Array): string => Buffer.from(sha256(bytes)).toString("hex");
    const keySha256 = hexSha256(exportPublicKey(holderKey));
    const issued = { certificate: hexSha256(holderSvid.certificate), keySha256 };
    const more = { ...issued, authorityKeyId: "ef", generation: 1 };
    log.order(log.entry("svid.put", issuance(more)));
  }
  return { under: "/held", grant: log.state.prefixes.get("/held")?.index ?? 0, instance };
}

function delegation(log: SmallTrustLog): JsonObject {
  const part = { prefix: "/held/part", holder: "/pay", depthMax: 0, mayDelegate: false, notAfterSeconds: 0 };
  const sequence = (heldPrefix(log), log.state.prefixes.get("/held")?.sequence ?? 0) + 1;
  return { ...signDelegation(log.genesis, { ...heldPrefix(log), sequence, ...part }, holderSvid) };
}

const tokenKeyInfo = base64Of(exportPublicKey(generateP256().publicKey));

function tokenKey(): JsonObject {
  return { use: "jwt-svid", publicKey: tokenKeyInfo, notAfterSeconds: foundedAtSeconds + 3600 };
}

function federation(changes: JsonObject = {}): JsonObject {
  return {
    trustDomain: "other.example",
    url: "https://other.example/bundle",
    profile: "https_web",
    ...changes,
  };
}

/** A log's federated trust domain, which it has afterwards. */
function federated(log: SmallTrustLog): string {
  if (!log.state.federation.has("other.example")) log.put("federation.put", federation());
  return "other.example";
}

function foreignRule(log: SmallTrustLog): JsonObject {
  federated(log);
  return rule({ from: "spiffe://other.example/web", to: "/shop" });
}

/** The trusted root of a busy log, after another has taken its place. */
function oldAuthority(log: SmallTrustLog): string {
  const [first, second] = [trustedRoot, authorityNamed("another")];
  if (log.state.certificateAuthorities.size > 0 && log.state.authorityStatus.size === 0) {
    log.put("ca.trust", { certificate: second });
    log.put("ca.activate", { authority: sha256Of(first) });
    log.put("ca.activate", { authority: sha256Of(second) });
  }
  return sha256Of(first);
}

function sha256Of(encoded: string): string {
  return Buffer.from(sha256(Buffer.from(encoded, "base64"))).toString("hex");
}

const kinds = Object.keys(effective);

function bodyOf(kind: string, log: SmallTrustLog): JsonObject {
  return effective[kind]?.(log) ?? {};
}

/** Orders an entry that must have no effect, and says why it had none. */
function refusalOf(log: SmallTrustLog, entry: Uint8Array): string {
  const before = log.state.digest();
  const outcome = log.order(entry);
  expect(log.state.digest()).toBe(before);
  if (!outcome.ok) return `stop: ${outcome.reason}`;
  return outcome.value.hasEffect ? "none" : outcome.value.reason;
}

function refusal(log: SmallTrustLog, kind: string, body: JsonObject, unusual: Unusual = {}): string {
  return refusalOf(log, log.entry(kind, body, unusual));
}

describe("every kind of entry", () => {
  test("stands in these tests", () => {
    expect(new Set([...kinds, "genesis"])).toEqual(new Set(Object.keys(entryBodies)));
  });

  test.each(kinds)("%s takes effect, once", (kind) => {
    const log = busyLog();
    const before = log.state.digest();
    const entry = log.entry(kind, bodyOf(kind, log));

    expect(log.order(entry)).toMatchObject({ ok: true, value: { hasEffect: true } });

    expect(log.state.digest()).not.toBe(before);
    expect(refusalOf(log, entry)).toBe("replayed");
  });

  test.each(kinds)(
    "%s with another body, a key too many or a key too few has no effect: malformed-body",
    (kind) => {
      const log = busyLog();
      const body = bodyOf(kind, log);
      const [first = ""] = Object.keys(body);

      expect(refusal(log, kind, {})).toBe("malformed-body");
      expect(refusal(log, kind, { ...body, extra: 1 })).toBe("malformed-body");
      expect(refusal(log, kind, { ...body, constructor: 1 })).toBe("malformed-body");
      expect(refusal(log, kind, Object.fromEntries([...Object.entries(body), ["__proto__", {}]]))).toBe(
        "malformed-body",
      );
      for (const wrong of [null, [], {}, true, "\u0000", -1])
        expect(refusal(log, kind, { ...body, [first]: wrong })).toBe("malformed-body");
    },
  );
});

describe("authority", () => {
  const log = busyLog();
  const authors: readonly (readonly [string, NoteSigner])[] = [
    ["operator", log.operators[0]],
    ["issuer", log.issuer],
    ["sequencer", log.sequencer],
    ["server", log.server],
    ["the log's key", log.logKey],
    ["a stranger", signerNamed("example.org/stranger")],
    ["a stranger under an operator's name", signerNamed("example.org/operator/alice")],
    ["a node", signerNamed("edge-1")],
    ["an invitation", invite],
  ];

  test.each(kinds)("%s has an effect from the role that genesis says, and from nobody else", (kind) => {
    const role = log.state.authority.get(kind)?.role;
    let entitled = 0;

    for (const [who, signer] of authors) {
      if (who === role) entitled += 1;
      else
        expect(["unauthorised", "unknown-author", "bad-signature"]).toContain(
          refusal(log, kind, bodyOf(kind, log), { by: [signer] }),
        );
    }

    expect(entitled).toBe(1);
  });

  test.each(kinds)(
    "the log's key cannot write %s in an author's name, alone or beside the author: no effect",
    (kind) => {
      const author = log.state.authority.get(kind)?.role;
      const [, signer = log.logKey] = authors.find(([who]) => who === author) ?? [];
      const body = bodyOf(kind, log);

      expect(refusal(log, kind, body, { by: [log.logKey], author: signer.name })).toBe("unauthorised");
      expect(refusal(log, kind, body, { by: [{ ...log.logKey, name: signer.name }] })).toBe("bad-signature");
      expect(refusal(log, kind, body, { by: [signer, log.logKey] })).toBe("unauthorised");
    },
  );

  const rows: readonly (readonly [string, string, (log: SmallTrustLog) => Uint8Array])[] = [
    ["malformed-entry", "no entry at all", () => bytesOf("hello")],
    ["malformed-entry", "no bytes", () => new Uint8Array(0)],
    ["malformed-entry", "over 65 535 bytes", () => new Uint8Array(65_536)],
    [
      "malformed-entry",
      "signed twice by one author",
      (log) => log.entry("rule.put", rule(), { by: [log.operators[0], log.operators[0]] }),
    ],
    [
      "other-log",
      "an entry of another log",
      (log) => log.entry("rule.put", rule(), { log: new SmallTrustLog().genesis }),
    ],
    ["other-log", "an entry of no log", (log) => log.entry("rule.put", rule(), { log: "" })],
    ["other-log", "a second genesis", (log) => log.entries[0] ?? bytesOf("")],
    ["unauthorised", "a genesis of this log", (log) => log.entry("genesis", {}, { by: [log.operators[0]] })],
    [
      "unknown-author",
      "an author that no entry named",
      (log) => log.entry("rule.put", rule(), { by: [signerNamed("example.org/operator/mallory")] }),
    ],
    [
      "unknown-author",
      "__proto__ as its author",
      (log) => log.entry("rule.put", rule(), { by: [signerNamed("__proto__")] }),
    ],
    ["unknown-author", "no author", (log) => log.entry("rule.put", rule(), { author: "" })],
    [
      "unauthorised",
      "an operator beside an issuer",
      (log) => log.entry("svid.issue", issuance(), { by: [log.issuer, log.operators[0]] }),
    ],
    [
      "unauthorised",
      "an unknown signer beside the author",
      (log) =>
        log.entry("rule.put", rule(), {
          by: [log.operators[0], signerNamed("example.org/operator/mallory")],
        }),
    ],
    [
      "bad-signature",
      "another key under the author's name",
      (log) => log.entry("rule.put", rule(), { by: [signerNamed("example.org/operator/alice")] }),
    ],
    [
      "bad-signature",
      "an author who did not sign, though an equal did",
      (log) =>
        log.entry("rule.put", rule(), { by: [log.operators[1]], author: "example.org/operator/alice" }),
    ],
    [
      "bad-signature",
      "a false signature beside a good one",
      (log) =>
        log.entry("rule.put", rule(), { by: [log.operators[0], signerNamed("example.org/operator/bob")] }),
    ],
    [
      "replayed",
      "the sequence number last used",
      (log) => log.entry("rule.put", rule(), { sequence: lastOf(log) }),
    ],
    ["replayed", "sequence number 0", (log) => log.entry("rule.put", rule(), { sequence: 0 })],
    ["unauthorised", "an unknown kind that nobody may write", (log) => log.entry("future.kind", {})],
    ["unauthorised", "toString as its kind", (log) => log.entry("toString", {})],
    ["unauthorised", "__proto__ as its kind", (log) => log.entry("__proto__", {})],
  ];
  test.each(rows)("%s: an entry with %s has no effect", (reason, _, entryFor) => {
    expect(refusalOf(log, entryFor(log))).toBe(reason);
  });

  test("an entry of the wrong role says who may not write what", () => {
    expect(log.order(log.entry("rule.put", rule(), { by: [log.issuer] }))).toMatchObject({
      value: { detail: "issuer example.org/issuer may not write rule.put" },
    });
  });

  test("an entry whose text was changed after it was signed has no effect: bad-signature", () => {
    const entry = log.entry("rule.put", rule({ effect: "deny" }));
    const changed = Buffer.from(entry).toString().replace('"deny"', '"allow"');

    expect(refusalOf(log, bytesOf(changed))).toBe("bad-signature");
  });

  test("an author who was removed has no effect any more, and the name stays taken", () => {
    const log = busyLog();
    const [, bob] = log.operators;
    const prepared = log.entry("rule.put", rule(), { by: [bob] });
    log.put("key.remove", { name: bob.name });

    expect(refusalOf(log, prepared)).toBe("unknown-author");
    expect(refusal(log, "rule.put", rule(), { by: [log.operators[0], bob] })).toBe("unauthorised");
    const publicKey = keyTextOf(signerNamed(bob.name));
    expect(refusal(log, "key.put", { name: bob.name, role: "operator", publicKey })).toBe("conflict");
    expect(refusal(log, "key.remove", { name: bob.name })).toBe("conflict");
  });

  test("one key does not get a second name, so it cannot count as two signers", () => {
    const log = busyLog();
    const [alice] = log.operators;

    for (const role of ["operator", "issuer"])
      expect(refusal(log, "key.put", { name: "example.org/alias", role, publicKey: keyTextOf(alice) })).toBe(
        "conflict",
      );
    log.put("key.remove", { name: "example.org/operator/carol" });
    const publicKey = keyTextOf(log.operators[2]);
    expect(refusal(log, "key.put", { name: "example.org/operator/dave", role: "operator", publicKey })).toBe(
      "conflict",
    );
  });

  test("a new author may write from the next entry on", () => {
    const log = busyLog();
    const dave = signerNamed("example.org/issuer-2");
    log.put("key.put", { name: dave.name, role: "issuer", publicKey: keyTextOf(dave) });

    log.put("instance.register", registration(), { by: [dave] });

    expect(log.state.authors.get(dave.name)?.sequence).toBe(1);
  });

  test("a later sequence number leaves the ones before it usable, each once", () => {
    const log = busyLog();
    const waiting = log.entry("rule.put", rule());
    const next = lastOf(log) + 2;

    log.put("rule.put", rule({ from: "/other" }), { sequence: next });
    log.order(waiting);

    expect(log.state.authors.get("example.org/operator/alice")).toMatchObject({ sequence: next, open: [] });
    expect(refusalOf(log, waiting)).toBe("replayed");
  });

  test("only so many numbers stay usable: what is far below the last is replayed", () => {
    const log = busyLog();
    const last = lastOf(log);

    log.put("rule.put", rule(), { sequence: 2 ** 52 });

    expect(refusal(log, "rule.put", rule(), { sequence: last + 1 })).toBe("replayed");
    expect(refusal(log, "rule.put", rule(), { sequence: 2 ** 52 - 65 })).toBe("replayed");
    log.put("rule.put", rule(), { sequence: 2 ** 52 - 64 });
    expect(log.state.authors.get("example.org/operator/alice")?.open).toHaveLength(63);
  });

  test("an entry that was signed and not ordered in time has no effect: expired", () => {
    const log = busyLog();
    const expiresAtSeconds = foundedAtSeconds + 600;
    const [inTime, late] = [1, 2].map((ahead) =>
      log.entry("rule.put", rule(), { expiresAtSeconds, sequence: lastOf(log) + ahead }),
    );
    log.put("epoch", log.epochBody(600));
    expect(log.order(inTime ?? new Uint8Array(0))).toMatchObject({ value: { hasEffect: true } });

    log.put("epoch", log.epochBody(1));

    expect(refusalOf(log, late ?? new Uint8Array(0))).toBe("expired");
  });

  test("an operator may remove the own key while others remain", () => {
    const log = busyLog();

    log.put("key.remove", { name: "example.org/operator/alice" });

    expect(log.state.authors.get("example.org/operator/alice")?.isRemoved).toBe(true);
    expect(refusal(log, "rule.put", rule())).toBe("unknown-author");
  });
});

describe("several signatures", () => {
  function twoOfThree(kind = "authority.put"): SmallTrustLog {
    const log = busyLog();
    log.put("authority.put", { kinds: [kind], grant: { role: "operator", signatures: 2, approvals: 0 } });
    return log;
  }
  const back = { kinds: ["authority.put"], grant: { role: "operator", signatures: 1, approvals: 0 } };

  test("one of two is not enough, two are", () => {
    const log = twoOfThree();
    const [alice, bob] = log.operators;

    expect(refusal(log, "authority.put", back)).toBe("unauthorised");
    expect(refusal(log, "authority.put", back, { by: [alice, alice] })).toBe("malformed-entry");
    expect(refusal(log, "authority.put", back, { by: [alice, signerNamed(alice.name)] })).toBe(
      "malformed-entry",
    );
    expect(refusal(log, "authority.put", back, { by: [alice, log.issuer] })).toBe("unauthorised");
    expect(refusal(log, "authority.put", back, { by: [alice, { ...alice, name: bob.name }] })).toBe(
      "bad-signature",
    );
    log.put("authority.put", back, { by: [bob, alice] });
  });

  test("all three count where three are asked for, and a removed one does not", () => {
    const log = busyLog();
    log.put("authority.put", {
      kinds: ["rule.put"],
      grant: { role: "operator", signatures: 2, approvals: 0 },
    });
    const [alice, bob, carol] = log.operators;
    log.put("key.remove", { name: "example.org/operator/carol" }, { by: [alice, bob] });

    expect(refusal(log, "rule.put", rule(), { by: [alice, carol] })).toBe("unauthorised");
    log.put("rule.put", rule(), { by: [alice, bob] });
  });

  test.each(["authority.put", "rule.put", "node.invite"])(
    "where %s takes two operators, one cannot make a second of the own, nor lower what it takes",
    (kind) => {
      const log = twoOfThree(kind);
      const sock = signerNamed("example.org/operator/sock-puppet");
      const puppet = { name: sock.name, role: "operator", publicKey: keyTextOf(sock) };

      expect(refusal(log, "key.put", puppet)).toBe("unauthorised");
      expect(
        refusal(log, "authority.put", {
          kinds: [kind],
          grant: { role: "operator", signatures: 1, approvals: 0 },
        }),
      ).toBe("unauthorised");
      expect(
        refusal(log, "authority.put", {
          kinds: [kind],
          grant: { role: "issuer", signatures: 1, approvals: 0 },
        }),
      ).toBe("unauthorised");
      log.put("key.put", puppet, { by: [log.operators[0], log.operators[1]] });
    },
  );

  test("where a kind takes an approval, it takes another person's, and an approver's only", () => {
    const log = busyLog();
    const [alice, bob] = log.operators;
    const [dave, erin] = [signerNamed("example.org/approver/dave"), signerNamed("example.org/approver/erin")];
    for (const signer of [dave, erin])
      log.put("key.put", { name: signer.name, role: "approver", publicKey: keyTextOf(signer) });
    const grant = { role: "operator", signatures: 1, approvals: 1 };
    log.put("authority.put", { kinds: ["rule.put"], grant });

    expect(refusal(log, "rule.put", rule())).toBe("unauthorised");
    expect(refusal(log, "rule.put", rule(), { by: [alice, bob] })).toBe("unauthorised");
    expect(refusal(log, "rule.put", rule(), { by: [dave, erin] })).toBe("unauthorised");
    expect(refusal(log, "rule.put", rule(), { by: [alice, log.issuer] })).toBe("unauthorised");
    expect(refusal(log, "service.remove", { name: "/shop" }, { by: [alice, dave] })).toBe("unauthorised");
    log.put("rule.put", rule(), { by: [alice, dave] });
  });

  test("one person cannot take the approvers out of the way of a kind that needs them", () => {
    const log = busyLog();
    const [alice] = log.operators;
    const approvers = [signerNamed("example.org/approver/dave"), signerNamed("example.org/approver/erin")];
    for (const { name, publicKey } of approvers)
      log.put("key.put", {
        name,
        role: "approver",
        publicKey: keyTextOf({ name, publicKey, privateKey: alice.privateKey }),
      });
    const grant = { role: "operator", signatures: 1, approvals: 1 };
    log.put("authority.put", { kinds: ["rule.put"], grant });

    expect(refusal(log, "key.remove", { name: "example.org/approver/erin" })).toBe("unauthorised");
    const puppet = signerNamed("example.org/approver/puppet");
    expect(
      refusal(log, "key.put", { name: puppet.name, role: "approver", publicKey: keyTextOf(puppet) }),
    ).toBe("unauthorised");
    expect(refusal(log, "authority.put", { kinds: ["rule.put"], grant: { ...grant, approvals: 0 } })).toBe(
      "unauthorised",
    );
  });

  test("more signatures than a grant asks for do no harm", () => {
    const log = busyLog();

    log.put("rule.put", rule(), { by: log.operators });

    expect(log.state.authors.get("example.org/operator/bob")?.sequence).toBe(0);
  });
});

describe("locking everybody out", () => {
  test("is refused where a grant asks for more keys than there are", () => {
    const log = busyLog();

    for (const grant of [
      { role: "operator", signatures: 4, approvals: 0 },
      { role: "issuer", signatures: 2, approvals: 0 },
    ])
      expect(refusal(log, "authority.put", { kinds: ["authority.put"], grant })).toBe("conflict");
    log.put("authority.put", {
      kinds: ["authority.put"],
      grant: { role: "operator", signatures: 3, approvals: 0 },
    });
    for (const { name } of [log.operators[2], log.issuer, log.sequencer])
      expect(refusal(log, "key.remove", { name }, { by: log.operators })).toBe("conflict");
  });

  test("is refused where a grant asks for more approvals than there are approvers", () => {
    const log = busyLog();
    const grant = { role: "operator", signatures: 1, approvals: 1 };

    expect(refusal(log, "authority.put", { kinds: ["rule.put"], grant })).toBe("conflict");
  });

  test("is refused for all kinds of an entry where one of them would be lost", () => {
    const log = busyLog();
    const before = log.state.digest();

    const body = { kinds: ["rule.put", "key.put"], grant: { role: "issuer", signatures: 1, approvals: 0 } };

    expect(refusal(log, "authority.put", body)).toBe("conflict");
    expect(log.state.digest()).toBe(before);
  });

  test("is refused for a kind that had no grant before as well", () => {
    const log = busyLog();

    const body = { kinds: ["future.kind"], grant: { role: "issuer", signatures: 2, approvals: 0 } };

    expect(refusal(log, "authority.put", body)).toBe("conflict");
    expect(log.state.authority.has("future.kind")).toBe(false);
  });
});

describe("conflicts", () => {
  const rows: readonly (readonly [string, string, (log: SmallTrustLog) => JsonObject])[] = [
    ["epoch", "skips a number", (log) => ({ ...log.epochBody(), number: 2 })],
    ["epoch", "goes back in time", (log) => log.epochBody(-1)],
    ["epoch", "speaks for another size", (log) => ({ ...log.epochBody(), size: log.entries.length - 1 })],
    [
      "key.put",
      "gives a name again",
      () => ({
        name: "example.org/operator/bob",
        role: "operator",
        publicKey: keyTextOf(signerNamed("example.org/operator/bob")),
      }),
    ],
    ["key.remove", "removes an unknown name", () => ({ name: "example.org/operator/nobody" })],
    ["ca.trust", "trusts what is trusted", () => ({ certificate: trustedRoot })],
    ["ca.issue", "shows what is known", () => ({ certificate: shownAuthority })],
    ["ca.issue", "shows what is trusted", () => ({ certificate: trustedRoot })],
    ["service.remove", "removes an unknown service", () => ({ name: "/nothing" })],
    ["rule.remove", "removes an unknown rule", () => ({ from: "/pay", to: "/shop" })],
    [
      "node.invite",
      "gives an invitation's key again",
      () => ({
        node: "edge-3",
        inviteKey: keyTextOf(invite),
        expiresAtSeconds: foundedAtSeconds + 60,
      }),
    ],
    [
      "node.invite",
      "has expired",
      () => ({
        node: "edge-3",
        inviteKey: keyTextOf(signerNamed("invite")),
        expiresAtSeconds: foundedAtSeconds - 1,
      }),
    ],
    [
      "node.join",
      "has no invitation",
      (log) => joinBody(log.genesis, signerNamed("invite"), "edge-2", keyTextOf(signerNamed("edge-2"))),
    ],
    [
      "node.join",
      "has an invitation for another node",
      (log) => joinBody(log.genesis, invite, "edge-3", keyTextOf(signerNamed("edge-3"))),
    ],
    [
      "node.join",
      "claims the key of another node",
      (log) => joinBody(log.genesis, invite, "edge-2", log.state.nodes.get("edge-1")?.nodeKey ?? ""),
    ],
    ["node.remove", "removes an unknown node", () => ({ node: "edge-9" })],
    ["node.zone", "places an unknown node", () => ({ node: "edge-9", zone: "west" })],
    ["traffic.put", "is about an unknown service", () => traffic({ service: "/nothing" })],
    ["traffic.remove", "removes what is not there", () => ({ service: "/shop" })],
    ["instance.register", "has an unknown service", () => registration({ service: "/nothing" })],
    ["instance.register", "has an unknown node", () => registration({ node: "edge-9" })],
    ["instance.register", "takes an id again", () => registration({ instance })],
    ["instance.remove", "removes an unknown instance", () => ({ instance: otherInstance })],
    ["instance.drain", "drains an unknown instance", () => ({ instance: otherInstance })],
    ["instance.resume", "resumes an unknown instance", () => ({ instance: otherInstance })],
    ["instance.resume", "resumes what does not drain", () => ({ instance })],
    ["log.recover", "skips a generation", (log) => ({ ...recovery(log), generation: 3 })],
    ["log.recover", "stands elsewhere", (log) => ({ ...recovery(log), size: log.tree.size - 1 })],
    [
      "log.recover",
      "names another tree",
      (log) => ({ ...recovery(log), root: base64Of(log.tree.root(log.tree.size - 1)) }),
    ],
    [
      "svid.issue",
      "ends more than a day after the present epoch",
      () =>
        issuance({
          certificate: "cd".repeat(32),
          notBeforeSeconds: foundedAtSeconds + 3 * 86_400,
          notAfterSeconds: foundedAtSeconds + 3 * 86_400 + 3600,
        }),
    ],
    ["svid.issue", "has a certificate that is known", () => issuance()],
    [
      "svid.issue",
      "has an unknown instance",
      () => issuance({ certificate: "cd".repeat(32), instance: otherInstance }),
    ],
    [
      "svid.issue",
      "names another service",
      () => issuance({ certificate: "cd".repeat(32), spiffeId: "spiffe://example.org/pay" }),
    ],
    [
      "svid.issue",
      "names the service of another trust domain",
      () => issuance({ certificate: "cd".repeat(32), spiffeId: "spiffe://example.net/shop" }),
    ],
    [
      "svid.issue",
      "names a path below the service",
      () => issuance({ certificate: "cd".repeat(32), spiffeId: "spiffe://example.org/shop/admin" }),
    ],
    [
      "svid.issue",
      "ends before it begins",
      () => issuance({ certificate: "cd".repeat(32), notBeforeSeconds: foundedAtSeconds + 3601 }),
    ],
    [
      "svid.issue",
      "has expired",
      () =>
        issuance({
          certificate: "cd".repeat(32),
          notBeforeSeconds: foundedAtSeconds - 60,
          notAfterSeconds: foundedAtSeconds - 1,
        }),
    ],
  ];
  const log = busyLog();
  test.each(rows)("%s that %s has no effect: conflict", (kind, _, body) => {
    expect(refusal(log, kind, body(log))).toBe("conflict");
  });

  test("an instance may not register on a node that its service does not allow: conflict", () => {
    const log = busyLog();
    log.putNode("edge-4");

    expect(refusal(log, "instance.register", registration({ node: "edge-4" }))).toBe("conflict");
    log.put("instance.register", registration({ node: "edge-4", service: "/pay" }));
  });
});

describe("bodies that are refused", () => {
  const key = keyTextOf(signerNamed("any"));
  const rows: readonly (readonly [string, string, JsonObject])[] = [
    [
      "authority.put",
      "an unknown role",
      { kinds: ["rule.put"], grant: { role: "root", signatures: 1, approvals: 0 } },
    ],
    [
      "authority.put",
      "a kind twice",
      { kinds: ["rule.put", "rule.put"], grant: { role: "operator", signatures: 1, approvals: 0 } },
    ],
    ["authority.put", "no kind", { kinds: [], grant: { role: "operator", signatures: 1, approvals: 0 } }],
    [
      "authority.put",
      "no signature",
      { kinds: ["rule.put"], grant: { role: "operator", signatures: 0, approvals: 0 } },
    ],
    [
      "authority.put",
      "a grant of genesis",
      { kinds: ["genesis"], grant: { role: "operator", signatures: 1, approvals: 0 } },
    ],
    [
      "authority.put",
      "__proto__",
      { kinds: ["__proto__"], grant: { role: "operator", signatures: 1, approvals: 0 } },
    ],
    ["key.put", "a name that cannot stand in a note", { name: "a b", role: "operator", publicKey: key }],
    ["key.put", "a name beyond ASCII", { name: "ä", role: "operator", publicKey: key }],
    [
      "key.put",
      "a key of 31 bytes",
      { name: "a", role: "operator", publicKey: Buffer.alloc(31).toString("base64") },
    ],
    [
      "key.put",
      "a key in another spelling",
      { name: "a", role: "operator", publicKey: key.replace("=", "") },
    ],
    ["ca.trust", "a certificate over 8192 bytes", { certificate: Buffer.alloc(8193).toString("base64") }],
    ["service.put", "the mesh's own prefix", serviceBody("/troth")],
    ["service.put", "a prefix below the mesh's own", serviceBody("/troth/agent")],
    ["service.put", "a path that climbs", serviceBody("/shop/../troth")],
    ["service.put", "a path that stays", serviceBody("/./troth")],
    ["service.put", "a path that ends in dots", serviceBody("/shop/..")],
    ["service.put", "an empty component", serviceBody("/shop//pay")],
    ["service.put", "a slash at the end", serviceBody("/shop/")],
    ["service.put", "a line end at the end", serviceBody("/shop\n")],
    ["service.put", "17 components", serviceBody("/a".repeat(17))],
    ["service.put", "no node", serviceBody("/shop", [])],
    ["service.put", "a pattern as its node", serviceBody("/shop", ["edge-*"])],
    ["service.put", "a data class that is none", { ...serviceBody("/shop"), dataClass: "secret" }],
    [
      "service.put",
      "17 labels",
      {
        ...serviceBody("/shop"),
        labels: Object.fromEntries(Array.from({ length: 17 }, (_, at) => [`l${at}`, "x"])),
      },
    ],
    ["rule.put", "a star inside", rule({ to: "/a/*/b" })],
    ["rule.put", "a star in a component", rule({ to: "/a*" })],
    ["rule.put", "a blank in a pattern", rule({ from: "/a /b" })],
    ["rule.put", "a method in small letters", rule({ methods: ["get"] })],
    ["rule.put", "an effect that is none", rule({ effect: "maybe" })],
    ...["/a b", "a", "", "//", "/a//b", "/./a", "/a/..", "/a/..;x/b", "/a?b", "/a#b", "/%7Ea", "/%c3%a4"]
      .concat(["/a%2Fb", "/a%5Cb", "/%00", "/%C3", "/%", "/a\\b", "/ä"])
      .map((path) => ["rule.put", `the path ${path}`, rule({ paths: ["/a", path] })] as const),
    ["key.put", "no person in its name", { name: "example.org/operator/", role: "operator", publicKey: key }],
    [
      "key.put",
      "a person in capitals",
      { name: "example.org/operator/Dave", role: "operator", publicKey: key },
    ],
    ["key.put", "a person of two parts", { name: "example.org/viewer/a/b", role: "viewer", publicKey: key }],
    [
      "key.put",
      "another role in its name",
      { name: "example.org/operator/x", role: "approver", publicKey: key },
    ],
    ["key.put", "another trust domain", { name: "example.net/operator/x", role: "operator", publicKey: key }],
    [
      "key.put",
      "a person's name for a machine",
      { name: "example.org/auditor/x", role: "issuer", publicKey: key },
    ],
    ["ca.trust", "bytes that are no certificate", { certificate: Buffer.alloc(64, 1).toString("base64") }],
    ["ca.trust", "the certificate of no authority", { certificate: leafCertificate }],
    ["node.invite", "a name that is no DNS label", { node: "Edge", inviteKey: key, expiresAtSeconds: 1 }],
    [
      "node.invite",
      "a time after the year 9999",
      { node: "e", inviteKey: key, expiresAtSeconds: 253_402_300_800 },
    ],
    ["instance.register", "an instance in capitals", registration({ instance: instance.replace("8", "A") })],
    [
      "svid.issue",
      "more than 24 hours",
      issuance({
        certificate: "cd".repeat(32),
        notAfterSeconds: foundedAtSeconds + day + 61,
      }),
    ],
  ];
  const log = busyLog();
  test("a recovery with the key of another generation, or of another log: malformed-body", () => {
    for (const name of ["example.org/trust-log", "example.org/trust-log-3", "example.net/trust-log-2"])
      expect(
        refusal(log, "log.recover", { ...recovery(log), logKey: verifierKeyOf(signerNamed(name)) }),
      ).toBe("malformed-body");
    expect(refusal(log, "log.recover", { ...recovery(log), logKey: "example.org/trust-log-2" })).toBe(
      "malformed-body",
    );
  });

  test.each(rows)("%s with %s: malformed-body", (kind, _, body) => {
    expect(refusal(log, kind, body)).toBe("malformed-body");
  });

  test("hostile texts of full length are judged in a moment", () => {
    const long = [`${"/a".repeat(14_000)}!`, `/${"a-".repeat(14_000)}!`, `/${".".repeat(28_000)}`];
    const started = process.cpuUsage();

    for (const name of long) {
      expect(refusal(log, "service.put", serviceBody(name))).toBe("malformed-body");
      expect(refusal(log, "rule.put", rule({ from: name, to: name }))).toBe("malformed-body");
      expect(refusal(log, "service.put", { ...serviceBody("/a"), team: name.slice(1) })).toBe(
        "malformed-body",
      );
      expect(refusal(log, "node.remove", { node: name })).toBe("malformed-body");
      expect(
        refusal(log, "authority.put", {
          kinds: [name],
          grant: { role: "operator", signatures: 1, approvals: 0 },
        }),
      ).toBe("malformed-body");
    }

    expect(process.cpuUsage(started).user).toBeLessThan(2_000_000);
  });

  test("__proto__ among labels gets into no row", () => {
    const log = busyLog();
    const text = Buffer.from(log.entry("service.put", serviceBody("/proto"))).toString();
    const json = (text.split("\n")[1] ?? "").replace('"labels":{}', '"labels":{"__proto__":"x"}');
    const entry = signNote(`troth entry v1\n${json}\n`, [log.operators[0]]);

    expect(log.order(entry)).toMatchObject({ value: { hasEffect: true } });
    expect(log.state.services.get("/proto")?.labels).toStrictEqual({});
  });
});

describe("certificate authorities", () => {
  test("an operator may trust what an issuer has shown, and an issuer cannot take that back", () => {
    const log = busyLog();

    log.put("ca.trust", { certificate: shownAuthority });

    expect(log.state.certificateAuthorities.size).toBe(2);
    expect([...log.state.certificateAuthorities.entries()].every(([, row]) => row.isTrusted)).toBe(true);
    expect(refusal(log, "ca.issue", { certificate: shownAuthority })).toBe("conflict");
  });

  test("as many are trusted as a bundle holds; one more would take the others with it: conflict", () => {
    const log = busyLog();

    for (let count = 2; count <= bundleAuthoritiesMax; count += 1)
      log.put("ca.trust", { certificate: authorityNamed(`root ${count}`) });

    expect(refusal(log, "ca.trust", { certificate: authorityNamed("one more") })).toBe("conflict");
    log.put("ca.issue", { certificate: authorityNamed("shown") });
  });
});

describe("invitations", () => {
  test("work once, for the node and the key that the invitation's key signed", () => {
    const log = busyLog();
    const node = signerNamed("edge-2");
    const body = joinBody(log.genesis, invite, "edge-2", keyTextOf(node));

    expect(refusal(log, "node.join", { ...body, nodeKey: keyTextOf(signerNamed("edge-2")) })).toBe(
      "malformed-body",
    );
    expect(refusal(log, "node.join", { ...body, proof: Buffer.alloc(64).toString("base64") })).toBe(
      "malformed-body",
    );
    const elsewhere = joinBody(new SmallTrustLog().genesis, invite, "edge-2", keyTextOf(node));
    expect(refusal(log, "node.join", elsewhere)).toBe("malformed-body");
    log.put("node.join", body);

    expect(log.state.nodes.get("edge-2")).toEqual({ nodeKey: keyTextOf(node) });
    expect(refusal(log, "node.join", body)).toBe("conflict");
  });

  test("work until the second they name, by epoch time, and not after", () => {
    const log = busyLog();
    const body = joinBody(log.genesis, invite, "edge-2", keyTextOf(signerNamed("edge-2")));

    log.putEpoch(600);
    expect(log.state.invites.size).toBe(1);
    log.putEpoch(1);

    expect(log.state.invites.size).toBe(0);
    expect(refusal(log, "node.join", body)).toBe("conflict");
  });

  test("that are open when their node is removed are gone with it", () => {
    const log = busyLog();
    const again = signerNamed("invite");
    const inviteKey = keyTextOf(again);
    log.put("node.invite", { node: "edge-1", inviteKey, expiresAtSeconds: foundedAtSeconds + 600 });

    log.put("node.remove", { node: "edge-1" });

    const body = joinBody(log.genesis, again, "edge-1", keyTextOf(signerNamed("edge-1")));
    expect(refusal(log, "node.join", body)).toBe("conflict");
  });

  test("of a node that never joined can be called back", () => {
    const log = busyLog();

    log.put("node.remove", { node: "edge-2" });

    expect(log.state.invites.size).toBe(0);
  });
});

describe("what goes with what is removed", () => {
  test.each([
    ["service.remove", { name: "/shop" }],
    ["node.remove", { node: "edge-1" }],
    ["instance.remove", { instance }],
    ["service.put", serviceBody("/shop", ["edge-7"])],
  ])("%s takes instances and their certificates along", (kind, body) => {
    const log = busyLog();
    log.put("instance.register", registration({ service: "/pay" }));
    const spiffeId = "spiffe://example.org/pay";
    log.put("svid.issue", issuance({ instance: otherInstance, certificate: "cd".repeat(32), spiffeId }));

    log.put(kind, body);

    expect(log.state.instances.has(instance)).toBe(false);
    expect(log.state.certificates.has(certificate)).toBe(false);
    expect(log.state.instances.has(otherInstance)).toBe(kind !== "node.remove");
    expect(log.state.certificates.has("cd".repeat(32))).toBe(kind !== "node.remove");
  });

  test("a traffic policy goes with its service, and a zone with its node", () => {
    const log = busyLog();
    const before = log.state.digest();
    log.put("traffic.put", traffic());
    log.put("node.zone", { node: "edge-1", zone: "west" });
    expect(log.state.digest()).not.toBe(before);

    log.put("service.remove", { name: "/shop" });
    log.put("node.remove", { node: "edge-1" });

    expect([log.state.traffic.size, log.state.zones.size]).toEqual([0, 0]);
  });

  test("a node leaves its zone for none, after which the digest is one that followers without zones know", () => {
    const { state } = busyLog();
    const before = state.digest();

    state.zones.set("edge-1", { zone: "west" });
    expect(state.digest()).not.toBe(before);
    state.zones.delete("edge-1");

    expect(state.digest()).toBe(before);
    const log = busyLog();
    log.put("node.zone", { node: "edge-1", zone: "west" });
    log.put("node.zone", { node: "edge-1", zone: "" });
    expect(log.state.zones.size).toBe(0);
  });

  test("a TCP service has no timeouts, retries or routes of requests: malformed-body", () => {
    const log = busyLog();

    expect(refusal(log, "traffic.put", traffic({ protocol: "tcp" }))).toBe("malformed-body");
    const plain = { service: "/shop", protocol: "tcp", routes: [] };
    expect(refusal(log, "traffic.put", { ...plain, timeoutMillis: 0 })).toBe("malformed-body");
    expect(refusal(log, "traffic.put", { ...plain, retryBudgetPercent: 20 })).toBe("malformed-body");
    log.put("traffic.put", plain);
  });

  test("a service is not its own mirror: malformed-body", () => {
    const log = busyLog();
    const mirrorTo = (to: string): JsonObject =>
      traffic({ routes: [{ methods: [], paths: [], mirror: { to, percent: 1 } }] });

    expect(refusal(log, "traffic.put", mirrorTo("/shop"))).toBe("malformed-body");
    expect(refusal(log, "traffic.put", mirrorTo("/nothing"))).toBe("conflict");
    log.put("traffic.put", mirrorTo("/pay"));
  });

  test.each([
    ["methods", { methods: ["GET"], paths: [] }],
    ["paths", { methods: [], paths: ["/"] }],
  ])("a rule with %s is none for a TCP service, and one that has it keeps a service from TCP", (_, part) => {
    const log = busyLog();
    const tcp = { service: "/shop", protocol: "tcp", routes: [] };
    const narrow = rule({ to: "/shop", from: "/pay", ...part });

    log.put("rule.put", narrow);
    expect(refusal(log, "traffic.put", tcp)).toBe("conflict");
    log.put("rule.put", rule({ to: "/shop", from: "/pay", methods: [], paths: [] }));
    log.put("rule.put", { ...narrow, to: "/*" });
    log.put("traffic.put", tcp);

    expect(refusal(log, "rule.put", narrow)).toBe("conflict");
    expect(refusal(log, "rule.put", { ...narrow, effect: "deny" })).toBe("conflict");
    log.put("rule.put", { ...narrow, to: "/pay" });
    log.put("traffic.remove", { service: "/shop" });
    log.put("rule.put", narrow);
  });

  test("an instance that drains does so until it is resumed", () => {
    const log = busyLog();

    log.put("instance.drain", { instance });
    expect(log.state.instances.get(instance)?.isDraining).toBe(true);
    expect(refusal(log, "instance.drain", { instance })).toBe("conflict");
    log.put("instance.resume", { instance });

    expect(log.state.instances.get(instance)?.isDraining).toBe(false);
  });

  test("a service put again with the same nodes keeps its instances", () => {
    const log = busyLog();

    log.put("service.put", { ...serviceBody("/shop", ["edge-1", "edge-5"]), dataClass: "restricted" });

    expect(log.state.services.get("/shop")?.dataClass).toBe("restricted");
    expect(log.state.certificates.has(certificate)).toBe(true);
  });
});

describe("epochs", () => {
  test("forget certificates past their time, and instances that have had none for an hour", () => {
    const log = busyLog();
    log.put("instance.register", registration());

    log.putEpoch(3600);
    expect([log.state.certificates.size, log.state.instances.size]).toEqual([1, 2]);
    log.putEpoch(1);

    expect(log.state.certificates.size).toBe(0);
    expect(log.state.instances.size).toBe(0);
    expect(log.state.genesis).toMatchObject({ epochNumber: 2, epochTimeSeconds: foundedAtSeconds + 3601 });
  });

  test("keep an instance for as long as it has a certificate", () => {
    const log = busyLog();
    log.put(
      "svid.issue",
      issuance({ certificate: "cd".repeat(32), notAfterSeconds: foundedAtSeconds + day }),
    );

    log.putEpoch(day);

    expect([...log.state.certificates.entries()].map(([id]) => id)).toEqual(["cd".repeat(32)]);
    expect(log.state.instances.has(instance)).toBe(true);
  });

  test("with another state's digest stop the fold: state-digest-mismatch", () => {
    const log = busyLog();
    const stateDigest = new TrustState().digest();

    expect(refusal(log, "epoch", { ...log.epochBody(), stateDigest })).toBe("stop: state-digest-mismatch");
  });

  test("written at one size have no effect at another", () => {
    const log = busyLog();
    const entry = log.entry("epoch", log.epochBody());
    log.order(bytesOf("noise"));

    expect(refusalOf(log, entry)).toBe("conflict");
  });
});

describe("what this software does not know", () => {
  test("stops the fold when written by those who may write it, and has no effect otherwise", () => {
    const log = busyLog();
    log.put("authority.put", {
      kinds: ["future.kind"],
      grant: { role: "operator", signatures: 1, approvals: 0 },
    });

    expect(refusal(log, "future.kind", {}, { by: [log.issuer] })).toBe("unauthorised");
    expect(refusal(log, "future.kind", {}, { by: [signerNamed("example.org/operator/alice")] })).toBe(
      "bad-signature",
    );
    expect(refusal(log, "future.kind", {})).toBe("stop: unknown-kind");
  });

  test("stops the fold in a later version of a known kind, from its author alone", () => {
    const log = busyLog();

    expect(refusal(log, "rule.put", rule(), { version: 2, by: [log.issuer] })).toBe("unauthorised");
    expect(refusal(log, "rule.put", rule(), { version: 2, sequence: 0 })).toBe("replayed");
    expect(refusal(log, "rule.put", rule(), { version: 2 })).toBe("stop: unknown-kind");
    expect(refusal(log, "rule.put", rule(), { version: 0 })).toBe("stop: unknown-kind");
  });
});

describe("genesis", () => {
  const log = new SmallTrustLog();
  const parsed = parseEntry(log.entries[0] ?? bytesOf(""));
  if (!parsed.ok) throw new Error(parsed.detail);
  const { statement } = parsed.value;
  const { body } = statement;
  const [alice, bob, carol] = log.operators;
  const keys = [...log.operators].map((key) => ({
    name: key.name,
    role: "operator",
    publicKey: keyTextOf(key),
  }));
  const grant = { role: "operator", signatures: 1, approvals: 0 };

  const rows: readonly (readonly [string, string, Partial<EntryStatement>, (readonly NoteSigner[])?])[] = [
    ["bad-genesis", "another kind", { kind: "epoch" }],
    ["bad-genesis", "another version", { version: 2 }],
    ["bad-genesis", "the name of a log", { log: log.genesis }],
    ["bad-genesis", "a body that is none", { body: {} }],
    ["bad-genesis", "a key too many in its body", { body: { ...body, extra: 1 } }],
    ["bad-genesis", "an operator who did not sign", {}, [alice, bob]],
    ["bad-genesis", "an operator for whom somebody else signed", {}, [alice, bob, signerNamed(carol.name)]],
    [
      "bad-genesis",
      "a name that stands twice",
      { body: { ...body, keys: keys.concat(keys), authority: {} } },
    ],
    [
      "bad-genesis",
      "a key under two names",
      { body: { ...body, keys: [...keys, { ...keys[0], name: "example.org/alias" }], authority: {} } },
      [alice, bob, carol, { ...alice, name: "example.org/alias" }],
    ],
    [
      "bad-genesis",
      "a person's key not named for its role",
      { body: { ...body, keys: [{ ...keys[0], name: "example.org/alice" }], authority: {} } },
      [{ ...alice, name: "example.org/alice" }],
    ],
    [
      "bad-genesis",
      "a power for a machine",
      { body: { ...body, authority: { "log.recover": { ...grant, role: "issuer" } } } },
    ],
    ["bad-genesis", "no key", { body: { ...body, keys: [] } }],
    [
      "bad-genesis",
      "a grant that nobody can meet",
      { body: { ...body, keys, authority: { "rule.put": { ...grant, signatures: 4 } } } },
    ],
    ["bad-genesis", "a grant to a role without keys", { body: { ...body, keys } }],
    ["bad-genesis", "a log key that is none", { body: { ...body, logKey: "example.org" } }],
    ["bad-genesis", "a short salt", { body: { ...body, salt: "AAAA" } }],
    ["unknown-kind", "a later version of the fold", { body: { ...body, foldVersion: 3 } }],
  ];
  for (const [reason, what, changes, by = log.operators] of rows)
    test(`${reason}: a genesis with ${what} stops the fold`, () => {
      const entry = signEntry({ ...statement, ...changes }, by);

      expect(foldEntry(new TrustState(), new Frontier(), entry)).toMatchObject({ ok: false, reason });
    });

  test("stops the fold when it is no entry: bad-genesis", () => {
    expect(foldEntry(new TrustState(), new Frontier(), bytesOf("hello"))).toMatchObject({
      ok: false,
      reason: "bad-genesis",
    });
  });

  test("names authors, grants and the domain", () => {
    const state = new TrustState();

    foldEntry(state, new Frontier(), log.entries[0] ?? bytesOf(""));

    expect(state.authors.size).toBe(6);
    expect([...state.authority.entries()].map(([kind]) => kind).every(isEntryKind)).toBe(true);
    expect(state.genesis).toMatchObject({ genesis: log.genesis, trustDomain: "example.org", epochNumber: 0 });
  });

  test("an entry before genesis has no effect: other-log", () => {
    const entry = log.entry("rule.put", rule());

    expect(foldEntry(new TrustState(), log.tree, entry)).toMatchObject({
      value: { hasEffect: false, reason: "other-log" },
    });
  });
});

describe("whatever is ordered", () => {
  const bodies = fc.constantFrom(...kinds);
  const values = fc.oneof(
    fc.string(),
    fc.maxSafeInteger(),
    fc.constantFrom(null, true, [], {}, "/shop", "edge-1"),
  );
  const step = fc.record({
    kind: fc.constantFrom(...kinds, "genesis", "future.kind"),
    /** Whose body is sent under that kind; mostly the right one. */
    bodyKind: rarely(bodies),
    changes: rarely(fc.dictionary(fc.constantFrom("name", "node", "kind", "number", "extra"), values)),
    authors: rarely(fc.array(fc.nat(7), { minLength: 1, maxLength: 3 })),
    sequence: rarely(fc.nat(40)),
    isOfOtherLog: fc.integer({ min: 0, max: 9 }).map((one) => one === 0),
  });

  test("an entry without effect, or that stops the fold, leaves the state as it was", () => {
    const seen = new Set<string>();
    fc.assert(
      fc.property(fc.array(step, { minLength: 30, maxLength: 40 }), (steps) => {
        const log = busyLog();
        const signers = [...log.operators, log.issuer, log.sequencer, log.server, log.logKey, invite];
        for (const { kind, bodyKind, changes, authors, sequence, isOfOtherLog } of steps) {
          const by = authors?.map((at) => signers[at] ?? invite);
          const entry = log.entry(
            kind,
            { ...bodyOf(bodyKind ?? kind, log), ...changes },
            {
              ...(by === undefined ? {} : { by }),
              ...(sequence === undefined ? {} : { sequence }),
              ...(isOfOtherLog ? { log: "AAAA" } : {}),
            },
          );
          const before = log.state.digest();
          const outcome = log.order(entry);
          seen.add(!outcome.ok ? outcome.reason : outcome.value.hasEffect ? "effect" : outcome.value.reason);
          if (!outcome.ok || !outcome.value.hasEffect) expect(log.state.digest()).toBe(before);
        }
      }),
      { numRuns: 12 },
    );
    for (const reason of ["effect", "malformed-body", "unauthorised", "replayed", "conflict", "other-log"])
      expect(seen).toContain(reason);
  });
});

function rarely<Value>(values: fc.Arbitrary<Value>): fc.Arbitrary<Value | undefined> {
  return fc.oneof({ weight: 5, arbitrary: fc.constant(undefined) }, { weight: 1, arbitrary: values });
}

function lastOf(log: SmallTrustLog): number {
  return log.state.authors.get("example.org/operator/alice")?.sequence ?? 0;
}
