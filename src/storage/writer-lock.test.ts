import { type ChildProcess, fork, spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdir, readdir, readFile, truncate, unlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { type TemporaryFolder, temporaryFolder } from "../../test/contracts/temporary-folder.ts";
import { ownProcess } from "./process-identity.ts";
import { claimAfter, openWriterLock } from "./writer-lock.ts";

let folder: TemporaryFolder;

beforeEach(async () => {
  folder = await temporaryFolder();
});

afterEach(async () => {
  await folder[Symbol.asyncDispose]();
});

const claimPath = (term: number) =>
  join(folder.path, "writer-lock", `${String(term).padStart(12, "0")}.claim`);

async function writeClaim(term: number, claim: object): Promise<void> {
  await mkdir(join(folder.path, "writer-lock"), { recursive: true });
  await writeFile(claimPath(term), JSON.stringify(claim, Object.keys(claim).sort()));
}

test("has one holder, which the refusal names: ERR_STORAGE_LOCKED", async () => {
  await using lock = await openWriterLock(folder.path);

  await expect(openWriterLock(folder.path)).rejects.toMatchObject({
    code: "ERR_STORAGE_LOCKED",
    message: expect.stringMatching(new RegExp(`process ${process.pid}, .* is running`)),
  });

  await lock.assertHeld();
});

test("has a greater term each time, and one file", async () => {
  const terms: number[] = [];
  for (let round = 0; round < 12; round += 1) {
    await using lock = await openWriterLock(folder.path);
    terms.push(lock.term);
  }

  expect(terms).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]);
  expect(await readdir(join(folder.path, "writer-lock"))).toEqual(["000000000012.claim"]);
});

test("is over once given up: ERR_STORAGE_FENCED", async () => {
  const lock = await openWriterLock(folder.path);

  await lock[Symbol.asyncDispose]();

  await expect(lock.assertHeld()).rejects.toMatchObject({ code: "ERR_STORAGE_FENCED" });
});

test.each([
  { what: "has a later term", harm: () => writeFile(claimPath(9), "") },
  { what: "replaced the claim", harm: () => writeClaim(1, { pid: 1 }) },
  { what: "removed the claim", harm: () => unlink(claimPath(1)) },
])("is over once somebody $what, and giving it up changes nothing", async ({ harm }) => {
  const lock = await openWriterLock(folder.path);

  await harm();
  const claims = await contents();

  await expect(lock.assertHeld()).rejects.toMatchObject({ code: "ERR_STORAGE_FENCED" });
  await lock[Symbol.asyncDispose]();
  expect(await contents()).toEqual(claims);

  async function contents(): Promise<string[][]> {
    const names = await readdir(join(folder.path, "writer-lock"));
    return Promise.all(
      names.map(async (name) => [name, await readFile(join(folder.path, "writer-lock", name), "utf8")]),
    );
  }
});

test.each([
  { what: "one claim", later: [4] },
  { what: "many claims, of which the last is left", later: [9] },
])("is not had by who slept while others made $what", async ({ later }) => {
  for (const term of later) await writeClaim(term, await ownProcess());

  const claimed = await claimAfter(join(folder.path, "writer-lock"), 3, new Uint8Array([1]));

  expect(claimed).toBeUndefined();
  expect(await readdir(join(folder.path, "writer-lock"))).toEqual(
    later.map((term) => `00000000000${term}.claim`),
  );
});

describe("a claim of", () => {
  test.each([
    { what: "a process that ended", change: { pid: spawnSync("true").pid } },
    { what: "an earlier process with this number", change: { started: "1" } },
    { what: "an earlier boot", change: { boot: "00000000-0000-0000-0000-000000000000" } },
  ])("$what is taken over", async ({ change }) => {
    await writeClaim(41, { ...(await ownProcess()), ...change });

    await using lock = await openWriterLock(folder.path);

    expect(lock.term).toBe(42);
    await lock.assertHeld();
  });

  test("another pid namespace is honoured, and the refusal says what repairs it", async () => {
    await writeClaim(41, { ...(await ownProcess()), space: "pid:[1]" });

    await expect(openWriterLock(folder.path)).rejects.toMatchObject({
      code: "ERR_STORAGE_LOCKED",
      message: expect.stringMatching(/pid namespace pid:\[1\]; .* empty .*41\.claim/),
    });

    await truncate(claimPath(41), 0);
    await using lock = await openWriterLock(folder.path);
    expect(lock.term).toBe(42);
  });

  test("nobody, as a broken disk leaves it, is refused: ERR_STORAGE_DAMAGED", async () => {
    await writeClaim(41, {});

    await expect(openWriterLock(folder.path)).rejects.toMatchObject({ code: "ERR_STORAGE_DAMAGED" });
  });
});

describe("two processes", () => {
  let children: ChildProcess[];

  beforeEach(async () => {
    children = [startChild(), startChild()];
    await Promise.all(children.map((child) => once(child, "spawn")));
  });

  afterEach(async () => {
    for (const child of children) child.kill("SIGKILL");
    await Promise.all(children.map(exited));
  });

  test("that race for the claim of a dead one never both get it", async () => {
    const dead = { ...(await ownProcess()), pid: spawnSync("true").pid };
    const winners = new Set<number>();

    for (let round = 0; round < 120; round += 1) {
      const path = join(folder.path, String(round));
      await mkdir(join(path, "writer-lock"), { recursive: true });
      await writeFile(
        join(path, "writer-lock", "000000000006.claim"),
        JSON.stringify(dead, Object.keys(dead).sort()),
      );
      const replies = await Promise.all(children.map((child) => ask(child, { take: path })));
      const winner = replies.findIndex((reply) => "term" in reply);
      expect(replies[winner]).toEqual({ term: 7 });
      expect(replies[1 - winner]).toEqual({ code: "ERR_STORAGE_LOCKED" });
      winners.add(winner);
    }

    expect(winners).toEqual(new Set([0, 1]));
  });

  test("that take it in turns are never in it together, and no term comes twice", async () => {
    const replies = await Promise.all(
      children.map((child) => ask(child, { churn: folder.path, millis: 600 })),
    );

    const terms = replies.flatMap((reply) => (Array.isArray(reply["terms"]) ? reply["terms"] : []));
    expect(replies.map((reply) => reply["faults"])).toEqual([[], []]);
    expect(terms.length).toBeGreaterThan(10);
    expect(new Set(terms).size).toBe(terms.length);
  });

  test("hand over when one is killed", async () => {
    const [first, second] = children;
    if (first === undefined || second === undefined) throw new Error("two children were started");
    expect(await ask(first, { take: folder.path })).toEqual({ term: 1 });
    expect(await ask(second, { take: folder.path })).toEqual({ code: "ERR_STORAGE_LOCKED" });

    first.kill("SIGKILL");
    await exited(first);

    expect(await ask(second, { take: folder.path })).toEqual({ term: 2 });
  });
});

function startChild(): ChildProcess {
  const path = new URL("../../test/contracts/storage-processes/contend-for-lock.ts", import.meta.url)
    .pathname;
  return fork(path, { execArgv: [] });
}

async function exited(child: ChildProcess): Promise<void> {
  if (child.exitCode === null && child.signalCode === null) await once(child, "exit");
}

async function ask(child: ChildProcess, request: object): Promise<Record<string, unknown>> {
  const answered = once(child, "message");
  child.send(request);
  const [reply] = await answered;
  return reply;
}
