import fc from "fast-check";
import { expect, it } from "vitest";
import { applyPrefixGrant, applyPrefixWithdrawal, expirePrefixes, withdrawAllOf } from "./apply-prefix.ts";
import { isWithin } from "./prefix-match.ts";
import { StateTable } from "./state-table.ts";
import { type PrefixRow, TrustState } from "./trust-state.ts";

type Rows = Map<string, PrefixRow>;
type Step = { readonly kind: "withdraw" | "expire" | "leave" | "shrink"; readonly at: number };

const services = ["/s0", "/s1", "/s2"];
const place = { size: 7, root: () => new Uint8Array(32) };

/** Grants in a tree of names, each handed on of the one above it or granted by the prefix authority, in any order. */
const someRows = fc
  .array(
    fc.record({
      name: fc.array(fc.constantFrom("/a", "/b"), { minLength: 1, maxLength: 4 }),
      holder: fc.constantFrom(...services),
      isHandedOn: fc.constantFrom(true, true, true, false),
      depthMax: fc.constantFrom(0, 1, 10),
      notAfterSeconds: fc.constantFrom(0, 1, 2, 3),
      order: fc.nat(),
    }),
    { minLength: 10, maxLength: 40 },
  )
  .map((grants) => {
    const names = new Set(grants.map(({ name }) => name.join("")));
    const rows = new Map(
      grants.map(({ name, isHandedOn, order, ...row }) => {
        const prefix = name.join("");
        const above = name.slice(0, -1).map((_, number) => name.slice(0, number + 1).join(""));
        const under = isHandedOn ? (above.findLast((one) => names.has(one)) ?? "") : "";
        return [prefix, { order, row: { ...row, under, mayDelegate: true, index: 1, sequence: 0 } }];
      }),
    );
    return [...rows]
      .sort(([, left], [, right]) => left.order - right.order)
      .map(([name, { row }]) => [name, row] as const);
  });

const someSteps = fc.array(
  fc.record({ kind: fc.constantFrom("withdraw", "expire", "leave", "shrink"), at: fc.nat(39) }),
  { maxLength: 6 },
);

/** What has lost the grant that it was handed on of goes, until all is whole. */
function withoutOrphans(rows: Rows): void {
  const orphans = [...rows].filter(([, { under }]) => under !== "" && !rows.has(under));
  for (const [prefix] of orphans) rows.delete(prefix);
  if (orphans.length > 0) withoutOrphans(rows);
}

function expectedAfter(rows: Rows, { kind, at }: Step, prefix: string, nowSeconds: number): void {
  if (kind === "withdraw") rows.delete(prefix);
  for (const [name, { holder, notAfterSeconds }] of rows) {
    const isOver = kind === "expire" && notAfterSeconds !== 0 && notAfterSeconds < nowSeconds;
    if (isOver || (kind === "leave" && holder === services[at % 3])) rows.delete(name);
  }
  const known = rows.get(prefix);
  if (kind === "shrink" && known !== undefined) {
    const shrunk = {
      ...known,
      under: "",
      mayDelegate: at % 2 === 0,
      depthMax: 1,
      notAfterSeconds: 0,
      index: 7,
      sequence: 0,
    };
    rows.set(prefix, shrunk);
    for (const [name, row] of rows)
      if (row.under === prefix && !isWithin(shrunk, prefix, row, name)) rows.delete(name);
  }
  withoutOrphans(rows);
}

function take(state: TrustState, { kind, at }: Step, prefix: string, nowSeconds: number): void {
  const known = state.prefixes.get(prefix);
  if (kind === "withdraw") applyPrefixWithdrawal(state, { prefix });
  if (kind === "leave") withdrawAllOf(state, services[at % 3] ?? "");
  if (kind === "expire") {
    atTime(state, nowSeconds);
    expirePrefixes(state);
  }
  if (kind === "shrink" && known !== undefined) {
    const shrunk = {
      prefix,
      holder: known.holder,
      depthMax: 1,
      mayDelegate: at % 2 === 0,
      notAfterSeconds: 0,
    };
    applyPrefixGrant(state, shrunk, place);
  }
}

function atTime(state: TrustState, epochTimeSeconds: number): void {
  const bound = { degradeAfterSeconds: 1, refuseAfterSeconds: 1 };
  const both = { newHandshake: bound, openConnection: bound };
  const staleness = { public: both, internal: both, confidential: both, restricted: both };
  const about = {
    genesis: "",
    trustDomain: "example.org",
    isTestDomain: true,
    logKey: "",
    recoveredSizes: [],
  };
  state.domain.set("", { ...about, epochNumber: 1, epochTimeSeconds, staleness });
}

it("leaves, whatever ends in whatever order of rows, what still has all that it was handed on of", () => {
  fc.assert(
    fc.property(someRows, someSteps, (first, steps) => {
      const state = new TrustState();
      const rows: Rows = new Map(first);
      withoutOrphans(rows);
      for (const [prefix, row] of rows) state.prefixes.set(prefix, row);
      for (const name of services)
        state.services.set(name, {
          nodes: ["*"],
          dataClass: "internal",
          team: "",
          environment: "",
          labels: {},
        });
      atTime(state, 0);
      const names = [...rows.keys()];

      for (const [number, step] of steps.entries()) {
        const prefix = names[step.at % Math.max(1, names.length)] ?? "/a";
        expectedAfter(rows, step, prefix, number + 1);
        take(state, step, prefix, number + 1);

        expect(new Map(state.prefixes.entries())).toEqual(rows);
        const plain = new StateTable<PrefixRow>("prefixes");
        for (const [name, row] of rows) plain.set(name, row);
        expect(state.prefixes.digest()).toBe(plain.digest());
      }
    }),
  );
});
