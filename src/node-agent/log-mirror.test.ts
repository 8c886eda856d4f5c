import { readdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, it } from "vitest";
import { temporaryFolder } from "../../test/contracts/temporary-folder.ts";
import { silentLog } from "../../test/fakes/silent-log.ts";
import { SmallTrustLog, serviceBody } from "../../test/fakes/small-trust-log.ts";
import { openWriterLock } from "../storage/index.ts";
import { type CheckedCheckpoint, checkCheckpoint } from "../trust-log/index.ts";
import { LogMirror } from "./log-mirror.ts";

function smallLog(entries: number): SmallTrustLog {
  const log = new SmallTrustLog();
  while (log.entries.length < entries) log.put("service.put", serviceBody(`/shop/s${log.entries.length}`));
  return log;
}

function checkpointOf(log: SmallTrustLog, size: number): CheckedCheckpoint {
  const checked = checkCheckpoint(log.checkpoint(size), log.logKey);
  if (!checked.ok) throw new Error(checked.reason);
  return checked.value;
}

async function openMirror(folder: string, log: SmallTrustLog): Promise<LogMirror & AsyncDisposable> {
  await using stack = new AsyncDisposableStack();
  const lock = stack.use(await openWriterLock(folder));
  const mirror = stack.use(
    await LogMirror.open({ folder: join(folder, "log"), lock, logKey: log.logKey, log: silentLog }),
  );
  const held = stack.move();
  return Object.assign(mirror, { [Symbol.asyncDispose]: () => held.disposeAsync() });
}

it("has nothing at first, and what it was given after a restart", async () => {
  await using folder = await temporaryFolder();
  const log = smallLog(9);
  {
    await using mirror = await openMirror(folder.path, log);
    expect([mirror.remembered, mirror.newest, await mirror.step()]).toEqual([
      undefined,
      undefined,
      undefined,
    ]);
    await mirror.keep(log.step(0, 4), checkpointOf(log, 4));
    await mirror.keep(log.step(4, 9), checkpointOf(log, 9));
    await mirror.keep(log.step(9, 9), checkpointOf(log, 9));
  }

  await using mirror = await openMirror(folder.path, log);

  expect(mirror.remembered?.size).toBe(9);
  expect((await mirror.step())?.entries.map(hex)).toEqual(log.entries.map(hex));
});

it("reads what it was given a moment ago from memory, and all of it the same from the disk", async () => {
  await using folder = await temporaryFolder();
  const log = smallLog(300);
  await using mirror = await openMirror(folder.path, log);
  for (const size of [20, 290, 300]) {
    const kept = mirror.newest?.size ?? 0;
    await mirror.keep(log.step(kept, size), checkpointOf(log, size));
  }
  const read = async (from: number, to: number): Promise<string[]> =>
    (await Array.fromAsync(mirror.read(from, to))).map(hex);

  for (const [from, to] of [
    [0, 300],
    [43, 45],
    [44, 300],
    [300, 300],
  ] as const)
    expect(await read(from, to)).toEqual(log.entries.slice(from, to).map(hex));
  await rm(join(folder.path, "log", "segments"), { recursive: true });
  expect(await read(44, 300)).toEqual(log.entries.slice(44).map(hex));
  await expect(read(43, 300)).rejects.toThrow("the disk failed");
});

it("takes a step that overlaps with what it has", async () => {
  await using folder = await temporaryFolder();
  const log = smallLog(9);
  await using mirror = await openMirror(folder.path, log);
  await mirror.keep(log.step(0, 6), checkpointOf(log, 6));

  await mirror.keep(log.step(3, 9), checkpointOf(log, 9));
  await mirror.keep(log.step(0, 9), checkpointOf(log, 9));

  expect((await mirror.step())?.entries.map(hex)).toEqual(log.entries.map(hex));
});

it("serves no further than its checkpoint, where a crash left entries without one", async () => {
  await using folder = await temporaryFolder();
  const log = smallLog(9);
  const note = join(folder.path, "log", "checkpoint");
  {
    await using mirror = await openMirror(folder.path, log);
    await mirror.keep(log.step(0, 4), checkpointOf(log, 4));
    await mirror.keep(log.step(4, 9), checkpointOf(log, 9));
  }
  await writeFile(note, log.checkpoint(4));

  await using mirror = await openMirror(folder.path, log);
  expect([mirror.newest?.size, (await mirror.step())?.entries.length]).toEqual([4, 4]);
  await mirror.keep(log.step(4, 9), checkpointOf(log, 9));

  expect((await mirror.step())?.entries.map(hex)).toEqual(log.entries.map(hex));
});

it("replaces entries that a checkpoint never covered by those that one does", async () => {
  await using folder = await temporaryFolder();
  const log = smallLog(6);
  await using mirror = await openMirror(folder.path, log);
  await mirror.keep(new SmallTrustLog().step(0, 1), checkpointOf(log, 1));

  await mirror.keep(log.step(0, 6), checkpointOf(log, 6));

  expect((await mirror.step())?.entries.map(hex)).toEqual(log.entries.map(hex));
});

it("keeps no step that begins beyond the copy, and keeps the copy", async () => {
  await using folder = await temporaryFolder();
  const log = smallLog(9);
  await using mirror = await openMirror(folder.path, log);
  await mirror.keep(log.step(0, 4), checkpointOf(log, 4));

  await expect(mirror.keep(log.step(6, 9), checkpointOf(log, 9))).rejects.toMatchObject({
    code: "ERR_NODE_AGENT_MIRROR",
  });

  expect([mirror.newest?.size, (await mirror.step())?.entries.length]).toEqual([4, 4]);
});

it("throws a damaged copy away, and never the memory of how far the log had come", async () => {
  await using folder = await temporaryFolder();
  const log = smallLog(9);
  {
    await using mirror = await openMirror(folder.path, log);
    await mirror.keep(log.step(0, 9), checkpointOf(log, 9));
  }
  const segments = join(folder.path, "log", "segments");
  const [name = ""] = await readdir(segments);
  const bytes = new Uint8Array(await readFile(join(segments, name)));
  await writeFile(join(segments, name), bytes.with(100, (bytes[100] ?? 0) ^ 1));

  await using mirror = await openMirror(folder.path, log);

  expect([mirror.remembered?.size, mirror.newest, await mirror.step()]).toEqual([9, undefined, undefined]);
});

it.each([
  ["is damaged", (log: SmallTrustLog) => log.checkpoint().slice(0, -3)],
  ["is another log's", () => new SmallTrustLog().checkpoint()],
  ["is empty", () => new Uint8Array(0)],
])("does not open where the memory %s, rather than to begin anew", async (_what, noteOf) => {
  await using folder = await temporaryFolder();
  const log = smallLog(3);
  {
    await using mirror = await openMirror(folder.path, log);
    await mirror.keep(log.step(0), checkpointOf(log, 3));
  }
  await writeFile(join(folder.path, "log", "checkpoint"), noteOf(log));

  await expect(openMirror(folder.path, log)).rejects.toMatchObject({
    code: "ERR_NODE_AGENT_MEMORY",
    message: expect.stringMatching(/checkpoint is not a checkpoint of this log .*: restore it .* remove it/),
  });
});

it("remembers a recovery through a restart, and from then on no checkpoint of the generation before", async () => {
  await using folder = await temporaryFolder();
  const log = smallLog(9);
  const chosen = new SmallTrustLog({ of: log, size: 4 });
  chosen.putRecovery();
  const recovery = { generation: 2, size: 4, root: log.tree.root(4), logKey: chosen.logKey };
  {
    await using mirror = await openMirror(folder.path, log);
    await mirror.keep(log.step(0, 9), checkpointOf(log, 9));
    await mirror.noteRecovery(recovery);
    // Until the new history is here, sidecars are served the old one.
    expect(mirror.newest?.size).toBe(9);
  }
  {
    await using mirror = await openMirror(folder.path, log);
    expect([mirror.logKey.name, mirror.remembered?.size, mirror.newest]).toEqual([
      "example.org/trust-log-2",
      4,
      undefined,
    ]);
    await mirror.keep(chosen.step(0), checkpointOf(chosen, 5));
  }

  await using mirror = await openMirror(folder.path, log);
  expect([mirror.remembered?.size, (await mirror.step())?.entries.map(hex)]).toEqual([
    5,
    chosen.entries.map(hex),
  ]);
});

it("does not open where the note of a recovery is damaged, rather than to go back to the old key", async () => {
  await using folder = await temporaryFolder();
  const log = smallLog(3);
  {
    await using mirror = await openMirror(folder.path, log);
    await mirror.keep(log.step(0), checkpointOf(log, 3));
  }
  await writeFile(join(folder.path, "log", "generation"), "{}");

  await expect(openMirror(folder.path, log)).rejects.toMatchObject({ code: "ERR_NODE_AGENT_MEMORY" });
});

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("hex");
}
