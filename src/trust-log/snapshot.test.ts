import { beforeEach, describe, expect, test } from "vitest";
import {
  foundedAtSeconds,
  keyTextOf,
  SmallTrustLog,
  serviceBody,
  signerNamed,
  type Unusual,
} from "../../test/fakes/small-trust-log.ts";
import { bytesOf } from "../base/bytes.ts";
import { parseEntry, signEntry } from "./entry.ts";
import { foldEntry } from "./fold.ts";
import { LogFollower } from "./follower.ts";
import { Frontier } from "./merkle-tree.ts";
import { formatSnapshot, type PresentedSnapshot, type ReadSnapshot, readSnapshot } from "./snapshot.ts";
import { TrustState } from "./trust-state.ts";

let log: SmallTrustLog;
beforeEach(() => {
  log = new SmallTrustLog();
  log.put("service.put", serviceBody("/shop", ["edge-1"]));
  log.put("service.put", serviceBody("/pay"));
  log.putNode("edge-1");
  log.putEpoch();
  log.put("rule.put", { from: "/*", to: "/pay", effect: "allow", methods: [], paths: [] });
});

/** Writes the log's state down and ends the epoch; `unusual` is how the epoch entry is. */
function takeSnapshot(unusual: Unusual & { readonly stateDigest?: string } = {}): PresentedSnapshot {
  const text = formatSnapshot(log.state, log.tree.frontier());
  const { stateDigest, ...rest } = unusual;
  const body = log.epochBody();
  const epochEntry = log.entry("epoch", stateDigest === undefined ? body : { ...body, stateDigest }, rest);
  log.order(epochEntry);
  return { text, epochEntry, genesisEntry: log.entries[0] ?? bytesOf("") };
}

function read(presented: PresentedSnapshot): ReadSnapshot {
  const snapshot = readSnapshot(presented, log.genesis);
  if (!snapshot.ok) throw new Error(`${snapshot.reason}: ${snapshot.detail}`);
  return snapshot.value;
}

function refusal(presented: PresentedSnapshot): string {
  const snapshot = readSnapshot(presented, log.genesis);
  return snapshot.ok ? "none" : snapshot.reason;
}

function replayed(): LogFollower {
  const follower = new LogFollower(log.anchor);
  follower.take(log.step(0));
  return follower;
}

describe("a snapshot", () => {
  test("gives the digest that it was taken of, and takes the same steps as a replay", () => {
    const size = log.entries.length;
    const digest = log.state.digest();
    const snapshot = read(takeSnapshot());
    expect(snapshot.state.digest()).toBe(digest);

    const follower = LogFollower.resume(log.anchor, snapshot);
    log.put("service.remove", { name: "/shop" });
    expect(follower.hasCaughtUp).toBe(false);
    expect(follower.take(log.step(size)).ok).toBe(true);
    log.putEpoch();
    expect(follower.take(log.step(follower.size)).ok).toBe(true);

    expect(follower.state.digest()).toBe(replayed().state.digest());
    expect(follower.frontier.hashes).toEqual(log.tree.frontier().hashes);
    expect(follower.hasCaughtUp).toBe(true);
  });

  test("is not changed by the follower that resumed from its edge", () => {
    const snapshot = read(takeSnapshot());
    const { size } = snapshot.frontier;

    LogFollower.resume(log.anchor, snapshot).take(log.step(size));

    expect(snapshot.frontier.size).toBe(size);
  });

  test("may hold its rows in any order", () => {
    const presented = takeSnapshot();
    const [header = "", ...rows] = presented.text.trimEnd().split("\n");

    expect(refusal({ ...presented, text: `${[header, ...rows.reverse()].join("\n")}\n` })).toBe("none");
  });
});

describe("a snapshot is refused", () => {
  const rows: readonly (readonly [string, string, (text: string) => string])[] = [
    ["malformed-snapshot", "is empty", () => ""],
    ["malformed-snapshot", "was cut off in a row", (text) => text.slice(0, -2)],
    ["malformed-snapshot", "was cut off before its last line end", (text) => text.slice(0, -1)],
    ["malformed-snapshot", "has a header that is none", (text) => text.replace(/^.*\n/, "{\n")],
    ["malformed-snapshot", "has a header that is a list", (text) => text.replace(/^.*\n/, "[]\n")],
    ["malformed-snapshot", "has no edge", (text) => text.replace(/"frontier":\[.*?\],/, "")],
    [
      "malformed-snapshot",
      "has a hash too few at its edge",
      (text) => text.replace(/"frontier":\["[^"]*",/, '"frontier":['),
    ],
    [
      "malformed-snapshot",
      "has a hash at its edge that is none",
      (text) => text.replace('"frontier":[', '"frontier":["?",'),
    ],
    [
      "malformed-snapshot",
      "has a number at its edge",
      (text) => text.replace('"frontier":[', '"frontier":[7,'),
    ],
    ["malformed-snapshot", "has another number of entries", (text) => text.replace('"size":7', '"size":8')],
    ["malformed-snapshot", "has a size as text", (text) => text.replace('"size":7', '"size":"7"')],
    ["malformed-snapshot", "has an unknown table", (text) => text.replace('["services"', '["__proto__"')],
    ["malformed-snapshot", "has a row of two", (text) => `${text}["services","/x"]\n`],
    ["malformed-snapshot", "has a row that is null", (text) => `${text}["services","/x",null]\n`],
    ["malformed-snapshot", "has a row under a number", (text) => `${text}["services",7,{}]\n`],
    ["malformed-snapshot", "has an empty line", (text) => `${text}\n`],
    [
      "malformed-snapshot",
      "has white space in a row",
      (text) => text.replace('["services",', '["services", '),
    ],
    [
      "other-fold-version",
      "is of another version of the fold",
      (text) => text.replace('"foldVersion":2', '"foldVersion":3'),
    ],
    ["other-fold-version", "has no version", (text) => text.replace('"foldVersion":2,', "")],
    ["not-committed", "has a changed row", (text) => text.replace('"allow"', '"deny"')],
    [
      "not-committed",
      "has a changed key",
      (text) => text.replace('["services","/pay"', '["services","/pax"'),
    ],
    ["not-committed", "has a row too many", (text) => `${text}["services","/x",{}]\n`],
    ["not-committed", "has a row too few", (text) => text.replace(/\["services".*\n/, "")],
    ["not-committed", "has a row in another table", (text) => text.replace('["nodes"', '["invites"')],
    ["not-committed", "has no genesis row", (text) => text.replace(/\["domain".*\n/, "")],
    [
      "not-committed",
      "has another size that fits as many hashes",
      (text) => text.replace('"size":7', '"size":11'),
    ],
  ];
  test.each(rows)("%s: when it %s", (reason, _, change) => {
    const presented = takeSnapshot();
    const text = change(presented.text);
    // The rows above speak of a tree of seven entries: three hashes at its edge.
    expect(presented.text).toContain('"size":7');
    expect(text).not.toBe(presented.text);

    expect(refusal({ ...presented, text })).toBe(reason);
  });

  test("when it is of another log: not-committed", () => {
    const presented = takeSnapshot();

    expect(readSnapshot(presented, new SmallTrustLog().genesis)).toMatchObject({ reason: "not-committed" });
    const genesisEntry = new SmallTrustLog().entries[0] ?? bytesOf("");
    expect(refusal({ ...presented, genesisEntry })).toBe("not-committed");
  });

  const committers: readonly (readonly [string, () => Unusual])[] = [
    ["an operator", () => ({ by: [log.operators[0]] })],
    ["an issuer", () => ({ by: [log.issuer] })],
    ["the log's key", () => ({ by: [log.logKey] })],
    ["the log's key in the sequencer's name", () => ({ by: [{ ...log.logKey, name: log.sequencer.name }] })],
    ["the log's key for the sequencer", () => ({ by: [log.logKey], author: log.sequencer.name })],
    ["a stranger beside the sequencer", () => ({ by: [log.sequencer, signerNamed("example.org/stranger")] })],
    ["the sequencer for another log", () => ({ log: "AAAA" })],
    ["nobody the log knows", () => ({ by: [signerNamed("example.org/sequencer-2")] })],
  ];
  test.each(committers)("when %s committed to it: not-committed", (_, unusual) => {
    expect(refusal(takeSnapshot(unusual()))).toBe("not-committed");
  });

  test("when a sequencer did whom genesis does not name: not-committed", () => {
    const second = signerNamed("example.org/sequencer-2");
    log.put("key.put", { name: second.name, role: "sequencer", publicKey: keyTextOf(second) });

    expect(refusal(takeSnapshot({ by: [second] }))).toBe("not-committed");
  });

  test("when the genesis of another log vouches for it: not-committed", () => {
    const other = new SmallTrustLog();
    const domain = other.state.genesis;
    if (domain === undefined) throw new Error("no genesis");
    other.state.domain.set("", { ...domain, genesis: log.genesis });
    const text = formatSnapshot(other.state, other.tree.frontier());
    const epochEntry = other.entry("epoch", other.epochBody());
    const genesisEntry = other.entries[0] ?? bytesOf("");

    expect(refusal({ text, epochEntry, genesisEntry })).toBe("not-committed");
  });

  test("when the entry is no epoch or none at all: not-committed", () => {
    const body = log.epochBody();
    const presented = takeSnapshot();
    const rule = log.entry("rule.put", body, { by: [log.operators[0]], sequence: 99 });
    expect(refusal({ ...presented, epochEntry: rule })).toBe("not-committed");
    const other = log.entry("service.put", serviceBody("/x"), { by: [log.sequencer] });

    expect(refusal({ ...presented, epochEntry: other })).toBe("not-committed");
    expect(refusal({ ...presented, epochEntry: bytesOf("") })).toBe("not-committed");
  });

  test("when fewer sequencers committed than genesis asks for: not-committed", () => {
    const { genesis, genesisEntry, sequencers } = twoSequencers();
    const state = new TrustState();
    foldEntry(state, new Frontier(), genesisEntry);
    const tree = log.tree.frontier(0);
    tree.append(Buffer.from(genesis, "base64"));
    const text = formatSnapshot(state, tree);
    const body = { ...log.epochBody(), number: 1, size: 1, stateDigest: state.digest() };
    const epoch = (count: number): Uint8Array =>
      signEntry(
        { kind: "epoch", version: 1, log: genesis, author: log.sequencer.name, sequence: 1, body },
        sequencers.slice(0, count),
      );

    expect(readSnapshot({ text, genesisEntry, epochEntry: epoch(1) }, genesis)).toMatchObject({
      reason: "not-committed",
    });
    expect(readSnapshot({ text, genesisEntry, epochEntry: epoch(2) }, genesis).ok).toBe(true);
  });

  function twoSequencers() {
    const second = signerNamed("example.org/sequencer-2");
    const parsed = parseEntry(log.entries[0] ?? bytesOf(""));
    if (!parsed.ok) throw new Error(parsed.detail);
    const { body } = parsed.value.statement;
    const keys = Array.isArray(body["keys"]) ? body["keys"] : [];
    const authority = Object.fromEntries(
      Object.entries(body["authority"] ?? {}).map(([kind, grant]) => [
        kind,
        kind === "epoch" ? { role: "sequencer", signatures: 2, approvals: 0 } : grant,
      ]),
    );
    const added = { name: second.name, role: "sequencer", publicKey: keyTextOf(second) };
    const statement = { ...parsed.value.statement, body: { ...body, keys: [...keys, added], authority } };
    const genesisEntry = signEntry(statement, log.operators);
    const state = new TrustState();
    foldEntry(state, new Frontier(), genesisEntry);
    return { genesis: state.genesis?.genesis ?? "", genesisEntry, sequencers: [log.sequencer, second] };
  }
});

describe("a follower that resumes from a snapshot", () => {
  test("takes no step that does not begin with the epoch that committed to it: wrong-root", () => {
    const snapshot = read(takeSnapshot());
    const { size } = snapshot.frontier;
    log.put("service.remove", { name: "/pay" });
    const follower = LogFollower.resume(log.anchor, snapshot);
    const checkpoint = log.checkpoint();
    const [, ...later] = log.entries.slice(size);

    expect(follower.take({ firstIndex: size, entries: [bytesOf("x"), ...later], checkpoint })).toMatchObject({
      reason: "wrong-root",
    });
    expect(follower.take(log.step(size, size))).toMatchObject({ reason: "wrong-root" });
    expect(follower.checkpoint).toBeUndefined();
    expect(follower.take(log.step(size)).ok).toBe(true);
  });

  test("takes no step when the log does not hold that epoch: wrong-root", () => {
    const size = log.entries.length;
    const text = formatSnapshot(log.state, log.tree.frontier());
    const epochEntry = log.entry("epoch", log.epochBody());
    log.putEpoch(20);
    const snapshot = read({ text, epochEntry, genesisEntry: log.entries[0] ?? bytesOf("") });
    const step = log.step(size);

    expect(LogFollower.resume(log.anchor, snapshot).take(step)).toMatchObject({ reason: "wrong-root" });
    expect(LogFollower.resume(log.anchor, snapshot).take({ ...step, entries: [epochEntry] })).toMatchObject({
      reason: "wrong-root",
    });
  });

  test("takes no step under another edge of the tree: wrong-root", () => {
    const presented = takeSnapshot();
    const text = presented.text.replace(/"frontier":\["./, '"frontier":["_'.replace("_", "A"));
    const changed =
      text === presented.text ? presented.text.replace('"frontier":["A', '"frontier":["B') : text;
    const follower = LogFollower.resume(log.anchor, read({ ...presented, text: changed }));

    expect(follower.take(log.step(follower.size))).toMatchObject({ reason: "wrong-root" });
  });

  test("takes no step under the log key's own order of a snapshot that no sequencer made: not-committed", () => {
    const state = new TrustState();
    foldEntry(state, new Frontier(), log.entries[0] ?? bytesOf(""));
    state.services.set("/evil", {
      nodes: ["*"],
      dataClass: "public",
      team: "",
      environment: "",
      labels: {},
    });
    const fake = signerNamed(log.sequencer.name);
    const text = formatSnapshot(state, log.tree.frontier());
    const epochEntry = log.entry(
      "epoch",
      { ...log.epochBody(), stateDigest: state.digest() },
      { by: [fake] },
    );
    log.order(epochEntry);

    const genesisEntry = log.entries[0] ?? bytesOf("");
    expect(refusal({ text, epochEntry, genesisEntry })).toBe("not-committed");
  });

  test("cannot be taken back by an old epoch entry that the log's key orders once more", () => {
    const old = takeSnapshot();
    log.put("service.remove", { name: "/pay" });
    const edge = log.tree.frontier();
    log.order(old.epochEntry);
    // The state of then at the edge of now; the log holds the old epoch entry there, without effect.
    const header = JSON.stringify({
      foldVersion: 2,
      frontier: edge.hashes.map((hash) => Buffer.from(hash).toString("base64")),
      size: edge.size,
    });
    const text = old.text.replace(/^.*\n/, `${header}\n`);

    expect(replayed().state.services.has("/pay")).toBe(false);
    expect(refusal({ ...old, text })).toBe("not-committed");
  });

  test("stops where the state itself says that whoever committed to it was not entitled any more", () => {
    const second = signerNamed("example.org/sequencer-2");
    log.put("key.put", { name: second.name, role: "sequencer", publicKey: keyTextOf(second) });
    log.put("key.remove", { name: log.sequencer.name });
    const snapshot = read(takeSnapshot());
    const follower = LogFollower.resume(log.anchor, snapshot);
    const { size } = snapshot.frontier;

    expect(follower.take(log.step(size))).toMatchObject({ ok: false, reason: "state-digest-mismatch" });

    expect(follower.size).toBe(size);
    expect(follower.take(log.step(size))).toMatchObject({ reason: "state-digest-mismatch" });
  });

  test("goes on to an entry without effect after the epoch", () => {
    const snapshot = read(takeSnapshot());
    log.order(bytesOf("noise"));
    const follower = LogFollower.resume(log.anchor, snapshot);

    expect(follower.take(log.step(follower.size))).toMatchObject({ value: [{ reason: "malformed-entry" }] });
  });
});

describe("a follower that remembers a tree and resumes from a snapshot", () => {
  test("needs no proof where the snapshot is older, or of the very tree", () => {
    const presented = takeSnapshot();
    const { size } = read(presented).frontier;
    log.put("service.remove", { name: "/pay" });

    for (const known of [size, size + 1, size + 2]) {
      const remembered = { size: known, root: log.tree.root(known) };
      expect(LogFollower.resume(log.anchor, read(presented), remembered).take(log.step(size)).ok).toBe(true);
    }
  });

  test("takes no step where nothing shows that the snapshot contains the tree: forked", () => {
    const snapshot = read(takeSnapshot());
    const { size } = snapshot.frontier;
    const remembered = { size: 4, root: log.tree.root(4) };
    const proof = log.tree.consistencyProof(4, size);
    const otherRoot = { size: 4, root: log.tree.root(3) };

    const take = (...rest: [typeof remembered, Uint8Array[]?]) =>
      LogFollower.resume(log.anchor, snapshot, ...rest).take(log.step(size));
    expect(take(remembered)).toMatchObject({ reason: "forked" });
    expect(take(remembered, proof.slice(1))).toMatchObject({ reason: "forked" });
    expect(take(otherRoot, proof)).toMatchObject({ reason: "forked" });
    expect(take({ size, root: log.tree.root(4) })).toMatchObject({ reason: "forked" });
    expect(take(remembered, proof).ok).toBe(true);
  });

  test("takes no step to another tree of the remembered size: forked", () => {
    const snapshot = read(takeSnapshot());
    const { size } = snapshot.frontier;
    const remembered = { size: size + 1, root: log.tree.root(3) };

    expect(LogFollower.resume(log.anchor, snapshot, remembered).take(log.step(size))).toMatchObject({
      reason: "forked",
    });
  });
});

test("the snapshots above are of a log founded when the fake says", () => {
  expect(log.state.genesis?.epochTimeSeconds).toBe(foundedAtSeconds + 10);
});
