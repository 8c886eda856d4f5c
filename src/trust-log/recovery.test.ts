import fc from "fast-check";
import { beforeEach, describe, expect, test } from "vitest";
import {
  foundedAtSeconds,
  keyTextOf,
  SmallTrustLog,
  serviceBody,
  signerNamed,
  type Unusual,
} from "../../test/fakes/small-trust-log.ts";
import type { JsonObject } from "../base/canonical-json.ts";
import { LogFollower, type LogStep } from "./follower.ts";
import { type NoteSigner, verifierKeyOf } from "./signed-note.ts";

const forkedAt = 4;
/** Of a follower whose clock is right. */
const nowSeconds = foundedAtSeconds + 60;
let log: SmallTrustLog;
/** The history that people chose: the first entries of the log, and then a recovery. */
let chosen: SmallTrustLog;
let recovery: Uint8Array;
beforeEach(() => {
  log = new SmallTrustLog();
  for (const name of ["/a", "/b", "/c", "/lost", "/lost-too"]) log.put("service.put", serviceBody(name));
  log.putEpoch();
  chosen = new SmallTrustLog({ of: log, size: forkedAt });
  recovery = chosen.putRecovery();
  chosen.put("service.put", serviceBody("/new"));
});

function followerAt(size: number, of = log): LogFollower {
  const follower = new LogFollower(of.anchor);
  expect(follower.take(of.step(0, size)).ok).toBe(true);
  return follower;
}

function refusal(follower: LogFollower, step: LogStep): string {
  const before = [follower.size, follower.state.digest(), follower.logKey.name];
  const taken = follower.take(step);
  expect([follower.size, follower.state.digest(), follower.logKey.name]).toEqual(before);
  return taken.ok ? "none" : taken.reason;
}

describe("a follower that is not past the recovery", () => {
  test.each([1, 2, forkedAt])(
    "takes it like any entry, and what follows it under the new key, from %i",
    (size) => {
      const follower = followerAt(size);

      expect(follower.take(chosen.step(size))).toEqual({ ok: true, value: [] });

      expect(follower.state.digest()).toBe(chosen.state.digest());
      expect(follower.state.genesis).toMatchObject({
        recoveredSizes: [forkedAt],
        logKey: verifierKeyOf(chosen.logKey),
      });
      chosen.put("service.put", serviceBody("/newer"));
      expect(follower.take(chosen.step(follower.size)).ok).toBe(true);
    },
  );

  test("takes nothing that the old key signs from then on: other-origin", () => {
    const follower = followerAt(forkedAt);
    follower.take(chosen.step(forkedAt));

    log.logKey = { ...log.logKey };
    const forged = new SmallTrustLog({ of: chosen, size: chosen.entries.length });
    forged.logKey = log.logKey;
    forged.put("service.put", serviceBody("/forged"));

    expect(refusal(follower, log.step(0))).toBe("other-origin");
    expect(refusal(follower, forged.step(follower.size))).toBe("other-origin");
  });

  test("takes no tree with the recovery in it from the old key: other-origin", () => {
    const forged = new SmallTrustLog({ of: chosen, size: chosen.entries.length });
    forged.logKey = log.logKey;

    expect(refusal(followerAt(2), forged.step(2))).toBe("other-origin");
  });

  const thieves: readonly (readonly [string, (log: SmallTrustLog) => Unusual])[] = [
    ["the log's key", ({ logKey }) => ({ by: [logKey] })],
    ["the issuer", ({ issuer }) => ({ by: [issuer] })],
    ["the sequencer", ({ sequencer }) => ({ by: [sequencer] })],
    ["the server", ({ server }) => ({ by: [server] })],
    [
      "all keys of the control plane",
      ({ logKey, issuer, sequencer, server }) => ({
        by: [issuer, sequencer, server, logKey],
      }),
    ],
    [
      "all of them in an operator's name",
      ({ logKey, issuer, operators: [alice] }) => ({
        by: [logKey, issuer],
        author: alice.name,
      }),
    ],
    ["a stranger under an operator's name", ({ operators: [alice] }) => ({ by: [signerNamed(alice.name)] })],
  ];
  test.each(thieves)("a recovery signed by %s gives the log to nobody: other-origin", (_, unusual) => {
    const forged = new SmallTrustLog({ of: log, size: forkedAt });
    const own = signerNamed("example.org/trust-log-2");
    forged.order(forged.entry("log.recover", forged.recoveryBody(own), unusual(forged)));
    forged.logKey = own;

    expect(refusal(followerAt(forkedAt), forged.step(forkedAt))).toBe("other-origin");
    expect(refusal(new LogFollower(log.anchor), forged.step(0))).toBe("other-origin");
    forged.logKey = log.logKey;
    expect(followerAt(forkedAt).take(forged.step(forkedAt))).toMatchObject({
      ok: true,
      value: [{ index: forkedAt }],
    });
  });
});

describe("a follower that is past the recovery", () => {
  test("stays where it is until it is shown that people have said so", () => {
    const follower = followerAt(log.entries.length);

    expect(["rolled-back", "other-origin"]).toContain(refusal(follower, chosen.step(0)));
    expect(follower.judgeRecovery({ nowSeconds, index: forkedAt, entry: recovery })).toMatchObject({
      ok: true,
      value: { generation: 2, size: forkedAt, root: log.tree.root(forkedAt) },
    });
  });

  test("believes people though entries that it gives up have used the same sequence number", () => {
    const { sequence } = log.state.authors.get(log.operators[0].name) ?? {};
    expect(sequence).toBeGreaterThan(4);

    expect(
      followerAt(log.entries.length).judgeRecovery({ nowSeconds, index: forkedAt, entry: recovery }).ok,
    ).toBe(true);
  });

  const rows: readonly (readonly [string, string, () => { index?: number; entry: Uint8Array }])[] = [
    ["malformed-entry", "no entry", () => ({ entry: new Uint8Array(3) })],
    ["malformed-body", "another kind of entry", () => ({ entry: log.entries[3] ?? recovery })],
    ["malformed-body", "a later version", () => ({ entry: shown({}, { version: 2 }) })],
    [
      "malformed-body",
      "the key of another generation",
      () => ({
        entry: shown({ logKey: verifierKeyOf(signerNamed("example.org/trust-log-3")) }),
      }),
    ],
    [
      "other-generation",
      "a generation too far",
      () => ({
        entry: shown({ generation: 3, logKey: verifierKeyOf(signerNamed("example.org/trust-log-3")) }),
      }),
    ],
    ["not-ahead", "another place than it says", () => ({ index: forkedAt - 1, entry: recovery })],
    [
      "not-ahead",
      "a place that is still to come",
      () => ({
        index: 7,
        entry: shown({ size: 7 }),
      }),
    ],
    ["other-log", "another log", () => ({ entry: shown({}, { log: new SmallTrustLog().genesis }) })],
    [
      "expired",
      "an end that has passed",
      () => ({
        entry: shown({}, { expiresAtSeconds: foundedAtSeconds + 9 }),
      }),
    ],
    ["unauthorised", "the issuer's signature", () => ({ entry: shown({}, { by: [log.issuer] }) })],
    ["unauthorised", "the sequencer's signature", () => ({ entry: shown({}, { by: [log.sequencer] }) })],
    ["unknown-author", "the log key's signature", () => ({ entry: shown({}, { by: [log.logKey] }) })],
    [
      "bad-signature",
      "a false signature",
      () => ({
        entry: shown({}, { by: [signerNamed(log.operators[0].name)] }),
      }),
    ],
    [
      "unauthorised",
      "the control plane beside a person",
      () => ({
        entry: shown({}, { by: [log.operators[0], log.issuer] }),
      }),
    ],
  ];
  function shown(changes: JsonObject, unusual: Unusual = {}): Uint8Array {
    const at = new SmallTrustLog({ of: log, size: forkedAt });
    const body = at.recoveryBody(signerNamed("example.org/trust-log-2"));
    return at.entry("log.recover", { ...body, ...changes }, unusual);
  }
  test.each(rows)("%s: does not go back for %s", (reason, _, given) => {
    const { index = forkedAt, entry } = given();

    expect(followerAt(log.entries.length).judgeRecovery({ nowSeconds, index, entry })).toMatchObject({
      ok: false,
      reason,
    });
  });

  test("asks for as many people as the strictest of all grants", () => {
    log.put("authority.put", {
      kinds: ["rule.put"],
      grant: { role: "operator", signatures: 2, approvals: 0 },
    });
    const follower = followerAt(log.entries.length);
    const [alice, bob] = log.operators;

    expect(follower.judgeRecovery({ nowSeconds, index: forkedAt, entry: recovery })).toMatchObject({
      ok: false,
      reason: "unauthorised",
    });
    expect(
      follower.judgeRecovery({ nowSeconds, index: forkedAt, entry: shown({}, { by: [alice, bob] }) }).ok,
    ).toBe(true);
  });

  test("goes back though a thief of the epochs' key has let years pass, and not once its own clock agrees", () => {
    const expiresAtSeconds = foundedAtSeconds + 600;
    log.putEpoch(100 * 365 * 86_400);
    const follower = followerAt(log.entries.length);
    const timely = { index: forkedAt, entry: shown({}, { expiresAtSeconds }) };

    expect(follower.judgeRecovery({ nowSeconds, ...timely }).ok).toBe(true);
    expect(follower.judgeRecovery({ nowSeconds: expiresAtSeconds + 1, ...timely })).toMatchObject({
      reason: "expired",
    });
  });

  test("does not believe whom the entries that it is to give up have removed", () => {
    const [alice, bob, carol] = log.operators;
    log.put("key.remove", { name: alice.name }, { by: [bob] });
    const follower = followerAt(log.entries.length);

    for (const by of [[alice], [bob, alice]] satisfies NoteSigner[][])
      expect(follower.judgeRecovery({ nowSeconds, index: forkedAt, entry: shown({}, { by }) }).ok).toBe(
        false,
      );
    expect(
      follower.judgeRecovery({ nowSeconds, index: forkedAt, entry: shown({}, { by: [carol] }) }).ok,
    ).toBe(true);
  });

  test("once gone back, does not for the same entry again: other-generation", () => {
    const follower = new LogFollower({ ...log.anchor, logKey: chosen.logKey });
    expect(follower.take(chosen.step(0)).ok).toBe(true);

    expect(follower.judgeRecovery({ nowSeconds, index: forkedAt, entry: recovery })).toMatchObject({
      reason: "other-generation",
    });
  });
});

describe("a follower that begins with the key of the second generation", () => {
  test("reads the whole log, and no history of the first one: other-origin", () => {
    const anchor = { ...log.anchor, logKey: chosen.logKey };

    expect(new LogFollower(anchor).take(chosen.step(0)).ok).toBe(true);
    expect(refusal(new LogFollower(anchor), log.step(0))).toBe("other-origin");
  });

  test("that remembers the tree taken up takes no other: forked", () => {
    const remembered = { size: forkedAt, root: log.tree.root(forkedAt) };
    const other = new SmallTrustLog({ of: log, size: forkedAt - 1 });
    other.put("service.put", serviceBody("/elsewhere"));
    other.putRecovery();
    other.logKey = chosen.logKey;
    other.put("service.put", serviceBody("/x"));

    const anchor = { ...log.anchor, logKey: chosen.logKey };

    expect(refusal(new LogFollower(anchor, remembered), other.step(0))).toBe("forked");
    expect(new LogFollower(anchor, remembered).take(chosen.step(0)).ok).toBe(true);
  });
});

test("however often a log is taken up, and wherever a follower was, it ends in the people's state and never goes back", () => {
  const cut = fc.record({ keep: fc.nat(3), add: fc.integer({ min: 1, max: 4 }) });
  fc.assert(
    fc.property(
      fc.array(cut, { minLength: 1, maxLength: 3 }),
      fc.nat(20),
      fc.nat(20),
      (cuts, start, middle) => {
        const histories = [new SmallTrustLog()];
        const recoveries: { index: number; entry: Uint8Array }[] = [];
        for (const name of ["/a", "/b", "/c"]) histories[0]?.put("service.put", serviceBody(name));
        for (const [round, { keep, add }] of cuts.entries()) {
          const last = histories.at(-1) ?? log;
          const floor = (recoveries.at(-1)?.index ?? 0) + 1;
          const size = Math.max(floor, last.entries.length - keep);
          const next = new SmallTrustLog({ of: last, size });
          recoveries.push({ index: size, entry: next.putRecovery() });
          for (let count = 0; count < add; count += 1)
            next.put("service.put", serviceBody(`/round-${round}-${count}`));
          histories.push(next);
        }
        const newest = histories.at(-1) ?? log;
        const [first = log] = histories;
        let follower = followerAt(1 + (start % first.entries.length), first);
        for (;;) {
          const generation = (follower.state.genesis?.recoveredSizes.length ?? 0) + 1;
          const due = recoveries[generation - 1];
          if (due !== undefined && due.index < follower.size) {
            const judged = follower.judgeRecovery({ nowSeconds, ...due });
            if (!judged.ok) throw new Error(judged.reason);
            const { logKey, size, root } = judged.value;
            follower = new LogFollower({ ...newest.anchor, logKey }, { size, root });
            // Somewhere on the way a thief shows an earlier generation.
            for (const old of histories.slice(0, generation))
              expect(follower.take(old.step(0)).ok).toBe(false);
          }
          const to = Math.max(
            follower.size,
            Math.min(newest.entries.length, follower.size + 1 + (middle % 7)),
          );
          const isWhole = to === newest.entries.length || generation === histories.length;
          const taken = follower.take(newest.step(follower.size, isWhole ? to : newest.entries.length));
          expect(taken.ok).toBe(true);
          if (follower.size === newest.entries.length) break;
        }
        expect(follower.state.digest()).toBe(newest.state.digest());
        for (const old of histories.slice(0, -1)) expect(follower.take(old.step(0)).ok).toBe(false);
        expect(keyTextOf(newest.logKey)).not.toBe(keyTextOf(first.logKey));
      },
    ),
    { numRuns: 12 },
  );
});
