import fc from "fast-check";
import { expect, test } from "vitest";
import { parseStrictJson, type StrictJson } from "./strict-json.ts";

/** As `JSON.parse` would give it. */
function plain(value: StrictJson): unknown {
  if (value instanceof Map)
    return Object.fromEntries([...value].map(([name, member]) => [name, plain(member)]));
  if (typeof value === "bigint") return Number(value);
  return Array.isArray(value) ? value.map(plain) : value;
}

test("reads what JSON.parse reads, in any spelling that JSON.stringify writes", () => {
  fc.assert(
    fc.property(fc.jsonValue(), fc.constantFrom(0, 2), (value, indent) => {
      const text = JSON.stringify(value, null, indent);
      const parsed = parseStrictJson(text);

      expect(parsed.ok && JSON.stringify(plain(parsed.value))).toBe(JSON.stringify(JSON.parse(text)));
    }),
  );
});

const characters = '{}[]:,"\\ \n019.eE+-nultrfasd'.split("");

test("what JSON.parse refuses is refused, and nothing throws", () => {
  fc.assert(
    fc.property(fc.string({ unit: fc.constantFrom(...characters) }), (text) => {
      let isJson = true;
      try {
        JSON.parse(text);
      } catch {
        isJson = false;
      }
      if (!isJson) expect(parseStrictJson(text).ok).toBe(false);
    }),
  );
});

test.each([
  ['{"a":1,"a":1}', "duplicate-key"],
  ['{"a":1,"\\u0061":2}', "duplicate-key"],
  ['{"k":{"__proto__":1,"__proto__":2}}', "duplicate-key"],
  ['"\\ud800"', "malformed-json"],
  ["1 2", "malformed-json"],
  ["[1,]", "malformed-json"],
  ["1e999", "malformed-json"],
  ["", "malformed-json"],
  ["[".repeat(40) + "]".repeat(40), "too-deep"],
])("%s is refused: %s", (text, reason) => {
  expect(parseStrictJson(text)).toMatchObject({ ok: false, reason });
});

test("an integer that a number cannot hold keeps its digits", () => {
  expect(parseStrictJson("18446744073709551615")).toEqual({ ok: true, value: 18_446_744_073_709_551_615n });
  expect(parseStrictJson("9007199254740991")).toEqual({ ok: true, value: 9_007_199_254_740_991 });
});
