import { readdir, truncate, unlink } from "node:fs/promises";
import { join } from "node:path";
import { bytesOf, sameBytes, textOf } from "../base/bytes.ts";
import { canonicalJson, isJsonObject, parseCanonicalJson } from "../base/canonical-json.ts";
import { codeOf } from "../base/mesh-error.ts";
import { createFileAtomically, makeFolder, readFileIfPresent, syncFolder } from "./atomic-file.ts";
import { ownProcess, type ProcessIdentity, stateOf } from "./process-identity.ts";
import { onDisk, storageFault } from "./storage-fault.ts";

/** The right to write in a folder, as long as nobody has taken it over. Disposing of it gives it up. */
export interface WriterLock extends AsyncDisposable {
  /** Greater than that of every earlier holder, also across restarts; durable. */
  readonly term: number;
  /** Throws `ERR_STORAGE_FENCED` if the lock was given up or another process has a later term. */
  assertHeld(): Promise<void>;
}

/**
 * Takes the writer lock of a folder. Throws `ERR_STORAGE_LOCKED`, naming the process, while its holder lives.
 *
 * Each holder has a claim, the file `writer-lock/<term>.claim`; the highest number holds. A claim says which process
 * made it; an empty one was given up (emptying needs no room on a full disk). To take over, a process makes the claim
 * with the next number, which the file system grants to one of those who try (`link`), complete with its content.
 * The highest claim is never removed, only emptied, so terms never return and no living claim is ever moved aside. A
 * process that slept between looking and claiming may find its number free again because it was cleared away; a
 * claim counts only if it is still the highest when the folder is listed once more, and there a higher one then is.
 *
 * What remains is what POSIX leaves open: that listing may miss a name that is being replaced by a later one at that
 * moment (Linux lists a folder of this size in one step). The first {@link WriterLock.assertHeld} finds it. The
 * folder must be on a file system of this machine, and a holder in another pid namespace cannot be seen, so its
 * claim is honoured until someone empties it.
 */
export async function openWriterLock(folder: string): Promise<WriterLock> {
  const claims = join(folder, "writer-lock");
  return onDisk(claims, async () => {
    await makeFolder(claims);
    const content = bytesOf(canonicalJson({ ...(await ownProcess()) }));
    for (let attempt = 0; attempt < attemptsMax; attempt += 1) {
      const term = await claimNext(claims, content);
      if (term !== undefined) return hold(claims, term, content);
    }
    throw storageFault("ERR_STORAGE_LOCKED", `${folder} is being taken by other processes`);
  });
}

/** The process that holds the writer lock of a folder and lives; undefined for none. Changes nothing. */
export async function writerOf(folder: string): Promise<number | undefined> {
  const claims = join(folder, "writer-lock");
  return onDisk(claims, async () => {
    const highest = await highestClaim(claims).catch(() => undefined);
    const found = highest === undefined ? undefined : await readFileIfPresent(pathOf(claims, highest));
    const owner = found === undefined ? undefined : parseOwner(found);
    return owner !== undefined && (await stateOf(owner)) === "alive" ? owner.pid : undefined;
  });
}

const attemptsMax = 32;

// The term, or undefined where another process was quicker and the folder has to be looked at again.
async function claimNext(claims: string, content: Uint8Array): Promise<number | undefined> {
  const highest = await highestClaim(claims);
  if (highest !== undefined && !(await isFree(claims, highest))) return undefined;
  return claimAfter(claims, highest ?? 0, content);
}

/**
 * Claims the term after `highest`, which was free when somebody looked; undefined where others have been quicker,
 * be it by one term or by many. Exported for its test.
 */
export async function claimAfter(
  claims: string,
  highest: number,
  content: Uint8Array,
): Promise<number | undefined> {
  const term = highest + 1;
  if (!(await createFileAtomically(pathOf(claims, term), content, 0o600))) return undefined;
  if ((await highestClaim(claims)) === term) return term;
  await unlinkIfPresent(pathOf(claims, term));
  return undefined;
}

async function hold(claims: string, term: number, content: Uint8Array): Promise<WriterLock> {
  for (const earlier of await listClaims(claims))
    if (earlier < term) await unlinkIfPresent(pathOf(claims, earlier));
  await syncFolder(claims);

  async function isHeld(): Promise<boolean> {
    const found = await readFileIfPresent(pathOf(claims, term));
    return found !== undefined && sameBytes(found, content) && (await highestClaim(claims)) === term;
  }

  return {
    term,
    async assertHeld() {
      if (!(await onDisk(claims, isHeld)))
        throw storageFault(
          "ERR_STORAGE_FENCED",
          `term ${term} of ${claims} is over: write nothing more there`,
        );
    },
    async [Symbol.asyncDispose]() {
      await onDisk(claims, async () => {
        if (await isHeld()) await truncate(pathOf(claims, term), 0);
      });
    },
  };
}

// False if the claim is gone, because then there is a higher one to look at. Throws while its owner lives.
async function isFree(claims: string, term: number): Promise<boolean> {
  const path = pathOf(claims, term);
  const found = await readFileIfPresent(path);
  if (found === undefined) return false;
  if (found.byteLength === 0) return true;
  const owner = parseOwner(found);
  if (owner === undefined) throw storageFault("ERR_STORAGE_DAMAGED", `${path} names no process`);
  const state = await stateOf(owner);
  if (state === "dead") return true;
  const why =
    state === "alive"
      ? "is running"
      : `is out of sight in pid namespace ${owner.space}; if it is certainly gone, empty ${path}`;
  throw storageFault("ERR_STORAGE_LOCKED", `process ${owner.pid}, which holds ${claims}, ${why}`);
}

function parseOwner(content: Uint8Array): ProcessIdentity | undefined {
  const parsed = parseCanonicalJson(textOf(content) ?? "");
  if (!parsed.ok || !isJsonObject(parsed.value)) return undefined;
  const { pid, boot, started, space } = parsed.value;
  if (typeof pid !== "number" || pid < 1) return undefined;
  if (typeof boot !== "string" || typeof started !== "string" || typeof space !== "string") return undefined;
  return { pid, boot, started, space };
}

async function highestClaim(claims: string): Promise<number | undefined> {
  return (await listClaims(claims)).at(-1);
}

async function listClaims(claims: string): Promise<number[]> {
  const names = await readdir(claims);
  return names
    .filter((name) => /^\d{12}\.claim$/.test(name))
    .sort()
    .map((name) => Number(name.slice(0, 12)));
}

function pathOf(claims: string, term: number): string {
  return join(claims, `${String(term).padStart(12, "0")}.claim`);
}

async function unlinkIfPresent(path: string): Promise<void> {
  try {
    await unlink(path);
  } catch (error) {
    if (codeOf(error) !== "ENOENT") throw error;
  }
}
