export {
  type AccessPolicyManifest,
  isManifestKind,
  type Manifest,
  type ManifestKind,
  manifestSchemas,
  readOnlyKinds,
  type ServiceManifest,
} from "./dialect.ts";
export { dialectVersion } from "./dialect-text.ts";
export type { FederationManifest } from "./federation-manifest.ts";
export {
  type GatewayDocument,
  type GatewayManifest,
  gatewayManifest,
  readGateway,
} from "./gateway-manifest.ts";
export { type ComparedLine, compareLines } from "./line-difference.ts";
export { nearestWord } from "./nearest-word.ts";
export {
  type ChangeOutcome,
  type DescribedState,
  manifestsOf,
  type PlannedChange,
  type PlannedEntry,
  planChanges,
  planRemoval,
} from "./plan-changes.ts";
export type { PrefixGrantManifest } from "./prefix-grant-manifest.ts";
export { formatProblem, type Problem } from "./problem.ts";
export { type ReadManifests, readManifests } from "./read-manifests.ts";
export type { RequestTokenPolicyManifest } from "./request-token-policy.ts";
export { tcpRuleProblems } from "./tcp-rules.ts";
export type { TrafficPolicyManifest } from "./traffic-policy.ts";
export type { WorkloadEntryManifest } from "./workload-entry.ts";
export { writeYaml } from "./write-yaml.ts";
export { fileBytesMax, type SourceText } from "./yaml-source.ts";
