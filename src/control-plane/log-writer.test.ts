import { cp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, it, test, vi } from "vitest";
import { temporaryFolder } from "../../test/contracts/temporary-folder.ts";
import { type FakeClock, fakeClock } from "../../test/fakes/fake-clock.ts";
import { silentLog } from "../../test/fakes/silent-log.ts";
import {
  foundSmallDomain,
  operatorEntry,
  putService,
  type SmallDomain,
} from "../../test/fakes/small-domain.ts";
import { serviceBody, signerNamed } from "../../test/fakes/small-trust-log.ts";
import { base64Of } from "../base/bytes.ts";
import type { JsonObject } from "../base/canonical-json.ts";
import type { Log } from "../base/log.ts";
import { MeshError } from "../base/mesh-error.ts";
import type { Head, Journal } from "../storage/index.ts";
import {
  checkCheckpoint,
  foldEntry,
  leafHash,
  MerkleTree,
  signEntry,
  TrustState,
  verifierKeyOf,
} from "../trust-log/index.ts";
import { openLogFiles } from "./log-files.ts";
import type { LogStorage } from "./log-storage.ts";
import { LogWriter } from "./log-writer.ts";

interface World extends AsyncDisposable {
  readonly domain: SmallDomain;
  readonly clock: FakeClock;
  readonly files: LogStorage;
}

async function openWorld(): Promise<World> {
  await using stack = new AsyncDisposableStack();
  const folder = stack.use(await temporaryFolder());
  const clock = fakeClock();
  const domain = await foundSmallDomain(folder.path, clock);
  const files = stack.use(await openLogFiles(join(folder.path, "log")));
  const moved = stack.move();
  return { domain, clock, files, [Symbol.asyncDispose]: () => moved.disposeAsync() };
}

function openWriter(
  { domain, clock }: World,
  storage: LogStorage,
  { log = silentLog, epochIntervalMillis = 10_000 }: { log?: Log; epochIntervalMillis?: number } = {},
): Promise<LogWriter> {
  return LogWriter.open({ storage, keys: domain.keys, clock, log, epochIntervalMillis });
}

function serviceEntry(domain: SmallDomain, writer: LogWriter, ahead: number): Uint8Array {
  const body = serviceBody(`/shop/s${ahead}`);
  return operatorEntry(domain, writer.state, { kind: "service.put", body, ahead });
}

/** What the journal on disk folds to, by nobody's account but its own. */
async function refold(journal: Journal): Promise<{ state: TrustState; tree: MerkleTree; refused: number }> {
  const state = new TrustState();
  const tree = new MerkleTree();
  let refused = 0;
  for await (const entry of journal.read(0, journal.size)) {
    const folded = foldEntry(state, tree, entry);
    if (!folded.ok || !folded.value.hasEffect) refused += 1;
    tree.append(leafHash(entry));
  }
  return { state, tree, refused };
}

/** Whether the newest checkpoint is signed by the log's key over what is on disk. */
async function isTrue(writer: LogWriter, domain: SmallDomain, journal: Journal): Promise<boolean> {
  const checked = checkCheckpoint(writer.newest?.checkpoint ?? new Uint8Array(0), domain.anchor.logKey);
  if (!checked.ok) return false;
  const { tree } = await refold(journal);
  return Buffer.from(tree.root(checked.value.size)).equals(checked.value.root);
}

/** A journal whose next appends can be made to fail or to wait. */
function tamperedJournal(journal: Journal): Journal & { failNext: number; gate: Promise<void> } {
  const tampered = {
    failNext: 0,
    gate: Promise.resolve(),
    get size() {
      return journal.size;
    },
    tornBytes: 0,
    append: (entry: Uint8Array) => tampered.appendAll([entry]),
    appendAll: async (entries: readonly Uint8Array[]) => {
      await tampered.gate;
      if (tampered.failNext > 0) {
        tampered.failNext -= 1;
        throw new Error("no room left");
      }
      return journal.appendAll(entries);
    },
    read: (from: number, to: number) => journal.read(from, to),
    [Symbol.asyncDispose]: () => journal[Symbol.asyncDispose](),
  };
  return tampered;
}

it("writes entries in the order in which it folded them, however many come at once", async () => {
  await using world = await openWorld();
  await using writer = await openWriter(world, world.files);
  const entries = Array.from({ length: 300 }, (_, ahead) => serviceEntry(world.domain, writer, ahead));

  const sizes = await Promise.all(entries.map((entry) => writer.submit([entry])));

  expect(sizes.map((size) => size.ok && size.value)).toEqual(entries.map((_, place) => 5 + place));
  const { state, refused } = await refold(world.files.journal);
  expect(refused).toBe(0);
  expect(state.digest()).toBe(writer.state.digest());
});

it("acknowledges an entry once it is on disk, its head is and a checkpoint covers it, and not before", async () => {
  await using world = await openWorld();
  const journal = tamperedJournal(world.files.journal);
  const disk = Promise.withResolvers<void>();
  const signing = Promise.withResolvers<void>();
  let isGated = false;
  const head: Head = {
    get current() {
      return world.files.head.current;
    },
    advance: async (next) => {
      if (isGated) await signing.promise;
      await world.files.head.advance(next);
    },
  };
  await using writer = await openWriter(world, { ...world.files, journal, head });
  journal.gate = disk.promise;
  isGated = true;
  let answer: unknown;

  const asked = putService(world.domain, writer, "/shop/web").then((size) => (answer = size));
  await pause(50);
  expect([answer, journal.size]).toEqual([undefined, 4]);
  disk.resolve();
  await pause(100);
  expect([answer, journal.size, writer.newest?.size]).toEqual([undefined, 5, 4]);
  signing.resolve();
  await asked;

  expect([answer, world.files.head.current?.size, writer.newest?.size]).toEqual([5, 5, 5]);
});

test.each([
  ["unknown-author", (domain: SmallDomain) => ({ ...domain, operator: signerNamed("mallory") })],
  [
    "bad-signature",
    (domain: SmallDomain) => ({ ...domain, operator: signerNamed("example.org/operator/alice") }),
  ],
  ["other-log", (domain: SmallDomain) => ({ ...domain, anchor: { ...domain.anchor, genesis: "" } })],
] as const)("does not take what would have no effect: %s", async (reason, as) => {
  await using world = await openWorld();
  await using writer = await openWriter(world, world.files);
  const digest = writer.state.digest();

  const refused = await writer.submit([serviceEntry(as(world.domain), writer, 0)]);

  expect(refused).toMatchObject({ ok: false, reason });
  expect([world.files.journal.size, writer.state.digest()]).toEqual([4, digest]);
});

it("takes neither bytes that are no entry, nor an entry twice, nor one of a kind it does not know", async () => {
  await using world = await openWorld();
  await using writer = await openWriter(world, world.files);
  const entry = serviceEntry(world.domain, writer, 0);
  await writer.submit([entry]);
  const odd = operatorEntry(world.domain, writer.state, { kind: "weather.put", body: {} });

  expect(await writer.submit([new Uint8Array(70_000)])).toMatchObject({ reason: "malformed-entry" });
  expect(await writer.submit([entry])).toMatchObject({ reason: "replayed" });
  expect(await writer.submit([odd])).toMatchObject({ ok: false });
  expect(world.files.journal.size).toBe(5);
});

it("forgets what a failed write would have brought, and goes on", async () => {
  await using world = await openWorld();
  const journal = tamperedJournal(world.files.journal);
  await using writer = await openWriter(world, { ...world.files, journal });
  const digest = writer.state.digest();
  journal.failNext = 1;

  const failed = putService(world.domain, writer, "/shop/lost");
  await expect(failed).rejects.toMatchObject({ code: "ERR_CONTROL_PLANE_LOG_WRITE" });
  await vi.waitFor(
    () => expect([writer.state.digest(), writer.state.services.size]).toEqual([digest, 0]),
    10_000,
  );
  await putService(world.domain, writer, "/shop/kept");

  const { state, refused } = await refold(world.files.journal);
  expect([refused, state.services.has("/shop/kept"), state.services.size]).toEqual([0, true, 1]);
  expect(writer.state.digest()).toBe(state.digest());
  expect(await isTrue(writer, world.domain, world.files.journal)).toBe(true);
});

it("rejects an append whose entry cannot be made, and it alone", async () => {
  await using world = await openWorld();
  const reads: number[] = [];
  const read = (from: number, to: number): AsyncIterable<Uint8Array> => {
    reads.push(from);
    return world.files.journal.read(from, to);
  };
  const journal = new Proxy(tamperedJournal(world.files.journal), {
    get: (on, name) => (name === "read" ? read : Reflect.get(on, name)),
  });
  await using writer = await openWriter(world, { ...world.files, journal });
  const readBefore = reads.length;
  const body = { instance: nested(64) };

  const appends = await Promise.allSettled([
    writer.submit([serviceEntry(world.domain, writer, 0)]),
    writer.write([{ role: "issuer", kind: "instance.remove", body }]),
    writer.submit([serviceEntry(world.domain, writer, 1)]),
  ]);

  expect(appends).toMatchObject([
    { value: { ok: true, value: 5 } },
    { reason: { code: "ERR_CONTROL_PLANE_ENTRY" } },
    { value: { ok: true, value: 6 } },
  ]);
  expect([writer.state.services.size, reads.length]).toEqual([2, readBefore]);
  expect(await isTrue(writer, world.domain, world.files.journal)).toBe(true);
});

function nested(levels: number): JsonObject {
  return levels === 0 ? {} : { x: nested(levels - 1) };
}

it("tries the replay again where the first one after a failed write fails too", async () => {
  await using world = await openWorld();
  const journal = tamperedJournal(world.files.journal);
  let isUnreadable = false;
  const read = (from: number, to: number): AsyncIterable<Uint8Array> => {
    if (isUnreadable) throw new Error("read error");
    return world.files.journal.read(from, to);
  };
  await using writer = await openWriter(world, {
    ...world.files,
    journal: new Proxy(journal, { get: (on, name) => (name === "read" ? read : Reflect.get(on, name)) }),
  });
  journal.failNext = 1;
  isUnreadable = true;
  await expect(putService(world.domain, writer, "/shop/lost")).rejects.toThrow("could not be written");
  await expect(putService(world.domain, writer, "/shop/lost")).rejects.toThrow("could not be written");
  isUnreadable = false;

  await expect(putService(world.domain, writer, "/shop/lost")).resolves.toBe(5);
});

it("never signs, digests or acknowledges what is not on disk, whichever writes fail under load", async () => {
  await using world = await openWorld();
  const journal = tamperedJournal(world.files.journal);
  await using writer = await openWriter(world, { ...world.files, journal }, { epochIntervalMillis: 3 });
  const acknowledged: string[] = [];
  const first = new TrustState();
  let ahead = 0;
  const append = async (worker: number): Promise<void> => {
    for (let round = 0; round < 12; round += 1) {
      const name = `/shop/w${worker}-${round}`;
      const put = operatorEntry(world.domain, first, { kind: "service.put", body: serviceBody(name), ahead });
      ahead += 1;
      const answer = await writer.submit([put]).catch(() => undefined);
      if (answer?.ok === true) acknowledged.push(name);
      if (round === 2 * worker) journal.failNext = 1;
      await pause(1);
    }
  };

  await Promise.all(Array.from({ length: 6 }, (_, worker) => append(worker)));
  journal.failNext = 0;
  await putService(world.domain, writer, "/shop/last");

  const { state, refused } = await refold(world.files.journal);
  expect(refused).toBe(0);
  expect(acknowledged.filter((name) => !state.services.has(name))).toEqual([]);
  expect(acknowledged.length).toBeGreaterThan(10);
  expect(state.genesis?.epochNumber).toBeGreaterThan(10);
  expect(await isTrue(writer, world.domain, world.files.journal)).toBe(true);
});

it("signs nothing more once it was halted, not even what is in the journal already", async () => {
  await using world = await openWorld();
  await using writer = await openWriter(world, world.files);
  const { newest } = writer;
  const waiting = putService(world.domain, writer, "/shop/late");
  waiting.catch(() => {});
  while (world.files.journal.size === newest?.size) await new Promise((resolve) => setImmediate(resolve));

  writer.halt("a larger tree was signed before");

  await expect(waiting).rejects.toThrow("a larger tree was signed before");
  expect([writer.newest, world.files.head.current?.size]).toEqual([newest, newest?.size]);
  expect(await writer.submit([new Uint8Array(1)])).toMatchObject({ reason: "log-rolled-back" });
});

it("says that it can order nothing any more once another writer has taken its place, so that its process can end", async () => {
  await using world = await openWorld();
  const fenced = new MeshError("ERR_STORAGE_FENCED", "term 2 exists");
  const [head, broken] = [world.files.head, vi.fn<(error: unknown) => void>()];
  let isFenced = false;
  const storage = {
    ...world.files,
    head: {
      get current() {
        return head.current;
      },
      advance: (next: Parameters<Head["advance"]>[0]) =>
        isFenced ? Promise.reject(fenced) : head.advance(next),
    },
  };
  const { keys } = world.domain;
  const writer = await LogWriter.open({ storage, keys, clock: world.clock, log: silentLog, broken });

  isFenced = true;
  await expect(writer.submit([serviceEntry(world.domain, writer, 0)])).rejects.toBe(fenced);
  await writer[Symbol.asyncDispose]();

  expect(broken).toHaveBeenCalledWith(fenced);
  expect(writer.isBroken).toBe(true);
});

it("says how a batch that was refused in the middle ended: those before are in", async () => {
  await using world = await openWorld();
  await using writer = await openWriter(world, world.files);
  const first = serviceEntry(world.domain, writer, 0);

  const answer = await writer.submit([first, first, serviceEntry(world.domain, writer, 1)]);

  expect(answer).toMatchObject({ ok: false, reason: "replayed" });
  expect([writer.newest?.size, writer.state.services.size]).toEqual([5, 1]);
});

it("never lets epochs go back when the clock does", async () => {
  await using world = await openWorld();
  await using writer = await openWriter(world, world.files, { epochIntervalMillis: 5 });
  const before = writer.state.genesis;
  world.clock.setWallSeconds(1_700_000_000);

  await pause(60);

  expect(writer.state.genesis?.epochNumber).toBeGreaterThan((before?.epochNumber ?? 0) + 1);
  expect(writer.state.genesis?.epochTimeSeconds).toBe(before?.epochTimeSeconds);
});

it("replays to the same state after a restart, from genesis or from a snapshot, and never from a damaged one", async () => {
  await using folder = await temporaryFolder();
  const clock = fakeClock();
  const domain = await foundSmallDomain(folder.path, clock);
  const log = join(folder.path, "log");
  const open = async (warnings: string[]): Promise<{ digest: string; hasSnapshot: boolean }> => {
    await using files = await openLogFiles(log);
    // Its epoch would make every run's state another one.
    const storage = { ...files, journal: tamperedJournal(files.journal) };
    storage.journal.failNext = 1;
    const warn = (message: string): number => warnings.push(message);
    const keys = domain.keys;
    await using writer = await LogWriter.open({ storage, keys, clock, log: { ...silentLog, warn } });
    await writer.submit([]);
    return { digest: writer.state.digest(), hasSnapshot: writer.snapshot() !== undefined };
  };
  let digest = "";
  {
    await using files = await openLogFiles(log);
    await using writer = await LogWriter.open({ storage: files, keys: domain.keys, clock, log: silentLog });
    const entries = Array.from({ length: 1100 }, (_, ahead) => serviceEntry(domain, writer, ahead));
    for (let from = 0; from < entries.length; from += 200)
      await writer.submit(entries.slice(from, from + 200));
  }
  {
    await using files = await openLogFiles(log);
    await using writer = await LogWriter.open({ storage: files, keys: domain.keys, clock, log: silentLog });
    digest = writer.state.digest();
  }
  const snapshots = join(log, "snapshots");
  const [name = ""] = await readdir(snapshots);
  const text = await readFile(join(snapshots, name), "utf8");
  const [header = "", ...rows] = text.split("\n");
  const path = join(snapshots, name);

  const warnings: string[] = [];
  expect(await open(warnings)).toEqual({ digest, hasSnapshot: true });
  expect(warnings).toEqual([]);
  const anotherEdge = header.replace(
    /"frontier":\["(.)/,
    (_all, letter) => `"frontier":["${letter === "A" ? "B" : "A"}`,
  );
  const damaged = [
    ["a row less", [header, ...rows.slice(1)].join("\n")],
    ["another edge of the tree", [anotherEdge, ...rows].join("\n")],
  ] as const;
  for (const [what, content] of damaged) {
    await writeFile(path, content);
    const found: string[] = [];
    expect([what, await open(found)]).toEqual([what, { digest, hasSnapshot: false }]);
    expect([what, ...new Set(found)]).toEqual([what, "snapshot not used"]);
  }
  await rm(path);
  expect(await open([])).toEqual({ digest, hasSnapshot: false });
}, 60_000);

it("refuses to sign over an older copy of the log, or over another log, that was put back", async () => {
  await using folder = await temporaryFolder();
  const clock = fakeClock();
  const domain = await foundSmallDomain(folder.path, clock);
  const log = join(folder.path, "log");
  const run = async (name?: string): Promise<void> => {
    await using files = await openLogFiles(log);
    await using writer = await LogWriter.open({ storage: files, keys: domain.keys, clock, log: silentLog });
    if (name !== undefined) await putService(domain, writer, name);
  };
  await run("/shop/web");
  await cp(log, join(folder.path, "older"), { recursive: true });
  await run("/shop/payments");
  await cp(log, join(folder.path, "newer"), { recursive: true });
  const putBack = async (from: string): Promise<void> => {
    await rm(join(log, "segments"), { recursive: true });
    await cp(join(folder.path, from, "segments"), join(log, "segments"), { recursive: true });
  };

  await putBack("older");
  await expect(run()).rejects.toMatchObject({ code: "ERR_STORAGE_DAMAGED" });

  // Another history of the same length, which only the signed head tells from the true one.
  await rm(log, { recursive: true });
  await cp(join(folder.path, "older"), log, { recursive: true });
  await run("/shop/other");
  await cp(join(folder.path, "newer", "head.json"), join(log, "head.json"));
  await expect(run()).rejects.toMatchObject({ code: "ERR_CONTROL_PLANE_LOG_ROLLED_BACK" });
});

it("refuses a shorter log than the one that was signed, whatever its journal says", async () => {
  await using world = await openWorld();
  const root = new Uint8Array(32);
  const head: Head = { current: { term: 1, size: 9, root }, advance: async () => {} };

  await expect(openWriter(world, { ...world.files, head })).rejects.toMatchObject({
    code: "ERR_CONTROL_PLANE_LOG_ROLLED_BACK",
  });
});

it("refuses a log that was founded by somebody else's hand after genesis", async () => {
  await using world = await openWorld();
  const { keys, anchor } = world.domain;
  const body = {
    number: 1,
    size: 3,
    timeSeconds: 1_800_000_001,
    stateDigest: "A".repeat(43) + "=",
    curatorDigest: null,
  };
  const statement = {
    kind: "epoch",
    version: 1,
    log: anchor.genesis,
    author: keys.sequencer.name,
    sequence: 1,
    body,
  };
  await world.files.journal.append(signEntry(statement, [keys.sequencer]));

  await expect(openWriter(world, world.files)).rejects.toMatchObject({
    code: "ERR_CONTROL_PLANE_LOG_UNREADABLE",
  });
});

it("signs what is durable before it closes, and takes nothing after", async () => {
  await using world = await openWorld();
  const writer = await openWriter(world, world.files);
  const asked = putService(world.domain, writer, "/shop/web");

  await writer[Symbol.asyncDispose]();

  await expect(asked).resolves.toBe(5);
  expect(world.files.head.current?.size).toBe(5);
  await expect(putService(world.domain, writer, "/shop/late")).rejects.toMatchObject({
    code: "ERR_CONTROL_PLANE_CLOSED",
  });
});

function pause(millis: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, millis));
}

it("takes no recovery while it runs, whoever signed it: from the next entry on its own key would count nowhere", async () => {
  await using world = await openWorld();
  await using writer = await openWriter(world, world.files);
  const recovery = {
    generation: 2,
    size: writer.tree.size,
    root: base64Of(writer.tree.root()),
    logKey: verifierKeyOf(signerNamed("example.org/trust-log-2")),
  };
  const entry = operatorEntry(world.domain, writer.state, { kind: "log.recover", body: recovery });

  expect(await writer.submit([entry])).toMatchObject({ ok: false, reason: "offline-only" });

  expect(writer.state.genesis?.recoveredSizes).toEqual([]);
  await putService(world.domain, writer, "/after");
});
