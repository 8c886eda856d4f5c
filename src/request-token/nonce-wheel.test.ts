import { createHash, randomBytes } from "node:crypto";
import fc from "fast-check";
import { expect, it } from "vitest";
import { defaultReplayWindow, type NonceVerdict, nonceWheel } from "./index.ts";

const start = 1_800_000_000_000;
const window = defaultReplayWindow;

it("keeps each nonce of each sender once", () => {
  const wheel = nonceWheel({ window, randomBytes });
  const keep = (nonce: string, sender: string) => wheel.keep(entry(nonce, sender), 0, start);

  expect([keep("n", "a"), keep("n", "a"), keep("n", "b"), keep("m", "a"), keep("n", "b")]).toEqual([
    "fresh",
    "seen",
    "fresh",
    "fresh",
    "seen",
  ]);
});

it("reads the entry where it is told to", () => {
  const wheel = nonceWheel({ window, randomBytes });
  const inside = Buffer.concat([Buffer.alloc(14, 0xff), entry("n", "a"), Buffer.alloc(9, 0xee)]);

  expect([wheel.keep(inside, 14, start), wheel.keep(entry("n", "a"), 0, start)]).toEqual(["fresh", "seen"]);
});

it("accepts the entry of all zeros, and that once", () => {
  const wheel = nonceWheel({ window, randomBytes });

  expect([wheel.keep(new Uint8Array(24), 0, start), wheel.keep(new Uint8Array(24), 0, start)]).toEqual([
    "fresh",
    "seen",
  ]);
});

it("remembers for as long as the window lets the token in", () => {
  const wheel = nonceWheel({ window, randomBytes });
  const whole = window.pastMillis + window.futureMillis;
  wheel.keep(entry("first", "a"), 0, start);

  // Whatever else comes in between, also from as far ahead as the window allows.
  for (let millis = 0; millis <= whole; millis += 250) {
    wheel.keep(entry(`other ${millis}`, "a"), 0, start + millis);
    expect(wheel.keep(entry("first", "a"), 0, start)).toBe("seen");
  }
});

it("never takes an entry twice, in whatever order times come and wherever the clock goes", () => {
  const times = fc.array(fc.integer({ min: -90_000, max: 90_000 }), { minLength: 1, maxLength: 200 });
  fc.assert(
    fc.property(times, (offsets) => {
      const wheel = nonceWheel({ window, randomBytes, bucketEntriesMax: 64 });
      const taken = new Set<number>();
      for (const offset of offsets) {
        const verdict = wheel.keep(entry(`at ${offset}`, "a"), 0, start + offset);
        if (taken.has(offset)) expect(verdict).not.toBe("fresh");
        if (verdict === "fresh") taken.add(offset);
      }
    }),
  );
});

it("says that it has forgotten what is too old to know", () => {
  const wheel = nonceWheel({ window, randomBytes });
  wheel.keep(entry("n", "a"), 0, start);
  wheel.keep(entry("m", "a"), 0, start + 45_000);

  expect(wheel.keep(entry("n", "a"), 0, start)).toBe("forgotten");
});

it("is full at the limit of a bucket, keeps what it has, and takes more in the next bucket", () => {
  const wheel = nonceWheel({ window, randomBytes, bucketEntriesMax: 1_000 });
  const verdicts = Array.from({ length: 1_200 }, (_, index) =>
    wheel.keep(entry(`n${index}`, `s${index}`), 0, start),
  );

  expect(tally(verdicts)).toEqual({ fresh: 1_000, full: 200 });
  expect(
    tally(Array.from({ length: 1_200 }, (_, index) => wheel.keep(entry(`n${index}`, `s${index}`), 0, start))),
  ).toEqual({
    seen: 1_000,
    full: 200,
  });
  expect(wheel.keep(entry("new", "s1"), 0, start + 5_000)).toBe("fresh");
});

it("leaves half of a bucket to other senders", () => {
  const wheel = nonceWheel({ window, randomBytes, bucketEntriesMax: 1_000 });
  const greedy = Array.from({ length: 1_200 }, (_, index) =>
    wheel.keep(entry(`n${index}`, "greedy"), 0, start),
  );
  const others = Array.from({ length: 600 }, (_, index) =>
    wheel.keep(entry(`n${index}`, `s${index}`), 0, start),
  );

  expect([tally(greedy), tally(others)]).toEqual([
    { fresh: 500, full: 700 },
    { fresh: 500, full: 100 },
  ]);
});

it("cannot be filled by a sender that has a second certificate, nor by one with a third", () => {
  const wheel = nonceWheel({ window, randomBytes, bucketEntriesMax: 1_000 });
  for (const certificate of ["old", "renewed", "renewed again"])
    for (let index = 0; index < 1_200; index += 1) wheel.keep(entry(`n${index}`, certificate), 0, start);

  expect(wheel.entries()).toBe(750);
  expect(wheel.keep(entry("n", "other"), 0, start)).toBe("fresh");
});

it("counts what a sender has sent anew when a table is used again", () => {
  const wheel = nonceWheel({ window, randomBytes, bucketEntriesMax: 1_000 });
  const fill = (sender: string, from: number, many: number, millis: number) =>
    tally(
      Array.from({ length: many }, (_, index) => wheel.keep(entry(`n${from + index}`, sender), 0, millis)),
    );
  fill("hasty", 0, 500, start);
  const turn = start + 9 * 5_000;
  for (let sender = 0; sender < 9; sender += 1) fill(`s${sender}`, 0, 100, turn);

  expect(fill("hasty", 1_000, 50, turn)).toEqual({ fresh: 50 });
});

it("takes memory for the buckets that it uses, and never more than it says", () => {
  const wheel = nonceWheel({ window, randomBytes, bucketEntriesMax: 700 });
  expect(wheel.bytes()).toBe(0);
  wheel.keep(entry("n", "a"), 0, start);
  expect(wheel.bytes()).toBe(1_000 * 25 + 4_096);

  for (let index = 0; index < 100_000; index += 1)
    wheel.keep(entry(`n${index}`, `s${index}`), 0, start + index * 3);

  expect(wheel.bytes()).toBe(wheel.bytesMax);
  expect(wheel.bytesMax).toBe(9 * (1_000 * 25 + 4_096));
});

it("grows with what it holds, forgets nothing over it, and takes no more than it says", () => {
  const wheel = nonceWheel({ window, randomBytes, bucketEntriesMax: 40_000 });
  const keepAll = () =>
    tally(
      Array.from({ length: 41_000 }, (_, index) => wheel.keep(entry(`n${index}`, `s${index}`), 0, start)),
    );
  wheel.keep(entry("n0", "s0"), 0, start);
  const first = wheel.bytes();

  expect(keepAll()).toEqual({ seen: 1, fresh: 39_999, full: 1_000 });
  expect(keepAll()).toEqual({ seen: 40_000, full: 1_000 });
  expect(first).toBeLessThan(wheel.bytes() / 8);
  expect(wheel.bytes()).toBe(wheel.bytesMax / 9);
});

function entry(nonce: string, sender: string): Buffer {
  const digest = (text: string) => createHash("sha256").update(text).digest();
  return Buffer.concat([digest(nonce).subarray(0, 16), digest(sender).subarray(0, 8)]);
}

function tally(verdicts: readonly NonceVerdict[]): Partial<Record<NonceVerdict, number>> {
  const counts: Partial<Record<NonceVerdict, number>> = {};
  for (const verdict of verdicts) counts[verdict] = (counts[verdict] ?? 0) + 1;
  return counts;
}
