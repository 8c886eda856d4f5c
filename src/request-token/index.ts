export {
  type CheckedRequestToken,
  type CheckRequestToken,
  clientKeysMax,
  type RequestTokenAudience,
  type RequestTokenDemand,
  type RequestTokenPeer,
  requestTokenChecker,
  type SkippableStep,
} from "./check-request-token.ts";
export {
  type ClientKeyBinding,
  deriveAudienceKey,
  deriveClientKey,
  importRequestTokenKey,
  requestTokenKeyBytes,
} from "./derive-keys.ts";
export { type IssuerClock, type IssuerTimeSample, issuerClock } from "./issuer-clock.ts";
export { keyPeriodAt, keyPeriodMillis, keyPeriodStartsMillis } from "./key-period.ts";
export { mintForDigest } from "./mint-for-digest.ts";
export {
  type MinterOptions,
  type MintRequestToken,
  type NonceSource,
  nonceSource,
  requestTokenMinter,
} from "./mint-request-token.ts";
export {
  type NonceVerdict,
  type NonceWheel,
  type NonceWheelOptions,
  nonceBucketEntriesFirst,
  nonceBucketEntriesMax,
  nonceBucketMillis,
  nonceWheel,
} from "./nonce-wheel.ts";
export {
  isWorthAnotherToken,
  type RequestTokenRefusal,
  requestTokenStatus,
  shownRefusal,
} from "./refusal.ts";
export { defaultReplayWindow, narrowReplayWindow, type ReplayWindow } from "./replay-window.ts";
export { requestDigest, type TokenRequest } from "./request-digest.ts";
export {
  parseRequestToken,
  type RequestToken,
  type RequestTokenParseRefusal,
  requestTokenText,
} from "./request-token.ts";
export { noChannelBinding, requestTokenExporterLabel, type TokenContext } from "./token-context.ts";
export {
  nonceBytes,
  type RequestTokenMode,
  requestTokenBytes,
  requestTokenCharacters,
} from "./token-layout.ts";
