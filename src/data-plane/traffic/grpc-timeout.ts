import type { RequestHead } from "../forwarding/index.ts";

const millisOf: ReadonlyMap<string, number> = new Map([
  ["H", 3_600_000],
  ["M", 60_000],
  ["S", 1_000],
  ["m", 1],
  ["u", 0.001],
  ["n", 0.000_001],
]);

/** How long the caller of a call of gRPC waits for it (gRPC over HTTP/2, "Timeout"); `Infinity` where it does not say. */
export function grpcTimeoutMillis(request: RequestHead): number {
  const [value = ""] = request.valuesOf("grpc-timeout");
  const [, digits = "", unit = ""] = /^([0-9]{1,8})([HMSmun])$/.exec(value) ?? [];
  const millis = millisOf.get(unit);
  return millis === undefined ? Number.POSITIVE_INFINITY : Number(digits) * millis;
}
