export { BodyCursor } from "./body-framing.ts";
export { CoarseTimer, type Deadline } from "./coarse-timer.ts";
export { ConnectionPool, type OpenConnection } from "./connection-pool.ts";
export { Exchange, isRepeatable } from "./exchange.ts";
export type {
  ExchangeClient,
  ExchangeFailure,
  ExchangeProgress,
  FirstBody,
  ForwardedRequest,
  Http1Client,
  RunningExchange,
  StreamUpstream,
  Upstream,
} from "./forwarding.ts";
export { contentLengthLine, type HeaderSection, hostLine, transferEncodingLine } from "./header-section.ts";
export { type Http1Failure, statusOfFailure } from "./http1-failure.ts";
export { defaultHttp1Limits, defaultPoolLimits, type Http1Limits, type PoolLimits } from "./http1-limits.ts";
export { normaliseTarget, type TargetRefusal } from "./normalise-target.ts";
export { openTcp, type SocketAddress } from "./open-tcp.ts";
export {
  type Answer,
  type Problem,
  type ProblemAudience,
  phraseOf,
  problemAnswer,
} from "./problem-answer.ts";
export { type RequestHead, type RequestRefusal, scanRequestHead } from "./scan-request-head.ts";
export type { ResponseHead } from "./scan-response-head.ts";
export { checkEdits, type HeadEdits, headerLines, noEdits, type ResponseChanges } from "./serialise-head.ts";
export {
  type CompletedRequest,
  type Http1Connection,
  type ServeOptions,
  serveHttp1,
  type Verdict,
} from "./serve-http1.ts";
export { undeliveredName, undeliveredStatus, undeliveredValue } from "./undelivered.ts";
export type { AcquireRefusal, Http1Upstream, Waiter } from "./upstream.ts";
export { type ConnectionUser, UpstreamConnection } from "./upstream-connection.ts";
