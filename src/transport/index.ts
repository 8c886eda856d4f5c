export { type DueRenewal, DueRenewals } from "./due-renewals.ts";
export { type FollowerEvents, type FollowOnce, keepFollowing, LogView } from "./follow-log.ts";
export { HalfOpen, sourceOf } from "./half-open.ts";
export { nextChange, type Subscribe } from "./next-change.ts";
export { publicCiphers } from "./public-tls.ts";
export {
  type AskedQuestion,
  askQuestion,
  type IssuerRefusal,
  issuerRefusals,
  type PresentedQuestion,
  type QuestionSigner,
  type QuestionWanted,
  questionBytesMax,
  readQuestion,
  sealedAnswerBytesMax,
  type UnsealedRefusal,
  unsealedRefusals,
} from "./request-token-question.ts";
export { resolvesWithin } from "./resolves-within.ts";
export { openRpcConnection, type RpcConnection, type RpcTarget } from "./rpc-client.ts";
export { openRpcServer, peerKey, type RpcListen, type RpcServer, unixConnection } from "./rpc-server.ts";
export { type LogSource, type ServeRequest, serveLog } from "./serve-log.ts";
export {
  type IssuedChain,
  type RequestSvid,
  type SvidInUse,
  SvidKeeper,
  type SvidKeeperOptions,
} from "./svid-keeper.ts";
export { pemOfCertificate, type TlsIdentity, tlsIdentityOf } from "./tls-identity.ts";
