import type { TrafficRow } from "../../trust-log/index.ts";
import type { ForwardedRequest, Forwarding, RequestHead, Upstream } from "../forwarding/index.ts";
import { pathOf } from "../request-trace.ts";
import { RouteTable } from "./route-policy.ts";

/** A request whose response is waited for as long as its policy says, where that is longer than without one. */
export function withPatience(parts: ForwardedRequest, timeoutMillis: number): ForwardedRequest {
  const { limits } = parts;
  if (timeoutMillis <= limits.responseHeadMillis || timeoutMillis === Number.POSITIVE_INFINITY) return parts;
  return { ...parts, limits: { ...limits, responseHeadMillis: timeoutMillis } };
}

/** How long a proxy waits for its own application: as long as the callers' proxies do, by the same policy. */
export class OwnPatience {
  readonly #row: () => TrafficRow | undefined;
  #compiled: { readonly row: TrafficRow; readonly routes: RouteTable } | undefined;

  /** `row` is the traffic policy of the application's service as it is now. */
  constructor(row: () => TrafficRow | undefined) {
    this.#row = row;
  }

  /** The way to the application for a request; the same way where no policy is about it. */
  over(request: RequestHead, upstream: Upstream): Upstream {
    const row = this.#row();
    if (row === undefined || request.tunnel !== undefined) return upstream;
    if (this.#compiled?.row !== row) this.#compiled = { row, routes: new RouteTable(row) };
    const { timeoutMillis } = this.#compiled.routes.for(request.method, pathOf(request.target));
    return timeoutMillis === Number.POSITIVE_INFINITY
      ? upstream
      : { begin: (parts): Forwarding => upstream.begin(withPatience(parts, timeoutMillis)) };
  }
}
