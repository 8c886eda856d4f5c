// Tries for writer locks when its parent says so; answers with what it got.
import { open, unlink } from "node:fs/promises";
import { join } from "node:path";
import { codeOf } from "../../../src/base/mesh-error.ts";
import { openWriterLock, type WriterLock } from "../../../src/storage/index.ts";

let held: WriterLock | undefined;

process.on("disconnect", () => process.exit());
process.on("message", (request: { take?: string; release?: true; churn?: string; millis?: number }) => {
  void answer(request).then((reply) => process.send?.(reply));
});

async function answer(request: {
  take?: string;
  release?: true;
  churn?: string;
  millis?: number;
}): Promise<object> {
  if (request.take !== undefined) return take(request.take);
  if (request.churn !== undefined) return churn(request.churn, request.millis ?? 0);
  await held?.[Symbol.asyncDispose]();
  return { released: true };
}

async function take(folder: string): Promise<object> {
  try {
    held = await openWriterLock(folder);
    await held.assertHeld();
    return { term: held.term };
  } catch (error) {
    return { code: codeOf(error) ?? String(error) };
  }
}

// Whoever holds the lock makes a file that must not be there yet.
async function churn(folder: string, millis: number): Promise<object> {
  const terms: number[] = [];
  const faults: string[] = [];
  const end = performance.now() + millis;
  while (performance.now() < end) {
    try {
      await using lock = await openWriterLock(folder);
      const alone = join(folder, "alone");
      await (await open(alone, "wx")).close();
      await lock.assertHeld();
      terms.push(lock.term);
      await unlink(alone);
    } catch (error) {
      if (codeOf(error) !== "ERR_STORAGE_LOCKED") faults.push(String(error));
    }
  }
  return { terms, faults };
}
