import { expect, test } from "vitest";
import { nextRotationSeconds } from "./rotation.ts";

const hour = { notBeforeSeconds: 1000, notAfterSeconds: 4600 };

test.each([
  [0, 2620],
  [0.5, 2800],
  [1, 2980],
])("with random number %s an SVID of 1000 to 4600 is replaced at %s", (random, atSeconds) => {
  expect(nextRotationSeconds(hour, random)).toBeCloseTo(atSeconds);
});
