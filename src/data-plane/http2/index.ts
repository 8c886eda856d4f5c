export { attachSocket } from "./attach-socket.ts";
export { ClientSession } from "./client-session.ts";
export { fieldKind, HeaderField, headerField } from "./hpack/header-field.ts";
export {
  appClientHttp2Limits,
  appHttp2Limits,
  defaultHttp2Limits,
  type Http2Limits,
  instanceHttp2Limits,
  memberHttp2Limits,
} from "./http2-limits.ts";
export { Http2Session } from "./http2-session.ts";
export type { Http2Stream, ResponseHandler, StreamHandler } from "./http2-stream.ts";
export { errorCode, errorCodeOf, type Http2Violation } from "./http2-violation.ts";
export {
  type ConnectForms,
  type Http2RequestHead,
  type Http2ResponseHead,
  noConnect,
} from "./message-head.ts";
export type { Schedule, Transport } from "./output-pump.ts";
export { type ServerOwner, ServerSession } from "./server-session.ts";
export type { SessionOptions, SessionOwner } from "./session-core.ts";
