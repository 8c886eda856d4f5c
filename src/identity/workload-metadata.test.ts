import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { canonicalJson, type Json } from "../base/canonical-json.ts";
import { derText } from "../crypto/index.ts";
import { parseServiceName } from "./service-name.ts";
import { valueOf } from "./svid-for-tests.ts";
import {
  encodeWorkloadMetadata,
  jsonOfWorkloadMetadata,
  parseWorkloadMetadata,
  type WorkloadMetadata,
  workloadMetadataOfJson,
} from "./workload-metadata.ts";

const metadata: WorkloadMetadata = {
  instance: "0b8f2f5e-7d0c-4d53-9b86-5c1d2f4f9a11",
  service: valueOf(parseServiceName("/shop/payments")),
  node: "node-1",
  labels: { "app.kubernetes.io/name": "payments", empty: "" },
  team: "checkout",
  environment: "production",
};
const json = jsonOfWorkloadMetadata(metadata);

function isAccepted(changed: Record<string, Json>): boolean {
  return workloadMetadataOfJson({ ...json, ...changed }).ok;
}

test("comes back from its encoding, with team and environment and without", () => {
  const { team: _team, environment: _environment, ...bare } = metadata;

  expect(parseWorkloadMetadata(encodeWorkloadMetadata(metadata))).toEqual({ ok: true, value: metadata });
  expect(parseWorkloadMetadata(encodeWorkloadMetadata(bare))).toEqual({ ok: true, value: bare });
});

describe("refuses", () => {
  test.each<[string, Record<string, Json>]>([
    ["an unknown member", { region: "eu" }],
    ["an instance in upper case", { instance: "0B8F2F5E-7D0C-4D53-9B86-5C1D2F4F9A11" }],
    ["an instance that is no UUID", { instance: "1" }],
    ["a reserved service", { service: "/troth/control-plane" }],
    ["a service that is no text", { service: 1 }],
    ["a node that is a path", { node: "a/b" }],
    ["labels that are a list", { labels: [] }],
    ["a label whose value is a number", { labels: { a: 1 } }],
    ["a label key of 64 characters", { labels: { ["k".repeat(64)]: "v" } }],
    ["a label value of 64 characters", { labels: { k: "v".repeat(64) } }],
    ["a label key with a space", { labels: { "a b": "v" } }],
    ["a label key that means something to JavaScript", { labels: JSON.parse('{"__proto__":"v"}') }],
    [
      "17 labels",
      { labels: Object.fromEntries(Array.from({ length: 17 }, (_unused, at) => [`k${at}`, "v"])) },
    ],
    ["an empty team", { team: "" }],
    ["an environment that is null", { environment: null }],
  ])("%s", (_name, changed) => {
    expect(isAccepted(changed)).toBe(false);
  });

  test("what is no object", () => {
    expect(workloadMetadataOfJson(null).ok).toBe(false);
    expect(workloadMetadataOfJson([]).ok).toBe(false);
  });

  test("a second spelling, a byte too many, and a text without its tag", () => {
    const encoded = encodeWorkloadMetadata(metadata);

    expect(parseWorkloadMetadata(derText(` ${canonicalJson(json)}`)).ok).toBe(false);
    expect(parseWorkloadMetadata(Uint8Array.of(...encoded, 0)).ok).toBe(false);
    expect(parseWorkloadMetadata(Buffer.from(canonicalJson(json))).ok).toBe(false);
  });
});

test("accepts 16 labels of 63 characters", () => {
  const keys = Array.from({ length: 16 }, (_unused, at) => `${"k".repeat(60)}${at + 100}`);

  expect(isAccepted({ labels: Object.fromEntries(keys.map((key) => [key, "v".repeat(63)])) })).toBe(true);
});

test("no bytes make the reader throw", () => {
  fc.assert(
    fc.property(fc.uint8Array(), fc.json(), (bytes, text) => {
      return !parseWorkloadMetadata(bytes).ok && !parseWorkloadMetadata(derText(text)).ok;
    }),
  );
});
