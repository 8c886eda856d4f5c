import { join } from "node:path";
import { bytesOf, bytesOfHex, hexOf, sameBytes, textOf } from "../base/bytes.ts";
import { canonicalJson, isJsonObject, parseCanonicalJson } from "../base/canonical-json.ts";
import { readFileIfPresent, writeFileAtomically } from "./atomic-file.ts";
import { onDisk, storageFault } from "./storage-fault.ts";
import type { WriterLock } from "./writer-lock.ts";

/** How far a log has got: what may be signed at most. */
export interface LogHead {
  /** The term of the writer that got there. */
  readonly term: number;
  readonly size: number;
  readonly root: Uint8Array;
}

/** The durable head of one log. */
export interface Head {
  /** The last head that is durable; undefined before the first. */
  readonly current: LogHead | undefined;
  /**
   * Moves the head on; once this resolves, a checkpoint of `next` may be signed. Calls run one after the other.
   * Throws `ERR_STORAGE_HEAD_CONFLICT` for a smaller size or the same size with another root, `ERR_STORAGE_FENCED`
   * if a later term exists, `ERR_STORAGE_FULL` or `ERR_STORAGE_IO`.
   */
  advance(next: { readonly size: number; readonly root: Uint8Array }): Promise<void>;
}

/**
 * Opens the head in `<folder>/head.json` for the holder of the folder's writer lock. Throws `ERR_STORAGE_FENCED` if
 * the file is of a later term than the lock, and `ERR_STORAGE_DAMAGED` if it is no head.
 */
export async function openHead(folder: string, lock: WriterLock): Promise<Head> {
  const path = join(folder, "head.json");
  await lock.assertHeld();
  let current = await readHead(path, lock);
  let previous = Promise.resolve();

  async function advanceNow(next: { readonly size: number; readonly root: Uint8Array }): Promise<void> {
    assertForward(await readHead(path, lock), next);
    assertForward(current, next);
    await lock.assertHeld();
    const head = { term: lock.term, size: next.size, root: new Uint8Array(next.root) };
    const text = canonicalJson({ ...head, root: hexOf(head.root) });
    await onDisk(path, () => writeFileAtomically(path, bytesOf(text), 0o600));
    // Once more: a successor that began before this write was durable has not seen it, so it must not be signed.
    await lock.assertHeld();
    current = head;
  }

  return {
    get current() {
      return current;
    },
    advance(next) {
      const done = previous.then(() => advanceNow(next));
      previous = done.catch(() => undefined);
      return done;
    },
  };
}

async function readHead(path: string, lock: WriterLock): Promise<LogHead | undefined> {
  const bytes = await onDisk(path, () => readFileIfPresent(path));
  if (bytes === undefined) return undefined;
  const head = parseHead(bytes);
  if (head === undefined) throw storageFault("ERR_STORAGE_DAMAGED", `${path} is no head of a log`);
  if (head.term > lock.term)
    throw storageFault("ERR_STORAGE_FENCED", `${path} is of term ${head.term}, this writer of ${lock.term}`);
  return head;
}

function parseHead(bytes: Uint8Array): LogHead | undefined {
  const parsed = parseCanonicalJson(textOf(bytes) ?? "");
  if (!parsed.ok || !isJsonObject(parsed.value)) return undefined;
  const { term, size, root } = parsed.value;
  const rootBytes = typeof root === "string" ? bytesOfHex(root) : undefined;
  if (typeof term !== "number" || typeof size !== "number" || rootBytes === undefined) return undefined;
  return term < 1 || size < 0 ? undefined : { term, size, root: rootBytes };
}

function assertForward(
  head: LogHead | undefined,
  next: { readonly size: number; readonly root: Uint8Array },
): void {
  if (head === undefined || next.size > head.size) return;
  if (next.size === head.size && sameBytes(next.root, head.root)) return;
  throw storageFault(
    "ERR_STORAGE_HEAD_CONFLICT",
    `the head is at size ${head.size}, root ${hexOf(head.root)}; it does not go to ${next.size}, root ${hexOf(next.root)}`,
  );
}
