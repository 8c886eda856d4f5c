import { cp, mkdir, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { temporaryFolder } from "../../test/contracts/temporary-folder.ts";
import { silentLog } from "../../test/fakes/silent-log.ts";
import { SmallTrustLog, serviceBody, signerNamed } from "../../test/fakes/small-trust-log.ts";
import { verifyLogFiles } from "../cli/commands/verify-log.ts";
import { openFileJournal, openHead, openWriterLock, readJournal } from "../storage/index.ts";
import { verifierKeyOf } from "../trust-log/index.ts";
import { beginGeneration, openLogCopy, readLogAt, restoreLog } from "./index.ts";

let stack: AsyncDisposableStack;
let folder: string;
let log: SmallTrustLog;
const signedSize = 5;

/** A log of nine entries, of which the disk has six and has signed five, and a copy has all. */
beforeEach(async () => {
  stack = new AsyncDisposableStack();
  folder = stack.use(await temporaryFolder()).path;
  log = new SmallTrustLog();
  for (let count = 1; count < 9; count += 1) log.put("service.put", serviceBody(`/s${count}`));
  await writeDisk(log, 6, signedSize);
  await writeCopy("copy", log);
});
afterEach(() => stack.disposeAsync());

async function writeDisk(of: SmallTrustLog, size: number, signed: number): Promise<void> {
  await rm(join(folder, "log"), { recursive: true, force: true });
  await mkdir(join(folder, "log"));
  await using lock = await openWriterLock(join(folder, "log"));
  await using journal = await openFileJournal(join(folder, "log", "segments"), lock);
  await journal.appendAll(of.entries.slice(0, size));
  await (await openHead(join(folder, "log"), lock)).advance({ size: signed, root: of.tree.root(signed) });
}

async function writeCopy(name: string, of: SmallTrustLog, size = of.entries.length): Promise<void> {
  const copy = join(folder, name, "log");
  await mkdir(copy, { recursive: true });
  await using lock = await openWriterLock(copy);
  await using journal = await openFileJournal(join(copy, "segments"), lock);
  await journal.appendAll(of.entries.slice(0, size));
  await writeFile(join(copy, "checkpoint"), of.checkpoint(size));
}

async function onDisk(): Promise<string[]> {
  const entries: string[] = [];
  for await (const finding of readJournal(join(folder, "log", "segments")))
    entries.push("bytes" in finding ? Buffer.from(finding.bytes).toString("hex") : finding.problem);
  return entries;
}

async function restore(name = "copy"): ReturnType<typeof restoreLog> {
  return restoreLog(join(folder, "log"), log.genesis, await openLogCopy(join(folder, name), log.logKey));
}

async function headSize(): Promise<unknown> {
  const text = await readFile(join(folder, "log", "head.json"), "utf8");
  return /"size":([0-9]+)/.exec(text)?.[1];
}

function hexOfAll(entries: readonly Uint8Array[]): string[] {
  return entries.map((entry) => Buffer.from(entry).toString("hex"));
}

describe("restoring a log from a copy", () => {
  test("brings back every entry that the copy has, with a head of a later term, and keeps the old segments", async () => {
    const { term } = JSON.parse(await readFile(join(folder, "log", "head.json"), "utf8"));

    expect(await restore()).toEqual({ ok: true, value: { before: 6, size: 9 } });

    expect(await onDisk()).toEqual(hexOfAll(log.entries));
    const head = JSON.parse(await readFile(join(folder, "log", "head.json"), "utf8"));
    expect(head).toMatchObject({ size: 9, root: Buffer.from(log.tree.root()).toString("hex") });
    expect(head.term).toBeGreaterThan(term);
    expect(
      (await readdir(join(folder, "log"))).some((name) => name.startsWith("segments.before-term-")),
    ).toBe(true);
  });

  test("takes the copy's entries where the disk has unsigned others, which nobody was told of", async () => {
    const other = new SmallTrustLog({ of: log, size: signedSize });
    other.put("service.put", serviceBody("/unsigned"));
    await writeDisk(other, 6, signedSize);

    expect(await restore()).toMatchObject({ ok: true, value: { before: signedSize } });

    expect(await onDisk()).toEqual(hexOfAll(log.entries));
  });

  test("mends a damaged entry, and a disk that has lost its segments", async () => {
    const segments = join(folder, "log", "segments");
    const [name = ""] = await readdir(segments);
    const bytes = new Uint8Array(await readFile(join(segments, name)));
    await writeFile(join(segments, name), bytes.with(100, (bytes[100] ?? 0) ^ 1));
    expect(await onDisk()).toContain("checksum");

    expect(await restore()).toMatchObject({ ok: true, value: { before: 5, size: 9 } });
    expect(await onDisk()).toEqual(hexOfAll(log.entries));
    await rm(segments, { recursive: true });
    expect(await restore()).toMatchObject({ ok: true, value: { before: 0, size: 9 } });
    expect(await onDisk()).toEqual(hexOfAll(log.entries));
  });

  const forked = (): SmallTrustLog => {
    const other = new SmallTrustLog({ of: log, size: signedSize - 2 });
    for (let count = 0; count < 7; count += 1) other.put("service.put", serviceBody(`/other${count}`));
    return other;
  };
  const refusals: readonly (readonly [string, string, () => Promise<void>])[] = [
    ["shorter-copy", "has less than was signed here", () => writeCopy("bad", log, signedSize - 1)],
    ["forked", "has another history, signed as well", () => writeCopy("bad", forked())],
    [
      "incomplete-copy",
      "lacks entries",
      async () => {
        await writeCopy("bad", log, 7);
        await writeFile(join(folder, "bad", "log", "checkpoint"), log.checkpoint(9));
      },
    ],
    [
      "incomplete-copy",
      "has an entry that was not signed",
      async () => {
        const other = new SmallTrustLog({ of: log, size: 8 });
        other.put("service.put", serviceBody("/other"));
        await writeCopy("bad", other);
        await writeFile(join(folder, "bad", "log", "checkpoint"), log.checkpoint(9));
      },
    ],
    [
      "other-log",
      "is of another mesh, though by the same key",
      async () => {
        const other = new SmallTrustLog();
        other.logKey = log.logKey;
        for (let count = 1; count < 9; count += 1) other.put("service.put", serviceBody(`/s${count}`));
        await writeCopy("bad", other);
      },
    ],
  ];
  test("names the first entry at which a copy is another history", async () => {
    await writeCopy("bad", forked());

    expect(await restore("bad")).toMatchObject({ detail: expect.stringMatching(/^entry 3 /) });
  });

  test.each(refusals)("%s: a copy that %s changes nothing", async (reason, _, write) => {
    await write();
    const before = await onDisk();

    expect(await restore("bad")).toMatchObject({ ok: false, reason });

    expect([await onDisk(), await headSize()]).toEqual([before, String(signedSize)]);
  });

  test.each([
    ["no checkpoint", (copy: string) => rm(join(copy, "checkpoint"))],
    [
      "a checkpoint by another key",
      (copy: string) => writeFile(join(copy, "checkpoint"), new SmallTrustLog().checkpoint()),
    ],
  ])("a copy with %s is none: ERR_CONTROL_PLANE_COPY", async (_, spoil) => {
    await spoil(join(folder, "copy", "log"));

    await expect(restore()).rejects.toMatchObject({ code: "ERR_CONTROL_PLANE_COPY" });
  });

  test("is refused while a control plane runs: ERR_STORAGE_LOCKED", async () => {
    await using _lock = await openWriterLock(join(folder, "log"));

    await expect(restore()).rejects.toMatchObject({ code: "ERR_STORAGE_LOCKED" });
  });
});

describe("a new generation", () => {
  const size = 4;
  const folders = () => ({
    log: join(folder, "log"),
    tiles: join(folder, "tiles"),
    aside: join(folder, "log.before-generation-2"),
  });
  const newKey = signerNamed("example.org/trust-log-2");

  function recoveryBy(signers = [log.operators[0]]): Uint8Array {
    const at = new SmallTrustLog({ of: log, size });
    return at.entry("log.recover", at.recoveryBody(newKey), { by: signers });
  }

  test("goes on after the size that people chose, keeps what was there aside, and verifies offline", async () => {
    const entry = recoveryBy();

    expect(await beginGeneration(folders(), { size, entry, logKey: newKey }, silentLog)).toEqual({
      ok: true,
      value: size + 1,
    });

    expect(await onDisk()).toEqual(hexOfAll([...log.entries.slice(0, size), entry]));
    expect(await readdir(folders().aside)).toEqual(expect.arrayContaining(["head.json", "segments"]));
    const verdict = await verifyLogFiles({
      log: folders().log,
      tiles: folders().tiles,
      genesis: log.genesis,
      logKey: verifierKeyOf(newKey),
    });
    expect([verdict.problems, verdict.size]).toEqual([[], size + 1]);
    const at = await readLogAt(folders().log, size + 1);
    expect(at.ok && at.value.state.genesis?.recoveredSizes).toEqual([size]);
    await expect(openLogCopy(folders().tiles, log.logKey)).rejects.toMatchObject({
      code: "ERR_CONTROL_PLANE_COPY",
    });
    await cp(folders().tiles, join(folder, "published"), { recursive: true });
    expect((await openLogCopy(join(folder, "published"), newKey)).checkpoint.size).toBe(size + 1);
  });

  test.each([
    ["unauthorised", "the issuer alone has signed for", () => [log.issuer]],
    ["unauthorised", "the log's key has signed beside a person", () => [log.operators[0], log.logKey]],
    ["bad-signature", "somebody has signed in a person's name", () => [signerNamed(log.operators[0].name)]],
  ])("%s: does not begin where %s", async (reason, _, signers) => {
    const before = await onDisk();

    expect(
      await beginGeneration(folders(), { size, entry: recoveryBy(signers()), logKey: newKey }, silentLog),
    ).toMatchObject({ ok: false, reason });

    expect([await onDisk(), await headSize()]).toEqual([before, String(signedSize)]);
  });

  test("does not begin elsewhere than was signed for, nor beyond what can be read", async () => {
    const entry = recoveryBy();
    const at = (other: number): ReturnType<typeof beginGeneration> =>
      beginGeneration(folders(), { size: other, entry, logKey: newKey }, silentLog);

    expect(await at(size - 1)).toMatchObject({ reason: "conflict" });
    expect(await at(7)).toMatchObject({ reason: "unreadable-log" });
  });
});
