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

it("goes by what the same files say that a service is called over, before what the log says", () => {
  const declared = (protocol: string): string =>
    `${text}---\napiVersion: troth/v1\nkind: TrafficPolicy\nmetadata: {name: /shop/db}\nspec: {protocol: ${protocol}}\n`;
  const problemsOf = (protocol: string, isTcpNow: boolean): number => {
    const read = readManifests([{ name: "shop.yaml", bytes: bytesOf(declared(protocol)) }]);
    expect(read.problems).toEqual([]);
    return tcpRuleProblems(read, () => isTcpNow).filter(({ message }) => message.includes("/shop/db")).length;
  };

  expect([problemsOf("tcp", false), problemsOf("http", true)]).toEqual([2, 0]);
});
