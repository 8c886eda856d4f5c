export { hostAndPort, joinMesh, type Membership } from "./join-mesh.ts";
export { type NodeAgent, type NodeAgentOptions, openNodeAgent } from "./open-node-agent.ts";
