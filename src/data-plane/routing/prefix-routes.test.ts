import { expect, test } from "vitest";
import { ManyPrefixes, prefixNamed } from "../../../test/apparatus/many-prefixes.ts";

test("of a prefix's instances those are preferred that are not degraded, once the log says which are", () => {
  const table = new ManyPrefixes(1, 1);
  const [first] = table.advertisers;
  if (first === undefined) throw new Error("none");
  const second = table.register(first.service);
  const degraded = (): boolean[] => table.balancers[0]?.members.map((member) => member.isDegraded) ?? [];
  table.routes.take([first, second].map((one) => table.endpointOf(one, [prefixNamed(0)])));
  table.routes.routeTo(prefixNamed(0));
  const before = degraded();

  table.degrade(second.instance);
  table.routes.stepped();

  expect([before, degraded()]).toEqual([
    [false, false],
    [false, true],
  ]);
});
