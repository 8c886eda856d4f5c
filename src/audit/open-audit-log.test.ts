import { join } from "node:path";
import { expect, it, vi } from "vitest";
import { temporaryFolder } from "../../test/contracts/temporary-folder.ts";
import { fakeClock } from "../../test/fakes/fake-clock.ts";
import { silentLog } from "../../test/fakes/silent-log.ts";
import { signerNamed } from "../../test/fakes/small-trust-log.ts";
import { type Journal, openFileJournal, openMemoryJournal, openWriterLock } from "../storage/index.ts";
import { checkCheckpoint, leafHash, MerkleTree } from "../trust-log/index.ts";
import type { AuditRecord } from "./audit-record.ts";
import { type AuditJournal, type AuditLog, openAuditLog } from "./open-audit-log.ts";

const signer = signerNamed("example.org/audit/1");

function decision(path: string, effect: "allow" | "deny" = "deny"): AuditRecord {
  return {
    type: "decision",
    decisionId: "00",
    effect,
    reason: "no-rule",
    rule: "",
    caller: "/shop/mallory",
    callee: "/shop/payments",
    method: "GET",
    path,
    evaluatorVersion: 1,
    freshness: "fresh",
  };
}

interface Opened {
  readonly audit: AuditLog;
  readonly notes: Uint8Array[];
}

async function openAudit(journal: AuditJournal): Promise<Opened> {
  const notes: Uint8Array[] = [];
  const audit = await openAuditLog({
    journal,
    saveCheckpoint: async (note) => {
      notes.push(note);
    },
    signer,
    clock: fakeClock(),
    treeSize: () => 7,
    log: silentLog,
  });
  return { audit, notes };
}

/** A journal whose writes wait for a gate and then fail as often as it is told. */
class SlowJournal implements AuditJournal {
  readonly tornBytes = 0;
  readonly inner: Journal = openMemoryJournal();
  gate: Promise<void> = Promise.resolve();
  failNext = 0;

  get size(): number {
    return this.inner.size;
  }

  async appendAll(entries: readonly Uint8Array[]): Promise<number> {
    await this.gate;
    if (this.failNext > 0) {
      this.failNext -= 1;
      throw new Error("no room left");
    }
    return this.inner.appendAll(entries);
  }

  read(from: number, to: number): AsyncIterable<Uint8Array> {
    return this.inner.read(from, to);
  }
}

async function recordsOf(journal: AuditJournal): Promise<Record<string, unknown>[]> {
  const records: Record<string, unknown>[] = [];
  for await (const entry of journal.read(0, journal.size))
    records.push(JSON.parse(Buffer.from(entry).toString()));
  return records;
}

it("has a denial on disk before it says so, with the time and the size of the trust log", async () => {
  await using folder = await temporaryFolder();
  await using lock = await openWriterLock(folder.path);
  await using journal = await openFileJournal(join(folder.path, "audit"), lock);
  const { audit } = await openAudit(journal);
  await using _closing = audit;

  const isDurable = await audit.recordDurably(decision("/pay"));

  expect(isDurable).toBe(true);
  expect(await recordsOf(journal)).toEqual([
    { ...decision("/pay"), timeMillis: 1_800_000_000_000, treeSize: 7 },
  ]);
});

it("does not answer while the disk has not", async () => {
  const journal = new SlowJournal();
  const disk = Promise.withResolvers<void>();
  journal.gate = disk.promise;
  const { audit } = await openAudit(journal);
  let answer: boolean | undefined;

  const asked = audit.recordDurably(decision("/pay")).then((is) => (answer = is));
  await turns(20);
  expect(answer).toBeUndefined();
  disk.resolve();
  await asked;

  expect([answer, journal.size]).toEqual([true, 1]);
  await audit[Symbol.asyncDispose]();
});

it("writes a denial that comes in the very turn in which the one before was answered", async () => {
  const { audit } = await openAudit(openMemoryJournal());
  await using _closing = audit;
  const one = audit.recordDurably(decision("/1"));

  const isSecondDurable = one.then(() => audit.recordDurably(decision("/2")));

  await expect(within(100, isSecondDurable)).resolves.toBe(true);
});

it("answers false for the records of a batch that failed and for no other, and counts them as a gap", async () => {
  const journal = new SlowJournal();
  const { audit } = await openAudit(journal);
  const disk = Promise.withResolvers<void>();
  journal.gate = disk.promise;
  journal.failNext = 1;
  const failing = [audit.recordDurably(decision("/1")), audit.recordDurably(decision("/2"))];
  await turns(5);

  // Recorded while the first batch is being written.
  const next = audit.recordDurably(decision("/3"));
  disk.resolve();

  expect(await within(100, Promise.all([...failing, next]))).toEqual([false, false, true]);
  expect((await recordsOf(journal)).map(({ type, path, lost }) => path ?? [type, lost])).toEqual([
    "/3",
    ["gap", 2],
  ]);
  await audit[Symbol.asyncDispose]();
});

it("adds up gaps, and writes the last one when it closes", async () => {
  const journal = new SlowJournal();
  const { audit } = await openAudit(journal);
  journal.failNext = 2;

  expect(await audit.recordDurably(decision("/1"))).toBe(false);
  expect(await audit.recordDurably(decision("/2"))).toBe(false);
  await audit[Symbol.asyncDispose]();

  expect(await recordsOf(journal)).toMatchObject([{ type: "gap", lost: 2 }]);
});

it("refuses more than it can hold in one write, at once, and counts it", async () => {
  const journal = new SlowJournal();
  const disk = Promise.withResolvers<void>();
  journal.gate = disk.promise;
  const { audit } = await openAudit(journal);
  const first = audit.recordDurably(decision("/first"));
  await turns(5);

  const answers = Array.from({ length: 8_000 }, () => audit.recordDurably(decision(`/${"é".repeat(511)}`)));
  const refusedAtOnce = within(50, answers.at(-1) ?? first);
  await expect(refusedAtOnce).resolves.toBe(false);
  disk.resolve();
  const [isFirst, ...rest] = await Promise.all([first, ...answers]);

  const kept = rest.filter(Boolean).length;
  expect([isFirst, kept > 1_000, kept < 8_000]).toEqual([true, true, true]);
  expect((await recordsOf(journal)).at(-1)).toMatchObject({ type: "gap", lost: 8_000 - kept });
  await audit[Symbol.asyncDispose]();
});

it("writes what was allowed together, within a quarter of a second", async () => {
  const journal = openMemoryJournal();
  const { audit } = await openAudit(journal);
  await using _closing = audit;

  for (let count = 0; count < 10; count += 1) audit.record(decision(`/${count}`, "allow"));
  expect(journal.size).toBe(0);

  await vi.waitFor(() => expect(journal.size).toBe(10), 1_000);
});

it("goes on with the same tree when it is opened again, and checkpoints what is on disk", async () => {
  const journal = openMemoryJournal();
  const first = await openAudit(journal);
  await first.audit.recordDurably(decision("/1"));
  await first.audit[Symbol.asyncDispose]();
  const second = await openAudit(journal);
  await second.audit.recordDurably(decision("/2"));

  await second.audit[Symbol.asyncDispose]();

  const tree = new MerkleTree();
  for await (const entry of journal.read(0, journal.size)) tree.append(leafHash(entry));
  for (const [note, size] of [
    [first.notes.at(-1), 1],
    [second.notes.at(-1), 2],
  ] as const)
    expect(checkCheckpoint(note ?? new Uint8Array(0), signer)).toMatchObject({
      ok: true,
      value: { size, root: tree.root(size), origin: signer.name },
    });
});

it("never checkpoints a record that is not on disk yet", async () => {
  const journal = new SlowJournal();
  const { audit, notes } = await openAudit(journal);
  await audit.recordDurably(decision("/1"));
  const disk = Promise.withResolvers<void>();
  journal.gate = disk.promise;
  const waiting = audit.recordDurably(decision("/2"));

  await vi.waitFor(() => expect(notes).toHaveLength(1), 3_000);
  const checked = checkCheckpoint(notes[0] ?? new Uint8Array(0), signer);

  expect(checked).toMatchObject({ ok: true, value: { size: 1 } });
  disk.resolve();
  await waiting;
  await audit[Symbol.asyncDispose]();
});

it("takes nothing after it was closed", async () => {
  const journal = openMemoryJournal();
  const { audit } = await openAudit(journal);
  await audit[Symbol.asyncDispose]();

  audit.record(decision("/late", "allow"));

  expect(await within(100, audit.recordDurably(decision("/late")))).toBe(false);
  expect(journal.size).toBe(0);
});

async function turns(count: number): Promise<void> {
  for (let turn = 0; turn < count; turn += 1) await new Promise((resolve) => setImmediate(resolve));
}

function within<Value>(millis: number, promise: Promise<Value>): Promise<Value> {
  return Promise.race([
    promise,
    new Promise<never>((_resolve, reject) =>
      setTimeout(() => reject(new Error(`no answer within ${millis} ms`)), millis),
    ),
  ]);
}
