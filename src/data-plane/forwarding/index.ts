export { ConnectionPool, type OpenConnection } from "./connection-pool.ts";
export type { AcquireRefusal, ConnectionSource, Waiter, WantedConnection } from "./connection-source.ts";
export { saysExhausted, unavailableStatus } from "./exhausted-mark.ts";
export type {
  Attempts,
  ExhaustedRetries,
  ForwardedRequest,
  Forwarding,
  ForwardingClient,
  ForwardingFailure,
  ForwardingProgress,
  MessageEnd,
  RequestHead,
  ResponseHead,
  Upstream,
} from "./forwarding.ts";
export { plainEnd } from "./forwarding.ts";
export { isGrpcRequest } from "./grpc.ts";
export { Http2Exchange } from "./http2-exchange.ts";
export { InstanceLink, type LinkObserver, type OpenedLink, type OpenLink } from "./instance-link.ts";
export { connectRequest } from "./judge-fields.ts";
export type { LinkChoice } from "./link-choice.ts";
export { defaultLinkLimits, type LinkLimits } from "./link-limits.ts";
export { isMirrored, mirroredLine } from "./mirrored-mark.ts";
export { connectTcp, keptAlive, openTcp, type SocketAddress } from "./open-tcp.ts";
export { defaultPoolLimits, type PoolLimits } from "./pool-limits.ts";
export {
  type Answer,
  type Problem,
  type ProblemAudience,
  type ProxyLines,
  phraseOf,
  problemAnswer,
} from "./problem-answer.ts";
export { type RequestFailure, statusOfFailure } from "./request-failure.ts";
export { type ConnectionTokens, type PeerTokens, requestTokenName } from "./request-tokens.ts";
export { isEventStream, responseValues } from "./response-fields.ts";
export type { OutcomeFailure, OutcomeObserver } from "./sent-request.ts";
export { serveHttp } from "./serve-http.ts";
export { serveHttp1 } from "./serve-http1.ts";
export { type Http2Connection, type Http2ServeOptions, serveHttp2 } from "./serve-http2.ts";
export type { Http1Connection, Http1ServeOptions, TunnelOptions } from "./serve-options.ts";
export { opensTunnel, tunnelOpened } from "./tunnel.ts";
export { saysUndelivered } from "./undelivered.ts";
export type { CompletedRequest, RequestObserver, Review, Verdict } from "./verdict.ts";
