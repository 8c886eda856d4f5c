import type { Socket } from "node:net";
import { defaultHttp1Limits, type Http1Limits } from "../http1/index.ts";
import {
  attachSocket,
  type Http2Limits,
  type Http2Violation,
  type ServerOwner,
  ServerSession,
} from "../http2/index.ts";
import { LineFields } from "./line-fields.ts";
import type { ServeOptions } from "./serve-options.ts";
import { ServedStream } from "./served-stream.ts";
import type { RequestObserver, Review } from "./verdict.ts";

/** How a connection of HTTP/2 is served. */
export interface Http2ServeOptions extends ServeOptions {
  /** What decides on one request and hears what became of it; asked for at each request's head. */
  readonly observe: () => RequestObserver;
  /** Whether the client is a proxy, which may ask another instance where this one's application is not there. */
  readonly isClientProxy?: boolean;
  readonly http2Limits?: Http2Limits;
  /** What a request's head may be, where that is more than elsewhere. */
  readonly headLimits?: Pick<Http1Limits, "headBytesMax" | "headersMax">;
  /** The client has broken the rules of HTTP/2, or kept us waiting for too long; may be called many times. */
  readonly onViolation?: (violation: Http2Violation) => void;
}

/** A client's connection of HTTP/2 that is being served. */
export interface Http2Connection {
  /** Announces the end and finishes the requests in progress, then closes. */
  close(): void;
  /** Ends the requests in progress that have been allowed and are no more. */
  review(isAllowed: Review): void;
  /** Breaks the connection at once, and what was going on upstream for it. */
  destroy(): void;
}

/** Serves HTTP/2 (RFC 9113) on one connection from a client whose identity, if it has one, is already checked; `first` is what has been read of it. */
export function serveHttp2(socket: Socket, options: Http2ServeOptions, first?: Buffer): Http2Connection {
  const { timer, http2Limits, audience, observe, onFault, onViolation } = options;
  const limits = options.limits ?? defaultHttp1Limits;
  const headLimits = { ...limits, ...options.headLimits };
  const lines = new LineFields();
  // They wait for the end of this turn, so that a body which came with its head leaves with it.
  let starting: ServedStream[] = [];
  const startAll = (): void => {
    const begun = starting;
    starting = [];
    for (const served of begun) guard(() => served.start());
  };
  const guard = (run: () => void): void => {
    try {
      run();
    } catch (fault) {
      onFault?.(fault);
      session.fail("internal-fault");
    }
  };
  const isClientProxy = options.isClientProxy ?? false;
  const { callIdleMillis } = limits;
  const callLimits = { ...limits, responseHeadMillis: callIdleMillis, bodyIdleMillis: callIdleMillis };
  const { tunnels } = options;
  const service = {
    timer,
    limits,
    headLimits,
    callLimits,
    lines,
    audience,
    isClientProxy,
    randomBytes: tunnels?.randomBytes,
    onFault,
    guard,
  };
  const owner: ServerOwner = {
    onRequest: (stream, head, isEnd) => {
      const served = new ServedStream(stream, service, observe());
      served.begin(head, !isEnd);
      if (isEnd) return served;
      if (starting.length === 0) setImmediate(startAll);
      starting.push(served);
      return served;
    },
    ...(onViolation === undefined ? {} : { onViolation }),
  };
  const session = new ServerSession(owner, {
    transport: socket,
    schedule: setImmediate,
    timer,
    connect: {
      plain: tunnels?.kinds.includes("connect") === true,
      extended: tunnels?.kinds.includes("websocket") === true,
    },
    ...(http2Limits === undefined ? {} : { limits: http2Limits }),
    ...(onFault === undefined ? {} : { onFault }),
  });
  socket.setNoDelay(true);
  attachSocket(socket, session);
  if (first !== undefined) session.read(first);
  return {
    close: () => session.drain(),
    review: (isAllowed) => {
      for (const { handler } of session.streams.values())
        if (handler instanceof ServedStream) guard(() => handler.review(isAllowed));
    },
    destroy: () => session.destroy(),
  };
}

/** Whether a connection begins as one of HTTP/2, by as much of the preface (RFC 9113, 3.4) as no HTTP/1 begins with. */
export function beginsHttp2(window: Buffer | undefined): window is Buffer {
  return window?.subarray(0, http2Start.length).equals(http2Start) === true;
}

const http2Start = Buffer.from("PRI * HTTP/2", "latin1");
