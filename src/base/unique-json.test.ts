import fc from "fast-check";
import { expect, it, test } from "vitest";
import { jsonDepthMax, parseUniqueJson, parseUniqueJsonObject } from "./unique-json.ts";

test.each([
  ["malformed-json", ""],
  ["malformed-json", "{"],
  ["malformed-json", "{'a':1}"],
  ["malformed-json", '{"a":1,}'],
  ["malformed-json", '{"a":"\\ud800"}'],
  ["malformed-json", '{"\\ud800":1}'],
  ["duplicate-member", '{"a":1,"a":1}'],
  ["duplicate-member", '{"a":1,"\\u0061":2}'],
  ["duplicate-member", '{"b":[1,{"a":{},"c":[],"a":0}]}'],
  ["duplicate-member", '{"a":{"a":1},"b":[{"a":1},{"a":1}],"a":2}'],
  ["duplicate-member", '{"__proto__":1,"__proto__":2}'],
  ["too-deep", "[".repeat(jsonDepthMax + 1) + "]".repeat(jsonDepthMax + 1)],
  ["too-deep", '{"a":'.repeat(1_000) + "1" + "}".repeat(1_000)],
] as const)("refuses with %s: %s", (reason, text) => {
  expect(parseUniqueJson(text)).toMatchObject({ ok: false, reason });
});

test.each([
  '{"a":{"a":1},"b":[{"a":1},{"a":1}]}',
  '["a","a",{"a":"a","b":"a"}]',
  '{"a":":","b":"{\\"a\\":1,\\"a\\":2}"}',
  "[".repeat(jsonDepthMax) + "]".repeat(jsonDepthMax),
  "1.5",
])("reads %s as JSON.parse does", (text) => {
  expect(parseUniqueJson(text)).toStrictEqual({ ok: true, value: JSON.parse(text) });
});

it("reads objects alone where an object is expected", () => {
  expect(parseUniqueJsonObject('{"a":1}')).toStrictEqual({ ok: true, value: { a: 1 } });
  for (const text of ["[]", "null", "1", '"a"'])
    expect(parseUniqueJsonObject(text)).toMatchObject({ ok: false, reason: "malformed-json" });
});

it("reads whatever JSON.stringify writes", () => {
  fc.assert(
    fc.property(fc.jsonValue({ maxDepth: 6 }), (value) => {
      const text = JSON.stringify(value);
      expect(parseUniqueJson(text)).toStrictEqual({ ok: true, value: JSON.parse(text) });
    }),
  );
});

it("refuses an object of any names once one of them is repeated", () => {
  fc.assert(
    fc.property(
      fc.uniqueArray(fc.string({ unit: "grapheme" }), { minLength: 1, maxLength: 8 }),
      fc.nat(),
      (names, at) => {
        const repeated = [...names, names[at % names.length]];
        const text = `{${repeated.map((name) => `${JSON.stringify(name)}:1`).join(",")}}`;
        expect(parseUniqueJson(text)).toMatchObject({ ok: false, reason: "duplicate-member" });
      },
    ),
  );
});
