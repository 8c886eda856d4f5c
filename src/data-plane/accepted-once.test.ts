import { randomBytes } from "node:crypto";
import { expect, it } from "vitest";
import { AcceptedOnce } from "./accepted-once.ts";

const narrow = { pastMillis: 5_000, futureMillis: 1_000 };
const wide = { pastMillis: 60_000, futureMillis: 5_000 };
const startMillis = 1_800_000_000_000;
const keyBytes = (length: number): Uint8Array => new Uint8Array(randomBytes(length));

function opened(): { accepted: AcceptedOnce; clock: { millis: number } } {
  const clock = { millis: startMillis };
  return { accepted: new AcceptedOnce(keyBytes, () => clock.millis), clock };
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
