import { create } from "@bufbuild/protobuf";
import { describe, expect, it, test } from "vitest";
import { fakeClock } from "../../test/fakes/fake-clock.ts";
import { silentLog } from "../../test/fakes/silent-log.ts";
import {
  foundedAtSeconds,
  SmallTrustLog,
  serviceBody,
  signerNamed,
} from "../../test/fakes/small-trust-log.ts";
import { type EndpointList, EndpointSchema, type Update, UpdateSchema } from "../protocol/index.ts";
import { formatSnapshot, type LogStep, type PresentedSnapshot, signCheckpoint } from "../trust-log/index.ts";
import { keepFollowing, type LogSource, LogView, serveLog } from "./index.ts";

interface World {
  readonly log: SmallTrustLog;
  readonly view: LogView;
  readonly alarms: string[];
  readonly clock: ReturnType<typeof fakeClock>;
}

function openWorld(entries = 5): World {
  const log = new SmallTrustLog();
  while (log.entries.length < entries) log.put("service.put", serviceBody(`/shop/s${log.entries.length}`));
  const alarms: string[] = [];
  const clock = fakeClock(foundedAtSeconds);
  const events = { alarm: (reason: string): number => alarms.push(reason) };
  return { log, view: new LogView({ anchor: log.anchor, clock, events }), alarms, clock };
}

function updateOf({ firstIndex, entries, checkpoint }: LogStep): Update {
  const value = { firstIndex: BigInt(firstIndex), entries: [...entries], checkpoint };
  return create(UpdateSchema, { content: { case: "step", value } });
}

/** A piece of a step, without its checkpoint unless `log` gives one. */
function pieceOf(log: SmallTrustLog, from: number, to: number): Update {
  return updateOf({ firstIndex: from, entries: log.entries.slice(from, to), checkpoint: new Uint8Array(0) });
}

function snapshotUpdate(snapshot: PresentedSnapshot): Update {
  return create(UpdateSchema, { content: { case: "snapshot", value: { ...snapshot } } });
}

/** Lets an epoch end and takes the snapshot that its entry commits to. */
function snapshotOf(log: SmallTrustLog): PresentedSnapshot & { readonly size: number } {
  const size = log.entries.length;
  const text = formatSnapshot(log.state, log.tree.frontier());
  const epochEntry = log.putEpoch();
  return { size, text, epochEntry, genesisEntry: log.entries[0] ?? new Uint8Array(0) };
}

describe("LogView", () => {
  it("takes a step in pieces, and believes none of them before the checkpoint", async () => {
    const { log, view } = openWorld();

    expect(await view.take(pieceOf(log, 0, 2))).toEqual({ ok: true, value: true });
    expect(await view.take(pieceOf(log, 2, 4))).toEqual({ ok: true, value: true });
    expect(view.follower.size).toBe(0);
    await view.take(updateOf(log.step(4)));

    expect([view.follower.size, view.follower.state.digest()]).toEqual([5, log.state.digest()]);
  });

  test.each([
    ["pieces in the wrong order", (log: SmallTrustLog) => [pieceOf(log, 2, 4)], "not-the-next-entries"],
    [
      "a piece twice",
      (log: SmallTrustLog) => [pieceOf(log, 0, 2), pieceOf(log, 0, 2)],
      "not-the-next-entries",
    ],
    [
      "a piece left out",
      (log: SmallTrustLog) => [pieceOf(log, 0, 2), updateOf(log.step(3))],
      "not-the-next-entries",
    ],
    [
      "an entry of no bytes",
      (log: SmallTrustLog) => [updateOf({ ...log.step(0), entries: [new Uint8Array(0)] })],
      "not-the-next-entries",
    ],
    [
      "an entry that no log can hold",
      (log: SmallTrustLog) => [updateOf({ ...log.step(0), entries: [new Uint8Array(65_536)] })],
      "not-the-next-entries",
    ],
    ["another log", () => [updateOf(new SmallTrustLog().step(0))], "bad-checkpoint-signature"],
    [
      "a checkpoint of somebody else's key",
      (log: SmallTrustLog) => {
        const key = signerNamed(log.logKey.name);
        const checkpoint = signCheckpoint({ size: 5, root: log.tree.root() }, key);
        return [updateOf({ ...log.step(0), checkpoint })];
      },
      "bad-checkpoint-signature",
    ],
    [
      "a changed entry",
      (log: SmallTrustLog) => {
        const entries = [...log.entries];
        entries[3] = entries[2] ?? new Uint8Array(1);
        return [updateOf({ ...log.step(0), entries })];
      },
      "wrong-root",
    ],
  ] as const)("refuses %s and says so", async (_what, updatesOf, reason) => {
    const { log, view, alarms } = openWorld();
    const updates = updatesOf(log);

    let last;
    for (const update of updates) last = await view.take(update);

    expect(last).toMatchObject({ ok: false, reason });
    expect([view.follower.size, alarms]).toEqual([0, [reason]]);
  });

  it("refuses to go back, and what the log's key signed beside the log", async () => {
    const { log, view, alarms } = openWorld();
    await view.take(updateOf(log.step(0)));
    const beside = signCheckpoint({ size: 5, root: new Uint8Array(32) }, log.logKey);
    const before = { firstIndex: 5, entries: [], checkpoint: log.checkpoint(3) };

    expect(await view.take(updateOf(before))).toMatchObject({ reason: "rolled-back" });
    expect(await view.take(updateOf({ firstIndex: 5, entries: [], checkpoint: beside }))).toMatchObject({
      reason: "forked",
    });
    expect(alarms).toEqual(["rolled-back", "forked"]);
  });

  it("forgets the pieces of a step that was refused", async () => {
    const { log, view } = openWorld();
    await view.take(pieceOf(log, 0, 2));
    await view.take(pieceOf(log, 3, 4));

    expect(await view.take(updateOf(log.step(0)))).toMatchObject({ ok: true });
  });

  it("keeps no more than it must of entries that no checkpoint covers, however small they are", async () => {
    const { view } = openWorld();
    const entries = Array.from({ length: 400_000 }, () => Uint8Array.of(0));
    let count = 0;
    let taken;

    do {
      taken = await view.take(updateOf({ firstIndex: count, entries, checkpoint: new Uint8Array(0) }));
      count += entries.length;
    } while (taken.ok && count < 10_000_000);

    expect(taken).toMatchObject({ ok: false, detail: "too much without a checkpoint" });
    expect(count).toBeLessThan(3_000_000);
  });

  it("raises an alarm for an entry without effect, and goes on", async () => {
    const { log, view, alarms } = openWorld();
    log.order(log.entry("service.put", serviceBody("/shop/x"), { by: [signerNamed("mallory")] }));

    await view.take(updateOf(log.step(0)));

    expect([view.follower.size, alarms]).toEqual([6, ["entry-without-effect"]]);
  });

  it("knows how stale it is: by the wall clock at first, by the monotonic clock from then on", async () => {
    const { log, view, clock } = openWorld();
    log.putEpoch(0);
    clock.advanceSeconds(100);
    await view.take(updateOf(log.step(0)));
    expect(view.stalenessSeconds).toBe(100);

    const size = log.entries.length;
    log.putEpoch(100);
    clock.setWallSeconds(0);
    await view.take(updateOf(log.step(size)));
    clock.advanceSeconds(7);

    expect(view.stalenessSeconds).toBe(7);
  });

  it("wakes who waits for a size, or tells them that the time is up", async () => {
    const { log, view } = openWorld();
    const has = view.waitUntil(() => view.follower.size === 5, 5_000);

    await view.take(updateOf(log.step(0)));

    await expect(has).resolves.toBe(true);
    await expect(view.waitUntil(() => false, 20)).resolves.toBe(false);
  });
});

describe("a snapshot", () => {
  it("is the beginning of a view once the log has shown the epoch that committed to it", async () => {
    const { log, view } = openWorld(300);
    const snapshot = snapshotOf(log);

    expect(await view.take(snapshotUpdate(snapshot))).toMatchObject({ ok: true });
    expect(view.follower.size).toBe(0);
    await view.take(updateOf(log.step(snapshot.size)));

    expect([view.follower.size, view.follower.state.digest()]).toEqual([301, log.state.digest()]);
  });

  test.each([
    [
      "a row changed",
      (snapshot: PresentedSnapshot) => ({ ...snapshot, text: snapshot.text.replace("/shop/s4", "/shop/sX") }),
    ],
    [
      "a row left out",
      (snapshot: PresentedSnapshot) => ({ ...snapshot, text: withoutLastRow(snapshot.text) }),
    ],
    [
      "an epoch of its own",
      (snapshot: PresentedSnapshot, log: SmallTrustLog) => ({
        ...snapshot,
        epochEntry: log.entry("epoch", log.epochBody(), { by: [signerNamed(log.sequencer.name)] }),
      }),
    ],
    [
      "a genesis of its own",
      (snapshot: PresentedSnapshot) => ({
        ...snapshot,
        genesisEntry: new SmallTrustLog().entries[0] ?? new Uint8Array(0),
      }),
    ],
    ["nothing in it", (snapshot: PresentedSnapshot) => ({ ...snapshot, text: "" })],
  ] as const)("with %s is refused", async (_what, forge) => {
    const { log, view, alarms } = openWorld(20);

    const taken = await view.take(snapshotUpdate(forge(snapshotOf(log), log)));

    expect(taken).toMatchObject({ ok: false, reason: "wrong-root" });
    expect([view.follower.size, alarms]).toEqual([0, ["wrong-root"]]);
  });

  it("with another edge of the tree is never used", async () => {
    const { log, view } = openWorld(20);
    const snapshot = snapshotOf(log);
    const text = snapshot.text.replace(
      /"frontier":\["(.)/,
      (_all, letter) => `"frontier":["${letter === "A" ? "B" : "A"}`,
    );
    await view.take(snapshotUpdate({ ...snapshot, text }));

    expect(await view.take(updateOf(log.step(snapshot.size)))).toMatchObject({ reason: "wrong-root" });
    expect(view.follower.size).toBe(0);
    expect(await view.take(updateOf(log.step(0)))).toMatchObject({ ok: true });
  });

  it("never takes the place of a log that is known, be it from an earlier life", async () => {
    const { log, view, clock } = openWorld(20);
    const remembered = { size: 20, root: log.tree.root() };
    await view.take(updateOf(log.step(0)));
    const snapshot = snapshotOf(log);

    const later = new LogView({ anchor: log.anchor, clock, remembered });

    expect(await view.take(snapshotUpdate(snapshot))).toMatchObject({ reason: "rolled-back" });
    expect(await later.take(snapshotUpdate(snapshot))).toMatchObject({ reason: "rolled-back" });
    expect(await view.take(updateOf(log.step(20)))).toMatchObject({ ok: true });
  });
});

describe("serveLog", () => {
  function sourceOf(log: SmallTrustLog, given: Partial<LogSource> = {}): LogSource {
    return {
      newest: { size: log.entries.length, checkpoint: log.checkpoint() },
      endpoints: undefined,
      read: async function* (from, to) {
        yield* log.entries.slice(from, to);
      },
      snapshot: async () => undefined,
      changed: (signal) => new Promise((resolve) => signal.addEventListener("abort", () => resolve())),
      ...given,
    };
  }

  it("brings a follower from nothing to the newest checkpoint, in pieces", async () => {
    const { log, view } = openWorld(900);
    const request = { fromSize: 0, acceptsSnapshot: false, isLive: false };
    let messages = 0;

    for await (const update of serveLog(sourceOf(log), request, new AbortController().signal)) {
      messages += 1;
      expect(await view.take(update)).toMatchObject({ ok: true });
    }

    expect([view.follower.size, messages > 1]).toEqual([900, true]);
  });

  it("gives a snapshot to who asks for one and is far behind", async () => {
    const { log, view } = openWorld(2_200);
    const snapshot = snapshotOf(log);
    const source = sourceOf(log, { snapshot: async () => snapshot });
    const request = { fromSize: 0, acceptsSnapshot: true, isLive: false };
    const kinds: (string | undefined)[] = [];

    for await (const update of serveLog(source, request, new AbortController().signal)) {
      kinds.push(update.content.case);
      expect(await view.take(update)).toMatchObject({ ok: true });
    }

    expect(kinds).toEqual(["snapshot", "step"]);
    expect(view.follower.state.digest()).toBe(log.state.digest());
  });

  it("makes a step once for all who are as far, and anew for who is not or reads other entries", async () => {
    const { log } = openWorld(8);
    const newest = { size: 8, checkpoint: log.checkpoint() };
    const source = sourceOf(log, { newest });
    const other = sourceOf(log, {
      newest,
      read: async function* (from, to) {
        yield* log.entries.slice(from, to).toReversed();
      },
    });
    const first = async (of: LogSource, fromSize: number): Promise<unknown> => {
      const request = { fromSize, acceptsSnapshot: false, isLive: false };
      return (await serveLog(of, request, new AbortController().signal).next()).value;
    };

    const step = await first(source, 5);

    expect(await first(source, 5)).toBe(step);
    expect(await first(other, 5)).not.toEqual(step);
    expect(await first(source, 6)).toMatchObject({ content: { value: { firstIndex: 6n } } });
  });

  it("tells a follower that is ahead of it, instead of waiting without end or pause", async () => {
    const { log, view, alarms } = openWorld(8);
    await view.take(updateOf(log.step(0)));
    const shorter = { size: 5, checkpoint: log.checkpoint(5) };
    const closing = new AbortController();
    const updates = serveLog(
      sourceOf(log, { newest: shorter }),
      { fromSize: 8, acceptsSnapshot: false, isLive: true },
      closing.signal,
    );

    const first = await updates.next();
    if (first.done !== true) await view.take(first.value);
    const next = updates.next();
    closing.abort();

    expect(alarms).toEqual(["rolled-back"]);
    expect(await next).toMatchObject({ done: true });
  });

  it("sends endpoints when they are known, and again when they change, and nothing while they are not known", async () => {
    const { log } = openWorld();
    let wake = (): void => {};
    let endpoints: EndpointList | undefined;
    const source = sourceOf(log, { changed: () => new Promise((resolve) => (wake = resolve)) });
    Object.defineProperty(source, "endpoints", { get: () => endpoints });
    const closing = new AbortController();
    const updates = serveLog(source, { fromSize: 5, acceptsSnapshot: false, isLive: true }, closing.signal);

    const step = await updates.next();
    const second = updates.next();
    await turn();
    endpoints = { endpoints: [], isPartial: true };
    wake();

    expect(step.value).toMatchObject({ content: { case: "step" } });
    expect((await second).value).toMatchObject({ content: { case: "endpoints" } });
    const third = updates.next();
    endpoints = undefined;
    wake();
    await turn();
    endpoints = { endpoints: [create(EndpointSchema, { instance: "a" })], isPartial: false };
    wake();

    expect((await third).value).toMatchObject({ content: { value: { endpoints: [{ instance: "a" }] } } });
    closing.abort();
  });
});

describe("keepFollowing", () => {
  it("backs off from a relay that fails, and stops at once when it is told to", async () => {
    const closing = new AbortController();
    const starts: number[] = [];
    const following = keepFollowing(
      async () => {
        starts.push(performance.now());
        throw new Error("gone");
      },
      { signal: closing.signal, clock: fakeClock(), random: () => 0, log: silentLog },
    );
    await new Promise((resolve) => setTimeout(resolve, 500));

    const at = performance.now();
    closing.abort();
    await following;

    expect(performance.now() - at).toBeLessThan(50);
    // Pauses of 50, 100 and 200 ms.
    expect(starts.length).toBeGreaterThanOrEqual(3);
    expect(starts.length).toBeLessThanOrEqual(4);
  });

  it("begins with short pauses again after a relay that lasted", async () => {
    const closing = new AbortController();
    const clock = fakeClock();
    let attempts = 0;
    const following = keepFollowing(
      async () => {
        attempts += 1;
        clock.advanceSeconds(60);
        if (attempts === 6) closing.abort();
      },
      { signal: closing.signal, clock, random: () => 0, log: silentLog },
    );

    const at = performance.now();
    await following;

    // Five pauses of 50 ms; backing off, they would take over a second and a half.
    expect(performance.now() - at).toBeLessThan(1_000);
  });
});

function withoutLastRow(text: string): string {
  return `${text.split("\n").slice(0, -2).join("\n")}\n`;
}

function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
