import type { HeaderField } from "../http2/index.ts";

/** A status of HTTP by which a proxy or server says that nobody was able to give the right one. */
export type UnavailableStatus = "502" | "503" | "504";

/** Which of them a status is, if any. */
export function unavailableStatusOf(status: number): UnavailableStatus | undefined {
  switch (status) {
    case 502:
      return "502";
    case 503:
      return "503";
    case 504:
      return "504";
    default:
      return undefined;
  }
}

/** Whether a head or trailers of gRPC say UNAVAILABLE, the one status that speaks of the server and not of the call. */
export function isGrpcUnavailable(fields: readonly HeaderField[]): boolean {
  return fields.some(({ name, value }) => name === "grpc-status" && value === "14");
}
