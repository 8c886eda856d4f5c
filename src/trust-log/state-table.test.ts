import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { base64Of, bytesOf, concatBytes } from "../base/bytes.ts";
import { canonicalJson, type JsonObject } from "../base/canonical-json.ts";
import { sha256 } from "../crypto/index.ts";
import { StateTable } from "./state-table.ts";

/** The digest as the documentation of StateTable defines it, from nothing but the rows. */
function definedDigest(name: string, rows: ReadonlyMap<string, JsonObject>): string {
  const buckets = Array.from({ length: 256 }, (_, first) => {
    const keys = [...rows.keys()].filter((key) => sha256(bytesOf(key))[0] === first).sort();
    if (keys.length === 0) return new Uint8Array(32);
    return sha256(
      concatBytes(...keys.map((key) => sha256(bytesOf(canonicalJson([name, key, rows.get(key) ?? {}]))))),
    );
  });
  return base64Of(sha256(concatBytes(...buckets)));
}

// 300 keys fall into 256 buckets, so some share one.
const key = fc.nat(299).map((number) => (number < 250 ? `key ${number}` : `κ${number}\u{1f511}`));
const operation = fc.oneof(
  fc.record({ do: fc.constant("set"), key, value: fc.nat(3) }),
  fc.record({ do: fc.constant("delete"), key, value: fc.constant(0) }),
  fc.record({ do: fc.constant("digest"), key: fc.constant(""), value: fc.constant(0) }),
);

describe("StateTable", () => {
  test("has the defined digest after whatever was set, deleted and asked for before", () => {
    fc.assert(
      fc.property(fc.array(operation, { maxLength: 200 }), (operations) => {
        const table = new StateTable<{ value: number }>("table");
        const rows = new Map<string, { value: number }>();
        for (const { do: what, key, value } of operations) {
          if (what === "set") {
            table.set(key, { value });
            rows.set(key, { value });
          } else if (what === "delete") expect(table.delete(key)).toBe(rows.delete(key));
          else table.digest();
        }
        expect(table.digest()).toBe(definedDigest("table", rows));
        expect(new Map(table.entries())).toEqual(rows);
        expect(table.size).toBe(rows.size);
      }),
      { numRuns: 20 },
    );
  });

  test("has one digest whatever the order in which rows came", () => {
    const keys = fc.uniqueArray(key, { maxLength: 60 });
    const twoOrders = keys.chain((keys) =>
      fc.tuple(fc.constant(keys), fc.shuffledSubarray(keys, { minLength: keys.length })),
    );
    fc.assert(
      fc.property(twoOrders, ([one, other]) => {
        expect(tableOf(one).digest()).toBe(tableOf(other).digest());
      }),
      { numRuns: 20 },
    );
  });

  test("has another digest for another table, key, value or number of rows", () => {
    const digests = [
      new StateTable("a"),
      tableOf(["x"]),
      tableOf(["x"], "b"),
      tableOf(["y"]),
      tableOf(["x"], "a", 2),
      tableOf(["x", "y"]),
    ].map((table) => table.digest());

    expect(new Set(digests).size).toBe(digests.length);
  });

  test("is what it was when a row comes back", () => {
    const table = tableOf(["x", "y"]);
    const before = table.digest();

    table.delete("x");
    table.set("x", { value: 1 });

    expect(table.digest()).toBe(before);
  });

  test("has no digest as long as there is a row that canonical JSON cannot spell", () => {
    const table = tableOf(["x", "y"]);
    const before = table.digest();

    table.set("z", { value: 0.5 });
    expect(() => table.digest()).toThrow(RangeError);
    expect(() => table.digest()).toThrow(RangeError);

    table.delete("z");
    expect(table.digest()).toBe(before);
  });

  test("treats names of built-in properties as any other key", () => {
    const table = new StateTable<{ value: number }>("a");

    expect(table.get("__proto__")).toBeUndefined();
    expect(table.has("constructor")).toBe(false);
    table.set("__proto__", { value: 1 });
    expect(table.get("__proto__")).toEqual({ value: 1 });
    expect(table.delete("constructor")).toBe(false);
  });
});

function tableOf(keys: readonly string[], name = "a", value = 1): StateTable<{ value: number }> {
  const table = new StateTable<{ value: number }>(name);
  for (const key of keys) table.set(key, { value });
  return table;
}
