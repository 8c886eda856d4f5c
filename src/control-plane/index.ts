export {
  checkFoundingAuthority,
  type FoundingAuthorities,
  type FoundingAuthorityRefusal,
} from "./check-founding-authority.ts";
export { type StandingThresholds, standingThresholds } from "./decide-standings.ts";
export { domainBundle } from "./federation/domain-bundle.ts";
export type { EndpointProof } from "./federation/open-bundle-endpoint.ts";
export { type FoundedDomain, type FoundingRequest, foundDomain } from "./found-domain.ts";
export { type LogCopy, openLogCopy } from "./log-copy.ts";
export { openLogFiles } from "./log-files.ts";
export {
  FoundingKeys,
  LogKeys,
  loadLogKeys,
  logKeyFile,
  type OwnRole,
  ownRoles,
  requireLogKeys,
} from "./log-keys.ts";
export { LogWriter } from "./log-writer.ts";
export { type ControlPlane, type ControlPlaneOptions, openControlPlane } from "./open-control-plane.ts";
export {
  beginGeneration,
  type GenerationRefusal,
  type RestoredLog,
  type RestoreRefusal,
  readLogAt,
  restoreLog,
} from "./recover-log.ts";
export { parseVulnerabilityFeed } from "./vulnerability-feed.ts";
