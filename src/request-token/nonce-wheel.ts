import type { RandomBytes } from "../base/clock.ts";
import { halfSipHash, halfSipKeyBytes } from "./half-sip-hash.ts";
import type { ReplayWindow } from "./replay-window.ts";

/** What a wheel says of a nonce: never seen before and now kept; seen; no room; or of a time that it no longer keeps. */
export type NonceVerdict = "fresh" | "seen" | "full" | "forgotten";

/** Remembers the nonces of all tokens that are inside the window, and of none longer. */
export interface NonceWheel {
  /**
   * Keeps the 24 bytes at `offset` (nonce, then the first 8 bytes of the sender's fingerprint), which belong to a token
   * of `issuedAtMillis`, and says whether they are new. The caller has checked that the time is inside the window.
   */
  readonly keep: (bytes: Uint8Array, offset: number, issuedAtMillis: number) => NonceVerdict;
  /** How many bytes its tables have once each has been filled; they are made at first use and grow as they fill. */
  readonly bytesMax: number;
  /** How many bytes of tables there are now. */
  readonly bytes: () => number;
  /** How many nonces it holds now, those of past buckets that wait to be used again included. */
  readonly entries: () => number;
}

/** What a wheel is made for. */
export interface NonceWheelOptions {
  readonly window: ReplayWindow;
  /** How many tokens of one bucket's time it can hold; {@link nonceBucketEntriesMax} unless given. */
  readonly bucketEntriesMax?: number;
  /** For the key that places nonces, so that no sender can aim at one place. */
  readonly randomBytes: RandomBytes;
}

/** How many tokens a service's proxy can accept with times inside the same bucket of 5 s: 52,428 each second. */
export const nonceBucketEntriesMax = 262_144;

/** For how many a table is made at first; it gets four times as large whenever it is full, up to the most there may be. */
export const nonceBucketEntriesFirst = 4_096;

/** How much time one bucket covers, in milliseconds of the issuer's time, for the default window. */
export const nonceBucketMillis = 5_000;

/**
 * A wheel of tables, one for each bucket of time, so that what is past is dropped a table at a time. A live entry is
 * never evicted: where there is no room, nothing is accepted.
 */
export function nonceWheel(options: NonceWheelOptions): NonceWheel {
  const { pastMillis, futureMillis } = options.window;
  const bucketMillis = Math.max(1, Math.min(nonceBucketMillis, pastMillis + futureMillis));
  // The window may begin and end inside a bucket, hence two more than fit into it.
  const bucketCount = Math.ceil((pastMillis + futureMillis) / bucketMillis) + 2;
  const entriesMax = options.bucketEntriesMax ?? nonceBucketEntriesMax;
  const key = hashKey(options.randomBytes);
  const buckets: (Bucket | undefined)[] = Array.from({ length: bucketCount });
  const words = new Uint32Array(wordsPerEntry);

  const bucketOf = (number: number): Bucket | undefined => {
    const place = number % bucketCount;
    const bucket = buckets[place] ?? emptyBucket(number, Math.min(entriesMax, nonceBucketEntriesFirst));
    // A place is used again only for a later time; that of an earlier one is gone, and a token of it may have been used.
    if (bucket.number > number) return undefined;
    if (bucket.number < number) {
      bucket.table.taken.fill(0);
      bucket.bySender.fill(0);
      bucket.entries = 0;
      bucket.number = number;
    }
    buckets[place] = bucket;
    return bucket;
  };

  return {
    keep: (bytes, offset, issuedAtMillis) => {
      const bucket = bucketOf(Math.floor(issuedAtMillis / bucketMillis));
      if (bucket === undefined) return "forgotten";
      readWords(bytes, offset, words);
      const slot = findSlot(bucket.table, words, halfSipHash(key, words));
      if (slot === undefined) return "seen";
      if (isFull(bucket, words, entriesMax)) return "full";
      put(bucket.table, slot, words);
      bucket.entries += 1;
      bucket.bySender[senderPlace(words)] = sentBy(bucket, words) + 1;
      if (bucket.entries === bucket.table.entriesMax && bucket.entries < entriesMax)
        bucket.table = grown(bucket.table, Math.min(entriesMax, bucket.entries * growthFactor), key);
      return "fresh";
    },
    bytesMax: bucketCount * bytesFor(entriesMax),
    bytes: () =>
      buckets.reduce(
        (sum, bucket) => sum + (bucket === undefined ? 0 : bytesFor(bucket.table.entriesMax)),
        0,
      ),
    entries: () => buckets.reduce((sum, bucket) => sum + (bucket?.entries ?? 0), 0),
  };
}

interface Bucket {
  /** Which bucket of time since 1970 the table holds. */
  number: number;
  entries: number;
  table: Table;
  /** How many entries each sender has; senders whose fingerprints begin alike are counted together. */
  readonly bySender: Uint32Array;
}

interface Table {
  /** How many entries it is made for. */
  readonly entriesMax: number;
  readonly words: Uint32Array;
  /** 1 where a slot is taken. */
  readonly taken: Uint8Array;
}

/** Nonce and sender: 16 and 8 bytes. */
const wordsPerEntry = 6;
const bytesPerSlot = wordsPerEntry * Uint32Array.BYTES_PER_ELEMENT + 1;
/** So a table gets seven tenths full: 36 bytes an entry, and some six looks for a new one at the end. */
const slotsForSeven = 10;
const growthFactor = 4;
const senderCounters = 1_024;
const commonShare = 0.5;
const senderShareWhenScarce = 1 / 8;

function slotsFor(entriesMax: number): number {
  return Math.ceil((entriesMax * slotsForSeven) / 7);
}

function bytesFor(entriesMax: number): number {
  return slotsFor(entriesMax) * bytesPerSlot + senderCounters * Uint32Array.BYTES_PER_ELEMENT;
}

function emptyBucket(number: number, entriesMax: number): Bucket {
  return { number, entries: 0, table: emptyTable(entriesMax), bySender: new Uint32Array(senderCounters) };
}

function emptyTable(entriesMax: number): Table {
  const slots = slotsFor(entriesMax);
  return { entriesMax, words: new Uint32Array(slots * wordsPerEntry), taken: new Uint8Array(slots) };
}

/** A larger table with what a full one holds. */
function grown(table: Table, entriesMax: number, key: Uint32Array): Table {
  const larger = emptyTable(entriesMax);
  for (const [slot, isTaken] of table.taken.entries()) {
    if (isTaken === 0) continue;
    const words = table.words.subarray(slot * wordsPerEntry, (slot + 1) * wordsPerEntry);
    const free = findSlot(larger, words, halfSipHash(key, words));
    if (free !== undefined) put(larger, free, words);
  }
  return larger;
}

function put(table: Table, slot: number, words: Uint32Array): void {
  table.taken[slot] = 1;
  table.words.set(words, slot * wordsPerEntry);
}

/**
 * From the middle on there is room for those alone that have sent less than an eighth. A sender is a certificate; a
 * caller has two while one is renewed, and would need five to fill a table.
 */
function isFull(bucket: Bucket, words: Uint32Array, entriesMax: number): boolean {
  if (bucket.entries < entriesMax * commonShare) return false;
  return bucket.entries >= entriesMax || sentBy(bucket, words) >= entriesMax * senderShareWhenScarce;
}

function sentBy(bucket: Bucket, words: Uint32Array): number {
  return bucket.bySender[senderPlace(words)] ?? 0;
}

function senderPlace(words: Uint32Array): number {
  return (words[wordsPerEntry - 1] ?? 0) % senderCounters;
}

/** The first free slot from the hash's place on, or undefined where the words are found before it. */
function findSlot({ taken, words: held }: Table, words: Uint32Array, hash: number): number | undefined {
  let slot = Math.floor((hash / 0x1_0000_0000) * taken.length);
  while (taken[slot] === 1) {
    if (holds(held, slot * wordsPerEntry, words)) return undefined;
    slot = slot + 1 === taken.length ? 0 : slot + 1;
  }
  return slot;
}

function holds(table: Uint32Array, at: number, words: Uint32Array): boolean {
  for (let index = 0; index < wordsPerEntry; index += 1) if (table[at + index] !== words[index]) return false;
  return true;
}

function readWords(bytes: Uint8Array, offset: number, words: Uint32Array): void {
  for (let index = 0; index < wordsPerEntry; index += 1) {
    const at = offset + index * 4;
    words[index] =
      (bytes[at] ?? 0) |
      ((bytes[at + 1] ?? 0) << 8) |
      ((bytes[at + 2] ?? 0) << 16) |
      ((bytes[at + 3] ?? 0) << 24);
  }
}

function hashKey(randomBytes: RandomBytes): Uint32Array {
  const bytes = Uint8Array.from(randomBytes(halfSipKeyBytes));
  return new Uint32Array(bytes.buffer, 0, halfSipKeyBytes / Uint32Array.BYTES_PER_ELEMENT);
}
