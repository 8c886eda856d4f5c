import { expect, test } from "vitest";
import { LineFields } from "./line-fields.ts";

test("a field is the same object again while it is known, 512 are known at most, and credentials are not", () => {
  const lines = new LineFields();
  const one = (name: string, value: string): unknown => lines.trailers([{ name, value }])[0];
  const known = one("x-known", "1");
  const secret = one("authorization", "1");
  const before = [one("x-known", "1") === known, one("authorization", "1") === secret];
  for (let place = 0; place < 512; place += 1) one("x-other", String(place));

  expect(before).toEqual([true, false]);
  expect(one("x-known", "1")).not.toBe(known);
});
