import http2 from "node:http2";
import type { GrpcTarget } from "../peers/grpc-js/interop-client.ts";

const answerMillisMax = 10_000;
/** Of a message without compression and without bytes (gRPC over HTTP/2, "Length-Prefixed-Message"). */
const emptyMessage = Buffer.alloc(5);

/** What comes back for a unary call, before any gRPC library has made something of it. */
export interface RawGrpcAnswer {
  readonly httpStatus: number;
  readonly contentType: string;
  /** Whether the stream ended with the first header block, as a call does that never got to the application. */
  readonly isTrailersOnly: boolean;
  readonly grpcStatus: string;
  /** As it is on the wire. */
  readonly grpcMessage: string;
  readonly bodyBytes: number;
}

/** Makes a unary call with an empty message over cleartext HTTP/2; rejects where the stream breaks. */
export async function rawGrpcCall(target: GrpcTarget, path: string): Promise<RawGrpcAnswer> {
  const session = http2.connect(`http://${target.address}`);
  try {
    return await new Promise((resolve, reject) => {
      session.once("error", reject);
      const stream = session.request(requestHead(target, path));
      stream.setTimeout(answerMillisMax, () => reject(new Error(`no answer within ${answerMillisMax} ms`)));
      let head: http2.IncomingHttpHeaders & http2.IncomingHttpStatusHeader = {};
      let trailers: http2.IncomingHttpHeaders = {};
      let isTrailersOnly = false;
      let bodyBytes = 0;
      stream.once("response", (headers, flags) => {
        head = headers;
        isTrailersOnly = (flags & http2.constants.NGHTTP2_FLAG_END_STREAM) !== 0;
      });
      stream.once("trailers", (headers) => {
        trailers = headers;
      });
      stream.on("data", (chunk: Buffer) => {
        bodyBytes += chunk.length;
      });
      stream.once("error", reject);
      stream.once("end", () => {
        const { "grpc-status": grpcStatus = "", "grpc-message": grpcMessage = "" } = { ...head, ...trailers };
        const { ":status": httpStatus = 0, "content-type": contentType = "" } = head;
        resolve({
          httpStatus,
          contentType,
          isTrailersOnly,
          grpcStatus: String(grpcStatus),
          grpcMessage: String(grpcMessage),
          bodyBytes,
        });
      });
      stream.end(emptyMessage);
    });
  } finally {
    session.destroy();
  }
}

/** The head of a call. */
export function requestHead({ authority }: GrpcTarget, path: string): http2.OutgoingHttpHeaders {
  return {
    ":method": "POST",
    ":scheme": "http",
    ":authority": authority,
    ":path": path,
    te: "trailers",
    "content-type": "application/grpc",
  };
}
