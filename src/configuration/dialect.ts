import { z } from "zod";
import { entryBodies } from "../trust-log/index.ts";
import { dialectVersion, servicePrefixText, textLike } from "./dialect-text.ts";
import { type FederationManifest, federationManifest } from "./federation-manifest.ts";
import { type PrefixGrantManifest, prefixGrantManifest } from "./prefix-grant-manifest.ts";
import { type RequestTokenPolicyManifest, requestTokenPolicyManifest } from "./request-token-policy.ts";
import { type TrafficPolicyManifest, trafficPolicyManifest } from "./traffic-policy.ts";
import { type WorkloadEntryManifest, workloadEntryManifest } from "./workload-entry.ts";

const service = entryBodies["service.put"].shape;
const rule = entryBodies["rule.put"].shape;

const servicePattern = textLike(
  rule.to,
  "a service name such as /shop/payments, or a prefix and /* for all below it, or /*",
);
const caller = textLike(
  z.union([rule.from, entryBodies["foreignrule.put"].shape.from]),
  "a service name such as /shop/payments, or a prefix and /*, or /*, or a SPIFFE ID of a federated trust domain",
);
const word = "at most 63 of A-Z a-z 0-9 . _ / -, a letter or digit at both ends";
const labels = service.labels;

/** A service that may be run and called: entry kinds `service.put` and `service.remove`. */
const serviceManifest = z.strictObject({
  apiVersion: z.literal(dialectVersion),
  kind: z.literal("Service"),
  metadata: z.strictObject({
    name: servicePrefixText.describe("The service's name: 1 to 16 segments of up to 63 characters."),
  }),
  spec: z
    .strictObject({
      nodes: z
        .array(textLike(service.nodes.element, 'a node\'s name such as box2, or "*"'))
        .min(1, 'expected at least one node, or "*" for any')
        .max(256, "expected at most 256 nodes")
        .default(["*"])
        .describe('The nodes that may run it; `"*"` for any. `["*"]` unless given.'),
      dataClass: z
        .enum(["public", "internal", "confidential", "restricted"])
        .default("internal")
        .describe(
          "How sensitive what it handles is; decides how stale a view its proxies may act on. `internal` unless given.",
        ),
      team: textLike(service.team, `a team: ${word}`)
        .default("")
        .describe("The owning team; empty unless given."),
      environment: textLike(service.environment, `an environment: ${word}`)
        .default("")
        .describe("The deployment environment; empty unless given."),
      labels: z
        .record(textLike(labels.keyType, `a label: ${word}`), textLike(labels.valueType, `a value: ${word}`))
        .refine((all) => Object.keys(all).length <= 16, "expected at most 16 labels")
        .default({})
        .describe("At most 16 labels, which its certificates carry."),
    })
    .describe("What the mesh is told about the service."),
});

const accessRule = z.strictObject({
  from: caller.describe(
    "The caller: a service name, a prefix and `/*`, or `/*`; of a federated trust domain a SPIFFE ID, or one and `/*`. One rule a caller.",
  ),
  effect: z.enum(["allow", "deny"]).describe("`allow` or `deny`; a matching deny beats every allow."),
  methods: z
    .array(textLike(rule.methods.element, "an HTTP method in capitals such as GET"))
    .max(16, "expected at most 16 methods")
    .default([])
    .describe("Only these methods; all unless given."),
  paths: z
    .array(
      textLike(
        rule.paths.element,
        "a path that begins with /, as requests are decided on: without spaces, ?, // and /../",
      ),
    )
    .max(64, "expected at most 64 paths")
    .default([])
    .describe("Only these paths and what is below them; all unless given."),
});

/** All rules about calling one destination: entry kinds `rule.put` and `rule.remove`, and `foreignrule.…`. */
const accessPolicyManifest = z.strictObject({
  apiVersion: z.literal(dialectVersion),
  kind: z.literal("AccessPolicy"),
  metadata: z.strictObject({
    name: servicePattern.describe("The destination: a service name, a prefix and `/*`, or `/*`."),
  }),
  spec: z
    .strictObject({
      rules: z
        .array(accessRule)
        .max(1024, "expected at most 1024 rules")
        .describe("All rules of this destination: applying removes those that are not listed."),
    })
    .describe("Who may call the destination, and what."),
});

/** The kinds that can be written in a file and applied, with the schema of each. */
export const manifestSchemas = {
  Service: serviceManifest,
  AccessPolicy: accessPolicyManifest,
  TrafficPolicy: trafficPolicyManifest,
  WorkloadEntry: workloadEntryManifest,
  RequestTokenPolicy: requestTokenPolicyManifest,
  PrefixGrant: prefixGrantManifest,
  Federation: federationManifest,
} as const;

/** The kinds that the mesh itself writes: they can be read with `troth get` and not applied. */
export const readOnlyKinds = ["Instance", "Node", "Proxy", "Operator", "Certificate", "Grant"] as const;

/** A kind that can be applied. */
export type ManifestKind = keyof typeof manifestSchemas;

/** A service as a file says it. */
export type ServiceManifest = z.infer<typeof serviceManifest>;

/** The rules of one destination as a file says them. */
export type AccessPolicyManifest = z.infer<typeof accessPolicyManifest>;

/** An object of the dialect that can be applied. */
export type Manifest =
  | ServiceManifest
  | AccessPolicyManifest
  | TrafficPolicyManifest
  | WorkloadEntryManifest
  | RequestTokenPolicyManifest
  | PrefixGrantManifest
  | FederationManifest;

/** Whether a kind is one that can be applied. */
export function isManifestKind(kind: string): kind is ManifestKind {
  return Object.hasOwn(manifestSchemas, kind);
}
