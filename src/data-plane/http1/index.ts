export { BodyCursor, type BodyFraming, type BodyRefusal } from "./body-framing.ts";
export { announcesForbiddenTrailer, isForbiddenTrailer } from "./forbidden-trailers.ts";
export { contentLengthLine, type HeaderSection, hostLine, transferEncodingLine } from "./header-section.ts";
export { defaultHttp1Limits, type Http1Limits } from "./http1-limits.ts";
export { normaliseTarget, type TargetRefusal } from "./normalise-target.ts";
export {
  chunkedFraming,
  Http1RequestHead,
  judgeAuthority,
  judgeRequestParts,
  noBody,
  type RefusedHead,
  type RequestRefusal,
  refusedRequest,
  scanConnectHead,
  scanRequestHead,
  type Tunnel,
} from "./scan-request-head.ts";
export { type Http1ResponseHead, scanResponseHead } from "./scan-response-head.ts";
export {
  type BodyCoding,
  checkEdits,
  type HeadEdits,
  headerLines,
  linesOfChanges,
  noEdits,
  type ResponseChanges,
  serialiseRequest,
  serialiseResponse,
  teLines,
} from "./serialise-head.ts";
export { checkTrailers, chunksOf, type Trailer, type TrailerRefusal } from "./trailers.ts";
export { isWebSocketAccepted, upgradeLines, webSocketAcceptOf } from "./web-socket-handshake.ts";
