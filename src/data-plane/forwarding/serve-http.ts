import type { Socket } from "node:net";
import { serveHttp1 } from "./serve-http1.ts";
import { type Http2Connection, type Http2ServeOptions, serveHttp2 } from "./serve-http2.ts";
import type { RequestObserver } from "./verdict.ts";

/** How a connection is served whose client chooses what it speaks. */
export interface HttpServeOptions extends Omit<Http2ServeOptions, "observe" | "onViolation"> {
  /** What decides on requests over this version of HTTP and hears what became of them. */
  readonly observe: (version: "1" | "2") => RequestObserver;
  /** Who hears of what the client does against the rules of HTTP/2; asked for where it speaks that. */
  readonly onViolation: () => NonNullable<Http2ServeOptions["onViolation"]>;
  /** Whether HTTP/2 has been agreed on already. */
  readonly isHttp2?: boolean;
}

/** A client's connection that is being served, whatever is spoken on it. */
export interface HttpConnection {
  /** Finishes the requests in progress, then closes. */
  close(): void;
  /** The same, but an idle connection of HTTP/1.1 closes with its next answer (Http1Connection.retire). */
  retire(): void;
  /** Breaks the connection at once, and what was going on upstream for it. */
  destroy(): void;
}

/** Serves HTTP/1.1, or HTTP/2 where that has been agreed on or the client speaks it from its first byte on (RFC 9113, 3.3). */
export function serveHttp(
  socket: Socket,
  { observe, onViolation, isHttp2 = false, ...options }: HttpServeOptions,
): HttpConnection {
  const asHttp2 = (first?: Buffer): Http2Connection =>
    serveHttp2(socket, { ...options, observe: () => observe("2"), onViolation: onViolation() }, first);
  if (isHttp2) {
    const agreed = asHttp2();
    return {
      close: () => agreed.close(),
      retire: () => agreed.close(),
      destroy: () => agreed.destroy(),
    };
  }
  let http2: Http2Connection | undefined;
  let isRetiring = false;
  const one = observe("1");
  const http1 = serveHttp1(socket, {
    ...options,
    decide: (request) => one.decide(request),
    onComplete: (event) => one.onComplete(event),
    onHttp2: (first) => {
      http2 = asHttp2(first);
      if (isRetiring) http2.close();
    },
  });
  return {
    close: () => (http2 ?? http1).close(),
    retire: () => {
      isRetiring = true;
      http1.retire();
      http2?.close();
    },
    destroy: () => (http2 ?? http1).destroy(),
  };
}
