import { randomBytes } from "node:crypto";
import { expect, it } from "vitest";
import { AcceptedOnce, narrowerMemoriesMax } from "./accepted-once.ts";

const narrow = { pastMillis: 5_000, futureMillis: 1_000 };
const wide = { pastMillis: 60_000, futureMillis: 5_000 };
const startMillis = 1_800_000_000_000;
const keyBytes = (length: number): Uint8Array => new Uint8Array(randomBytes(length));

function opened(): { accepted: AcceptedOnce; clock: { millis: number } } {
  const clock = { millis: startMillis };
  const accepted = new AcceptedOnce({
    randomBytes: keyBytes,
    issuerMillis: () => clock.millis,
    monotonicMillis: () => clock.millis - startMillis,
  });
  return { accepted, clock };
}

it("remembers across a wider window what was used under the narrower one", () => {
  const { accepted } = opened();
  const nonce = randomBytes(24);
  accepted.use(narrow);
  expect(accepted.keep(nonce, 0, startMillis)).toBe("fresh");

  accepted.use(wide);

  expect(accepted.keep(nonce, 0, startMillis)).toBe("seen");
});

it("takes what the narrower window has forgotten for used, until a wider one would have forgotten it too", () => {
  const { accepted, clock } = opened();
  const nonce = randomBytes(24);
  accepted.use(narrow);
  accepted.keep(nonce, 0, startMillis);
  for (let later = 0; later <= 30_000; later += 1_000) accepted.keep(randomBytes(24), 0, startMillis + later);
  clock.millis += 30_000;

  accepted.use(wide);

  expect(accepted.keep(nonce, 0, startMillis)).not.toBe("fresh");
  clock.millis += 70_000;
  expect(accepted.keep(randomBytes(24), 0, clock.millis)).toBe("fresh");
});

it("keeps its memory when the window becomes narrower, and when it becomes wide again", () => {
  const { accepted } = opened();
  const nonce = randomBytes(24);
  accepted.use(wide);
  accepted.keep(nonce, 0, startMillis);

  accepted.use(narrow);
  accepted.use(wide);

  expect(accepted.keep(nonce, 0, startMillis)).toBe("seen");
});

it("remembers across any number of wider windows, and widens no more while too many are remembered", () => {
  const { accepted, clock } = opened();
  const nonces: Buffer[] = [];
  const widths = Array.from({ length: narrowerMemoriesMax + 3 }, (_, index) => 10_000 * (index + 1));
  for (const pastMillis of widths) {
    accepted.use({ pastMillis, futureMillis: 5_000 });
    const nonce = randomBytes(24);
    expect(accepted.keep(nonce, 0, startMillis)).toBe("fresh");
    nonces.push(nonce);
    expect(nonces.map((one) => accepted.keep(one, 0, startMillis))).toEqual(nonces.map(() => "seen"));
  }

  // All of them as old as the widest window allows, while the narrower memories end one after another.
  for (const seconds of [20, 30, 40, 50, 60]) {
    clock.millis = startMillis + seconds * 1_000;
    for (const nonce of nonces) expect(accepted.keep(nonce, 0, startMillis)).not.toBe("fresh");
    expect(accepted.keep(randomBytes(24), 0, clock.millis)).toBe("fresh");
  }
});

it("takes what an ended memory knew for used where the window gets wider yet", () => {
  const { accepted, clock } = opened();
  const nonce = randomBytes(24);
  accepted.use({ pastMillis: 30_000, futureMillis: 5_000 });
  accepted.keep(nonce, 0, startMillis);
  accepted.use({ pastMillis: 60_000, futureMillis: 5_000 });
  clock.millis += 61_000;
  expect(accepted.keep(randomBytes(24), 0, clock.millis)).toBe("fresh");

  accepted.use({ pastMillis: 120_000, futureMillis: 5_000 });

  expect(accepted.keep(nonce, 0, startMillis)).toBe("forgotten");
});

it("takes tokens of before the end of a time without any for used, by the time at which they were asked for again", () => {
  const { accepted, clock } = opened();
  accepted.use(wide);
  accepted.use(undefined);
  clock.millis += 1_000;
  accepted.use(wide);
  clock.millis += 2_000;

  expect(accepted.keep(randomBytes(24), 0, startMillis + 1_000)).toBe("forgotten");
  expect(accepted.keep(randomBytes(24), 0, startMillis + 1_001)).toBe("fresh");
});

it("takes every token once where tokens were asked for from the start", () => {
  const { accepted } = opened();
  accepted.use(wide);

  expect(accepted.keep(randomBytes(24), 0, startMillis - 59_000)).toBe("fresh");
});

it("reads no clock of the issuer's before a token has come", () => {
  const accepted = new AcceptedOnce({
    randomBytes: keyBytes,
    issuerMillis: () => {
      throw new Error("read");
    },
    monotonicMillis: () => 0,
  });
  for (const window of [narrow, wide, undefined, narrow]) expect(() => accepted.use(window)).not.toThrow();
});
