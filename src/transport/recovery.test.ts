import { create } from "@bufbuild/protobuf";
import { beforeEach, describe, expect, it } from "vitest";
import { fakeClock } from "../../test/fakes/fake-clock.ts";
import { foundedAtSeconds, SmallTrustLog, serviceBody } from "../../test/fakes/small-trust-log.ts";
import { type Update, UpdateSchema } from "../protocol/index.ts";
import { formatSnapshot, type LogStep, type Recovery } from "../trust-log/index.ts";
import { type LogSource, LogView, serveLog } from "./index.ts";

const forkedAt = 3;
let log: SmallTrustLog;
let chosen: SmallTrustLog;
let view: LogView;
let alarms: string[];
let noted: Recovery[];

beforeEach(async () => {
  log = new SmallTrustLog();
  for (const name of ["/a", "/b", "/lost", "/lost-too", "/lost-as-well"])
    log.put("service.put", serviceBody(name));
  chosen = new SmallTrustLog({ of: log, size: forkedAt });
  chosen.putRecovery();
  chosen.put("service.put", serviceBody("/new"));
  alarms = [];
  noted = [];
  view = new LogView({
    anchor: log.anchor,
    clock: fakeClock(foundedAtSeconds),
    events: {
      alarm: (reason) => alarms.push(reason),
      recovered: (recovery) => {
        noted.push(recovery);
      },
    },
  });
  await view.take(updateOf(log.step(0)));
});

function updateOf({ firstIndex, entries, checkpoint }: LogStep): Update {
  const value = { firstIndex: BigInt(firstIndex), entries: [...entries], checkpoint };
  return create(UpdateSchema, { content: { case: "step", value } });
}

function recoveryOf(entry = chosen.entries[forkedAt]): Update {
  const value = { index: BigInt(forkedAt), entry: entry ?? new Uint8Array(0) };
  return create(UpdateSchema, { content: { case: "recovery", value } });
}

function sourceOf(of: SmallTrustLog): LogSource {
  return {
    newest: { size: of.entries.length, checkpoint: of.checkpoint() },
    endpoints: undefined,
    recoveredSizes: of.state.genesis?.recoveredSizes ?? [],
    read: async function* (from, to) {
      yield* of.entries.slice(from, to);
    },
    snapshot: async () => undefined,
    changed: (signal) => new Promise((resolve) => signal.addEventListener("abort", () => resolve())),
  };
}

/** Asks a relay once, and hands on what it says. */
async function askOnce(of: SmallTrustLog): Promise<string[]> {
  const kinds: string[] = [];
  const { fromSize, ...asked } = view.begin();
  const request = { ...asked, fromSize: Number(fromSize), isLive: false };
  for await (const update of serveLog(sourceOf(of), request, new AbortController().signal)) {
    kinds.push(update.content.case ?? "");
    if (!(await view.take(update)).ok) break;
  }
  return kinds;
}

describe("a view that is past a recovery", () => {
  it("is told of it, notes it, asks again from the beginning, and ends in the people's history", async () => {
    expect(await askOnce(chosen)).toEqual(["recovery"]);
    expect(noted).toMatchObject([{ generation: 2, size: forkedAt }]);
    expect(view.follower.state.services.has("/lost")).toBe(true);

    expect(await askOnce(chosen)).toEqual(["step"]);

    expect(view.follower.state.digest()).toBe(chosen.state.digest());
    expect(alarms).toEqual(["log-recovered"]);
    chosen.put("service.put", serviceBody("/newer"));
    expect(await askOnce(chosen)).toEqual(["step"]);
    expect(view.follower.state.services.has("/newer")).toBe(true);
  });

  it("counts how stale it is from the people's epochs on, whatever times and numbers a thief's had", async () => {
    for (let epoch = 0; epoch < 200; epoch += 1) log.putEpoch(365 * 86_400);
    await view.take(updateOf(log.step(view.follower.size)));
    chosen.putEpoch(10);
    await askOnce(chosen);

    await askOnce(chosen);

    expect(view.follower.size).toBe(chosen.entries.length);
    expect(view.stalenessSeconds).toBeLessThan(10);
  });

  it("takes nothing of the old history once it has accepted the recovery, and keeps what it had until then", async () => {
    await view.take(recoveryOf());
    log.put("service.put", serviceBody("/thief"));

    expect(await view.take(updateOf(log.step(6)))).toMatchObject({ ok: false });
    expect(await view.take(updateOf(log.step(0)))).toMatchObject({ reason: "other-origin" });

    expect(view.follower.size).toBe(6);
    expect(view.begin()).toMatchObject({ fromSize: 0n, acceptsSnapshot: false });
    expect(await view.take(updateOf(chosen.step(0)))).toMatchObject({ ok: true });
    expect(await view.take(updateOf(log.step(5)))).toMatchObject({ ok: false });
    expect(view.follower.state.services.has("/new")).toBe(true);
  });

  it("goes nowhere for a recovery that no person signed, and says so", async () => {
    const forged = new SmallTrustLog({ of: log, size: forkedAt });
    const body = forged.recoveryBody({ ...log.logKey, name: "example.org/trust-log-2" });
    const { issuer, sequencer } = log;

    for (const by of [[issuer], [sequencer], [issuer, sequencer, log.logKey]])
      expect(await view.take(recoveryOf(forged.entry("log.recover", body, { by })))).toMatchObject({
        ok: false,
        reason: "recovery-refused",
      });

    expect([noted, alarms]).toEqual([[], ["recovery-refused", "recovery-refused", "recovery-refused"]]);
    log.put("service.put", serviceBody("/goes-on"));
    expect(await view.take(updateOf(log.step(6)))).toMatchObject({ ok: true });
  });
});

describe("a relay", () => {
  it("sends no recovery to whom it takes nothing from", async () => {
    view = new LogView({ anchor: log.anchor, clock: fakeClock(foundedAtSeconds) });
    await view.take(updateOf(log.step(0, forkedAt)));

    expect(await askOnce(chosen)).toEqual(["step"]);

    expect(view.follower.state.digest()).toBe(chosen.state.digest());
  });

  it("tells a follower that was live when the log was taken up", async () => {
    let now = log;
    let wake = (): void => {};
    const source: LogSource = {
      ...sourceOf(log),
      get newest() {
        return { size: now.entries.length, checkpoint: newestOf(now) };
      },
      get recoveredSizes() {
        return now.state.genesis?.recoveredSizes ?? [];
      },
      read: async function* (from, to) {
        yield* now.entries.slice(from, to);
      },
      changed: () => new Promise((resolve) => (wake = resolve)),
    };
    const { fromSize, ...asked } = view.begin();
    const updates = serveLog(
      source,
      { ...asked, fromSize: Number(fromSize), isLive: true },
      new AbortController().signal,
    );
    expect((await updates.next()).value).toMatchObject({ content: { case: "step" } });

    const next = updates.next();
    await new Promise((resolve) => setImmediate(resolve));
    now = chosen;
    wake();

    expect((await next).value).toMatchObject({ content: { case: "recovery" } });
    expect(await updates.next()).toMatchObject({ done: true });
  });
});

const notes = new Map<SmallTrustLog, Uint8Array>();
function newestOf(of: SmallTrustLog): Uint8Array {
  const note = notes.get(of) ?? of.checkpoint();
  notes.set(of, note);
  return note;
}

it("a snapshot that no step confirms is not asked for again", async () => {
  const fresh = new LogView({ anchor: log.anchor, clock: fakeClock(foundedAtSeconds) });
  expect(fresh.begin().acceptsSnapshot).toBe(true);
  const { size, ...snapshot } = snapshotOf(chosen);
  await fresh.take(create(UpdateSchema, { content: { case: "snapshot", value: snapshot } }));

  // The key that this view begins with is that of the generation before the snapshot.
  expect(await fresh.take(updateOf(chosen.step(size)))).toMatchObject({ reason: "other-origin" });

  expect(fresh.begin()).toMatchObject({ acceptsSnapshot: false, fromSize: 0n });
  expect(await fresh.take(updateOf(chosen.step(0)))).toMatchObject({ ok: true });
});

function snapshotOf(of: SmallTrustLog): {
  size: number;
  text: string;
  epochEntry: Uint8Array;
  genesisEntry: Uint8Array;
} {
  const size = of.entries.length;
  const text = formatSnapshot(of.state, of.tree.frontier());
  return { size, text, epochEntry: of.putEpoch(), genesisEntry: of.entries[0] ?? new Uint8Array(0) };
}
