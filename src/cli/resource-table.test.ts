import { create } from "@bufbuild/protobuf";
import { expect, it } from "vitest";
import { SmallTrustLog } from "../../test/fakes/small-trust-log.ts";
import { GetStatusResponseSchema } from "../protocol/index.ts";
import { resourceTable } from "./resource-table.ts";
import {
  type MeshFacts,
  requireResourceKind,
  requireResources,
  resourceKinds,
  resourcesOf,
} from "./resources.ts";

const log = new SmallTrustLog();
const facts: MeshFacts = {
  state: log.state,
  status: create(GetStatusResponseSchema, { size: BigInt(log.entries.length) }),
  trustDomain: "example.org",
  nowSeconds: 1_800_000_000,
};

it("says how to get an object where there is none of its kind", () => {
  const empty = resourceKinds.filter((kind) => resourcesOf(kind, facts).length === 0);

  expect(empty).toEqual([
    "Service",
    "AccessPolicy",
    "TrafficPolicy",
    "WorkloadEntry",
    "RequestTokenPolicy",
    "PrefixGrant",
    "Federation",
    "Instance",
    "Node",
    "Proxy",
    "Certificate",
  ]);
  for (const kind of empty)
    expect(resourceTable(kind, [], { facts, isWide: false })).toMatch(
      /^No .*troth (run|allow|up|apply)\b.*\.\n$/,
    );
});

it("shows the people who have a key, and who may write what, and none of the control plane's keys", () => {
  const names = resourcesOf("Operator", facts).map(({ metadata }) => metadata.name.split("/").at(-1));

  expect(names).toEqual(["alice", "bob", "carol"]);
  expect(resourcesOf("Grant", facts).map(({ metadata }) => metadata.name)).toContain("rule.put");
});

it.each([
  ["service", "Service"],
  ["Services", "Service"],
  ["policy", "AccessPolicy"],
  ["rules", "AccessPolicy"],
  ["proxies", "Proxy"],
  ["nodes", "Node"],
])("reads the kind %s as %s", (word, kind) => {
  expect(requireResourceKind(word)).toBe(kind);
});

it("takes an instance by the beginning of its id, from four characters on, and by its service", () => {
  const instance = "01234567-89ab-4cde-8f01-23456789abcd";
  log.putNode("edge-1");
  log.put("service.put", {
    name: "/web",
    nodes: ["*"],
    dataClass: "public",
    team: "",
    environment: "",
    labels: {},
  });
  log.put("instance.register", { instance, service: "/web", node: "edge-1", auditKey: "" });
  const found = (name: string): string[] =>
    requireResources("Instance", name, facts).map(({ metadata }) => metadata.name);

  expect([found(instance), found("0123"), found("/web"), found("web")]).toEqual([
    [instance],
    [instance],
    [instance],
    [instance],
  ]);
  expect(() => found("012")).toThrow("no Instance 012");
  expect(() => found("4567")).toThrow("no Instance 4567");
});
