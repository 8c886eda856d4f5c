import { expect, it } from "vitest";
import { newsDelayOf } from "./agent-link.ts";

it.each([
  [1, 21],
  [12, 32],
  [100, 120],
  [10_000, 120],
])("a receipt in a mesh of %i instances waits %i ms for others to take the step", (instances, millis) => {
  expect(newsDelayOf(instances)).toBe(millis);
});
