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
  requestIntermediate,
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
export { issueRevocationList, type RevocationListRequest } from "./issue-revocation-list.ts";
export {
  audienceCharactersMax,
  audiencesMax,
  type CheckedJwtSvid,
  checkJwtSvid,
  type JwtSvidMintRefusal,
  type JwtSvidRefusal,
  mintJwtSvid,
} from "./jwt-svid.ts";

export { KnownSvids, knownSvidsMax, type PresentedSvid } from "./known-svids.ts";
export {
  type IssuedToken,
  type MintRefusal,
  openTokenKey,
  type TokenKey,
  type TokenRequest,
  tokenKeyIdOf,
  tokenKeysOf,
  tokenLifetimeSecondsDefault,
  tokenLifetimeSecondsMax,
} from "./mint-token.ts";
export { nextRotationSeconds, renewalSpreadMillis, type ValidityPeriod } from "./rotation.ts";
export {
  type CheckedServiceAccount,
  checkServiceAccountToken,
  type KeySetRefusal,
  keySetBytesMax,
  keySetKeysMax,
  parseKeySet,
  type ServiceAccountChecks,
  type ServiceAccountRefusal,
} from "./service-account-token.ts";
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
  type TokenChecks,
  type TokenKeys,
  type TokenNames,
  type TokenRefusal,
  tokenLeewaySeconds,
} from "./token-claims.ts";
export { checkTokenReview, type ReviewChecks, type ReviewRefusal, reviewBytesMax } from "./token-review.ts";
export {
  bundleAuthoritiesMax,
  isAuthority,
  parseTrustBundle,
  type TrustBundle,
  type TrustBundleRefusal,
  type TrustBundles,
  trustBundlesOf,
} from "./trust-bundle.ts";
export {
  type CheckedWitSvid,
  checkWitSvid,
  mintWitSvid,
  type WitSvidMintRefusal,
  type WitSvidRefusal,
} from "./wit-svid.ts";
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
