import { beforeEach, describe, expect, test } from "vitest";
import { keyTextOf, SmallTrustLog, serviceBody, signerNamed } from "../../test/fakes/small-trust-log.ts";
import { bytesOf } from "../base/bytes.ts";
import { signCheckpoint } from "./checkpoint.ts";
import { LogFollower, type LogStep } from "./follower.ts";
import { leafHash, MerkleTree } from "./merkle-tree.ts";

let log: SmallTrustLog;
beforeEach(() => {
  log = new SmallTrustLog();
  for (const name of ["/a", "/b", "/c", "/d"]) log.put("service.put", serviceBody(name));
});

function followerAt(size: number): LogFollower {
  const follower = new LogFollower(log.anchor);
  expect(follower.take(log.step(0, size)).ok).toBe(true);
  return follower;
}

/** Everything that a refused step must leave alone. */
function viewOf(follower: LogFollower): unknown {
  return [follower.size, follower.state.digest(), follower.frontier.root(), follower.checkpoint?.note];
}

function refusal(follower: LogFollower, step: LogStep): string {
  const before = viewOf(follower);
  const taken = follower.take(step);
  expect(viewOf(follower)).toEqual(before);
  return taken.ok ? "none" : taken.reason;
}

/** The same keys and the same genesis, and another history from entry `from` on. */
function forkFrom(
  from: number,
  names: readonly string[],
): { tree: MerkleTree; step: (first: number) => LogStep } {
  const tree = new MerkleTree();
  const entries = log.entries.slice(0, from);
  for (const [at, name] of names.entries())
    entries.push(log.entry("service.put", serviceBody(name), { sequence: from + at }));
  for (const entry of entries) tree.append(leafHash(entry));
  const checkpoint = signCheckpoint({ size: entries.length, root: tree.root() }, log.logKey);
  return { tree, step: (first) => ({ firstIndex: first, entries: entries.slice(first), checkpoint }) };
}

describe("a follower", () => {
  test("has the log's state at every size, however it was cut into steps", () => {
    const whole = followerAt(5);
    const pieces = followerAt(1);
    for (const size of [2, 4, 5]) expect(pieces.take(log.step(pieces.size, size)).ok).toBe(true);

    for (const follower of [whole, pieces]) {
      expect(follower.size).toBe(5);
      expect(follower.state.digest()).toBe(log.state.digest());
      expect(follower.checkpoint).toMatchObject({ size: 5, root: log.tree.root() });
      expect(follower.frontier.hashes).toEqual(log.tree.frontier().hashes);
      expect(follower.hasCaughtUp).toBe(true);
    }
  });

  test("skips what it has already, and takes a step without news", () => {
    const follower = followerAt(3);

    expect(follower.take(log.step(1, 5)).ok).toBe(true);
    expect(follower.take(log.step(0, 5)).ok).toBe(true);
    expect(follower.take(log.step(5, 5)).ok).toBe(true);

    expect(follower.state.digest()).toBe(log.state.digest());
  });

  test("tells of entries without effect and goes on", () => {
    const follower = followerAt(5);
    log.order(bytesOf("noise"));
    log.order(log.entry("rule.remove", { from: "/a", to: "/b" }));
    log.put("service.put", serviceBody("/e"));

    const taken = follower.take(log.step(5));

    expect(taken).toMatchObject({
      ok: true,
      value: [
        { index: 5, reason: "malformed-entry" },
        { index: 6, reason: "conflict" },
      ],
    });
    expect(follower.state.services.has("/e")).toBe(true);
  });

  test("has not caught up before its first step", () => {
    expect(new LogFollower(log.anchor).hasCaughtUp).toBe(false);
  });
});

describe("a follower stays where it is and refuses", () => {
  test("a checkpoint of fewer entries: rolled-back", () => {
    const follower = followerAt(5);

    expect(refusal(follower, log.step(0, 4))).toBe("rolled-back");
    expect(refusal(follower, log.step(4, 4))).toBe("rolled-back");
  });

  test("another tree of the same size: forked", () => {
    expect(refusal(followerAt(5), forkFrom(4, ["/other"]).step(5))).toBe("forked");
  });

  test("a longer history that is not a continuation of its own: wrong-root", () => {
    expect(refusal(followerAt(5), forkFrom(3, ["/x", "/y", "/z"]).step(5))).toBe("wrong-root");
  });

  test("entries that are not those of the checkpoint: wrong-root", () => {
    const step = log.step(2, 5);
    const [first = bytesOf(""), second = bytesOf(""), third = bytesOf("")] = step.entries;

    expect(refusal(followerAt(2), { ...step, entries: [second, first, third] })).toBe("wrong-root");
    expect(refusal(followerAt(2), { ...step, entries: [first, first, third] })).toBe("wrong-root");
    expect(refusal(followerAt(2), { ...step, entries: [first, second, bytesOf("other")] })).toBe(
      "wrong-root",
    );
  });

  test("a gap, an entry too many and an entry too few: not-the-next-entries", () => {
    const step = log.step(2, 5);

    expect(refusal(followerAt(1), step)).toBe("not-the-next-entries");
    expect(refusal(followerAt(2), { ...step, firstIndex: 3 })).toBe("not-the-next-entries");
    expect(refusal(followerAt(2), { ...step, entries: [...step.entries, bytesOf("")] })).toBe(
      "not-the-next-entries",
    );
    expect(refusal(followerAt(2), { ...step, entries: step.entries.slice(1) })).toBe("not-the-next-entries");
    expect(refusal(followerAt(2), { ...step, entries: [] })).toBe("not-the-next-entries");
    expect(refusal(new LogFollower(log.anchor), log.step(1, 5))).toBe("not-the-next-entries");
  });

  test.each([-1, 0.5, Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, 2 ** 53])(
    "or takes for what the root says, a step from entry %d",
    (firstIndex) => {
      const follower = followerAt(2);

      const taken = follower.take({ ...log.step(2, 5), firstIndex });

      expect(follower.state.digest()).toBe(taken.ok ? log.state.digest() : followerAt(2).state.digest());
      expect(follower.frontier.root()).toEqual(log.tree.root(taken.ok ? 5 : 2));
    },
  );

  test("the log of another genesis under the same key: other-genesis", () => {
    const { logKey } = new SmallTrustLog();
    const anchor = { ...log.anchor, genesis: Buffer.alloc(32).toString("base64") };

    expect(refusal(new LogFollower(anchor), log.step(0))).toBe("other-genesis");
    expect(
      refusal(new LogFollower({ ...log.anchor, logKey: { ...logKey, name: "other" } }), log.step(0)),
    ).toBe("other-origin");
    expect(refusal(new LogFollower({ ...log.anchor, logKey }), log.step(0))).toBe("bad-checkpoint-signature");
  });

  test("an empty log: it knows no more than before", () => {
    const follower = new LogFollower(log.anchor);

    follower.take(log.step(0, 0));

    expect(follower.size).toBe(0);
    expect(follower.state.genesis).toBeUndefined();
  });

  test("a checkpoint that is none: malformed-checkpoint", () => {
    expect(refusal(followerAt(2), { ...log.step(2), checkpoint: bytesOf("") })).toBe("malformed-checkpoint");
  });

  test.each([
    ["any bit of the entry or of the checkpoint", 4, 1],
    ["a bit of any other byte of genesis and of the entry after it", 0, 17],
  ])("every step in which %s was turned over", (_, from, everyBits) => {
    const follower = from === 0 ? new LogFollower(log.anchor) : followerAt(from);
    const step = log.step(from, from === 0 ? 2 : 5);
    const files = [...step.entries, step.checkpoint];
    const before = viewOf(follower);

    for (const [at, file] of files.entries())
      for (let bit = 0; bit < file.byteLength * 8; bit += everyBits) {
        const flipped = files.with(at, file.with(bit >> 3, (file[bit >> 3] ?? 0) ^ (1 << (bit & 7))));
        const taken = follower.take({
          ...step,
          entries: flipped.slice(0, -1),
          checkpoint: flipped.at(-1) ?? file,
        });
        if (taken.ok) throw new Error(`bit ${bit} of ${at} is not covered`);
      }

    expect(viewOf(follower)).toEqual(before);
    expect(follower.take(step).ok).toBe(true);
  });

  test("nothing because of entries that it has: they are not read", () => {
    const step = log.step(0, 5);
    const follower = followerAt(3);
    const entries = step.entries.map((entry, index) => (index < 3 ? bytesOf("garbage") : entry));

    expect(follower.take({ ...step, entries }).ok).toBe(true);
    expect(follower.state.digest()).toBe(log.state.digest());
  });
});

describe("a follower that remembers the largest tree of an earlier life", () => {
  const rememberedAt = (size: number): LogFollower =>
    new LogFollower(log.anchor, { size, root: log.tree.root(size) });

  test("takes the log that contains it", () => {
    for (const size of [1, 3, 5]) {
      const follower = rememberedAt(size);
      expect(follower.take(log.step(0)).ok).toBe(true);
      expect(follower.hasCaughtUp).toBe(true);
    }
  });

  test("refuses an older copy of the log: rolled-back", () => {
    const follower = rememberedAt(5);

    expect(refusal(follower, log.step(0, 4))).toBe("rolled-back");
    expect(follower.hasCaughtUp).toBe(false);
    expect(follower.take(log.step(0, 5)).ok).toBe(true);
  });

  test("refuses another history of the same size and a longer one: forked", () => {
    expect(refusal(rememberedAt(5), forkFrom(4, ["/other"]).step(0))).toBe("forked");
    expect(refusal(rememberedAt(5), forkFrom(2, ["/p", "/q", "/r", "/s"]).step(0))).toBe("forked");
    expect(refusal(rememberedAt(3), forkFrom(2, ["/p", "/q", "/r", "/s"]).step(0))).toBe("forked");
  });

  test("takes a fork that begins only after it, since it has not seen the other branch", () => {
    expect(rememberedAt(3).take(forkFrom(3, ["/p", "/q", "/r"]).step(0)).ok).toBe(true);
  });
});

describe("a follower that meets what it does not know", () => {
  test("stops at the size before it, with the state of that size, and says so from then on: unknown-kind", () => {
    log.put("authority.put", {
      kinds: ["future.kind"],
      grant: { role: "operator", signatures: 1, approvals: 0 },
    });
    const digest = log.state.digest();
    log.order(log.entry("future.kind", {}));
    const follower = new LogFollower(log.anchor);

    expect(follower.take(log.step(0))).toMatchObject({ ok: false, reason: "unknown-kind" });

    expect(follower.size).toBe(6);
    expect(follower.state.digest()).toBe(digest);
    expect(follower.checkpoint).toBeUndefined();
    expect(refusal(follower, log.step(6))).toBe("unknown-kind");
    expect(follower.take(log.step(0, 6))).toMatchObject({ ok: false, reason: "unknown-kind" });
  });

  test("stops at an epoch that commits to another state: state-digest-mismatch", () => {
    const follower = followerAt(5);
    log.order(log.entry("epoch", { ...log.epochBody(), stateDigest: Buffer.alloc(32).toString("base64") }));

    expect(refusal(follower, log.step(5))).toBe("state-digest-mismatch");
  });

  test("goes on over the same entry where its author was not entitled", () => {
    const follower = followerAt(5);
    const stateDigest = Buffer.alloc(32).toString("base64");
    log.order(log.entry("epoch", { ...log.epochBody(), stateDigest }, { by: [log.operators[0]] }));
    const stranger = signerNamed("example.org/stranger");
    log.order(
      log.entry(
        "key.put",
        { name: stranger.name, role: "operator", publicKey: keyTextOf(stranger) },
        { by: [stranger] },
      ),
    );

    expect(follower.take(log.step(5))).toMatchObject({
      value: [{ reason: "unauthorised" }, { reason: "unknown-author" }],
    });
  });
});
