export { nodeJoinText } from "./apply-entry.ts";
export { hostOfRemote } from "./apply-federation.ts";
export { neededFor } from "./authority.ts";
export {
  type AuthorityKind,
  type AuthorityStatus,
  authoritiesUnder,
  authorityKindOf,
  certificateAuthoritiesOf,
  isRevokedAuthority,
  type KnownAuthority,
  revokedKeyIds,
  taintedKeyIds,
} from "./authority-status.ts";
export {
  type CheckedCheckpoint,
  type CheckpointRefusal,
  checkCheckpoint,
  signCheckpoint,
  type TreeHead,
} from "./checkpoint.ts";
export { type EntryDraft, type EntryStatement, type PresentedEntry, parseEntry, signEntry } from "./entry.ts";
export {
  type AuthorRole,
  type DataClass,
  type EntryBody,
  type EntryKind,
  entryBodies,
  isEntryKind,
  type RequestTokenMode,
  type RevocationReason,
  revocationReasons,
  type StalenessBound,
} from "./entry-kinds.ts";
export { entryRevision, entryVersion, revisionOf } from "./entry-revision.ts";
export { type EntryPlace, type EntryRefusal, type FoldOutcome, type FoldStop, foldEntry } from "./fold.ts";
export {
  type IneffectiveEntry,
  type LogAnchor,
  LogFollower,
  type LogStep,
  type StepRefusal,
} from "./follower.ts";
export { generationOf, logKeyName } from "./generation.ts";
export { defaultGrants, type Founding, foundTrustLog } from "./genesis.ts";
export {
  type InstanceState,
  instanceStateOf,
  isQuarantined,
  type SeenInstance,
} from "./instance-state.ts";
export { issuerKeysOf } from "./issuer-keys.ts";
export { type ConsistencyClaim, type InclusionClaim, isConsistent, isIncluded } from "./merkle-proof.ts";
export { emptyRoot, Frontier, hashBytes, leafHash, MerkleTree, nodeHash } from "./merkle-tree.ts";
export { isNormalPath } from "./path-form.ts";
export { isPeoples, isPersonName, type PersonRole, peoplesRoles, personOf } from "./person.ts";
export { signDelegation, type UnsignedDelegation } from "./prefix-delegation.ts";
export { holdsPrefix, isAbove, matchPrefix, type PrefixMatch } from "./prefix-match.ts";
export { mayBeRecovery, type Recovery, type RecoveryRefusal } from "./recovery.ts";
export { defaultTokenWindow, type RequestTokenPolicy, requestTokenPolicyOf } from "./request-token-policy.ts";
export { isRouterService, routerLabels } from "./router-service.ts";
export {
  formatNote,
  isNoteName,
  isSignedBy,
  type NoteSigner,
  type NoteVerifier,
  noteBytesMax,
  parseNote,
  parseVerifierKey,
  type SignedNote,
  signNote,
  verifierKeyOf,
} from "./signed-note.ts";
export {
  claimedSnapshotSize,
  formatSnapshot,
  type PresentedSnapshot,
  type ReadSnapshot,
  readSnapshot,
  type SnapshotRefusal,
} from "./snapshot.ts";
export { defaultStaleness, type Freshness, freshnessOf } from "./staleness.ts";
export { isTcpService, requestRuleFor, speaksOfRequests } from "./tcp-service.ts";
export {
  entriesOfBundle,
  entryBundle,
  entryBundlePath,
  newEntryBundles,
  newHashTiles,
  type TileFile,
  tilePath,
  tileWidth,
} from "./tile.ts";
export {
  checkTlogProof,
  formatTlogProof,
  type ProvedEntry,
  type TlogProof,
  type TlogProofRefusal,
} from "./tlog-proof.ts";
export {
  isTokenInForce,
  type KnownTokenKey,
  type NamedToken,
  publishedTokenKeys,
  type TokenUse,
} from "./token-status.ts";
export {
  type AuthorityRow,
  type AuthorityStatusRow,
  type AuthorRow,
  type CertificateRow,
  type FederationRow,
  foldVersion,
  type HoldRow,
  type InstanceRow,
  type PrefixRow,
  type RemoteRow,
  type RequestTokenRow,
  type RevocationRow,
  type RevokedCertificateRow,
  type RuleRow,
  type ServiceRow,
  type StandingRow,
  type TokenKeyRow,
  type TrafficRow,
  TrustState,
  type WorkloadRow,
  type ZoneRow,
} from "./trust-state.ts";
export { judgeUnfinished, type UnfinishedEntry } from "./unfinished-entry.ts";
