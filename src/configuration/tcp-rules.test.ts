import { expect, it } from "vitest";
import { bytesOf } from "../base/bytes.ts";
import { formatProblem } from "./problem.ts";
import { readManifests } from "./read-manifests.ts";
import { tcpRuleProblems } from "./tcp-rules.ts";

const text = `apiVersion: troth/v1
kind: AccessPolicy
metadata: {name: /shop/db}
spec:
  rules:
    - {from: /shop/web, effect: allow}
    - from: /shop/orders
      effect: allow
      methods: [GET]
      paths: [/]
---
apiVersion: troth/v1
kind: AccessPolicy
metadata: {name: /shop/*}
spec:
  rules: [{from: /shop/web, effect: deny, paths: [/admin]}]
`;

it("names file, line and part of each rule for a TCP service that has methods or paths", () => {
  const read = readManifests([{ name: "shop.yaml", bytes: bytesOf(text) }]);
  const why = "/shop/db is called over TCP, which has no requests; leave this out";

  expect(read.problems).toEqual([]);
  expect(tcpRuleProblems(read, (name) => name === "/shop/db").map(formatProblem)).toEqual([
    `shop.yaml:9:16: spec.rules[1].methods: ${why}`,
    `shop.yaml:10:14: spec.rules[1].paths: ${why}`,
  ]);
  expect(tcpRuleProblems(read, () => false)).toEqual([]);
});
