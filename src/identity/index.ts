export {
  type AuthorityRequest,
  type CertificateAuthority,
  createIntermediate,
  createRoot,
  type IssuanceRefusal,
  type IssuedSvid,
  type IssuerWorld,
  intermediateLifetimeSecondsDefault,
  issueSvid,
  openAuthority,
  rootLifetimeSecondsDefault,
  type SvidRequest,
  svidLifetimeSecondsDefault,
} from "./certificate-authority.ts";
export {
  type CheckedSvid,
  checkSvid,
  presentedBytesMax,
  presentedCertificatesMax,
  type SvidRefusal,
} from "./check-svid.ts";
export { KnownSvids, knownSvidsMax, type PresentedSvid } from "./known-svids.ts";
export { nextRotationSeconds, type ValidityPeriod } from "./rotation.ts";
export {
  authorityOfServiceName,
  isControlPlane,
  isNodeName,
  nodeNameOfSpiffeId,
  parseServiceName,
  type ServiceName,
  type ServiceNameRefusal,
  serviceNameBytesMax,
  serviceNameOfAuthority,
  serviceNameOfSpiffeId,
  serviceNameSegmentBytesMax,
  serviceNameSegmentsMax,
  spiffeIdOfControlPlane,
  spiffeIdOfNode,
  spiffeIdOfService,
} from "./service-name.ts";
export {
  bundleMapBytesMax,
  bundleMapDomainsMax,
  parseSpiffeBundle,
  parseSpiffeBundleMap,
  type SpiffeBundle,
  type SpiffeBundleRefusal,
  spiffeBundleBytesMax,
  spiffeBundleKeysMax,
  writeSpiffeBundle,
  writeSpiffeBundleMap,
} from "./spiffe-bundle.ts";
export {
  parseSpiffeId,
  parseTrustDomain,
  pathOf,
  type SpiffeId,
  type SpiffeIdRefusal,
  spiffeIdBytesMax,
  spiffeIdOfTrustDomain,
  type TrustDomain,
  type TrustDomainRefusal,
  trustDomainBytesMax,
  trustDomainOf,
} from "./spiffe-id.ts";
export { svidBackdateSeconds, svidLifetimeSecondsMax } from "./svid-limits.ts";
export {
  bundleAuthoritiesMax,
  parseTrustBundle,
  type TrustBundle,
  type TrustBundleRefusal,
  type TrustBundles,
  trustBundlesOf,
} from "./trust-bundle.ts";
export {
  encodeWorkloadMetadata,
  jsonOfWorkloadMetadata,
  labelsMax,
  longMetadataOid,
  parseWorkloadMetadata,
  type WorkloadMetadata,
  type WorkloadMetadataRefusal,
  workloadMetadataOfJson,
  workloadMetadataOid,
} from "./workload-metadata.ts";
