export { hostAndPort } from "../base/host-and-port.ts";
export { joinMesh, type Membership } from "./join-mesh.ts";
export { type NodeAgent, type NodeAgentOptions, openNodeAgent } from "./open-node-agent.ts";
export { type DomainBundle, federatedBundles, ownBundle } from "./workload-api/trust-bundles.ts";
