import type { Server, TLSSocket } from "node:tls";
import { MeshError } from "../base/mesh-error.ts";
import { type AccessDecision, decideAccess, evaluatorVersion } from "../policy/index.ts";
import type { RuleRow } from "../trust-log/index.ts";
import type { CheckedPeer } from "./check-peer.ts";
import {
  type CompletedRequest,
  ConnectionPool,
  defaultPoolLimits,
  type HeadEdits,
  type Http1Connection,
  headerLines,
  openTcp,
  problemAnswer,
  type RequestHead,
  serveHttp1,
  type Verdict,
} from "./http1/index.ts";
import { meshTlsServer, useSvid } from "./mesh-tls.ts";
import { connectionRefused, type ProxyContext } from "./proxy-context.ts";
import type { SvidInUse } from "./svid-keeper.ts";

const connectionsMax = 10_000;
/** Handshakes done but not judged yet; more are turned away. */
const uncheckedConnectionsMax = 1_024;
/** Decisions kept for one connection; beyond that they are made again. */
const decisionsPerConnectionMax = 256;
const safeMethods: ReadonlySet<string> = new Set(["GET", "HEAD", "OPTIONS"]);

/** The side of a proxy that other proxies call. */
export interface Inbound extends AsyncDisposable {
  /** host:port. */
  readonly address: string;
  readonly useSvid: (svid: SvidInUse) => void;
  /** Takes no new connections and ends those that are idle; the others end with their request. */
  readonly drain: () => void;
}

/** What the inbound side needs besides what both sides share. */
export interface InboundOptions {
  readonly context: ProxyContext;
  readonly svid: SvidInUse;
  readonly host: string;
  readonly port: number;
  /** Where the application listens. */
  readonly app: { readonly host: string; readonly port: number };
}

/** Opens the mesh listener of a sidecar: mutual TLS in, verdict, decision, plain HTTP to the application. */
export async function openInbound(options: InboundOptions): Promise<Inbound> {
  const { context } = options;
  const server = meshTlsServer(options.svid);
  const toApp = new ConnectionPool(openTcp(options.app), defaultPoolLimits, context.timer);
  const served = new Map<TLSSocket, Http1Connection | undefined>();
  let unchecked = 0;

  server.maxConnections = connectionsMax;
  server.on("tlsClientError", (_error, socket) => socket.destroy());
  server.on("secureConnection", (socket) => {
    served.set(socket, undefined);
    socket.once("close", () => served.delete(socket));
    socket.on("error", () => socket.destroy());
    if (unchecked >= uncheckedConnectionsMax) {
      context.metrics.refusedConnections.inc({ direction: "inbound", reason: "too-many-unknown" });
      socket.destroy();
      return;
    }
    unchecked += 1;
    void admit(context, socket)
      .then((peer) => {
        if (peer !== undefined && !socket.destroyed)
          served.set(socket, servePeer(context, socket, { peer, toApp }));
      })
      .finally(() => {
        unchecked -= 1;
      });
  });
  const address = await listen(server, options);
  return {
    address,
    useSvid: (svid) => useSvid(server, svid),
    drain: () => {
      server.close();
      for (const connection of served.values()) connection?.close();
    },
    [Symbol.asyncDispose]: async () => {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      for (const socket of served.keys()) socket.destroy();
      toApp.close();
      await closed;
    },
  };
}

/** Nothing is read from the socket before the verdict: no listener for its data is there yet. */
async function admit(context: ProxyContext, socket: TLSSocket): Promise<CheckedPeer | undefined> {
  const checked = await context.checker.check(socket);
  if (!checked.ok) {
    connectionRefused(context, "inbound", { ...checked, peer: socket.remoteAddress ?? "" });
    socket.destroy();
    return undefined;
  }
  context.livePeers.add(socket, { peer: checked.value, nowSeconds: context.clock.nowSeconds() });
  return checked.value;
}

function servePeer(
  context: ProxyContext,
  socket: TLSSocket,
  { peer, toApp }: { readonly peer: CheckedPeer; readonly toApp: ConnectionPool },
): Http1Connection {
  const decider = new PeerDecider(context, peer);
  const { svid } = peer;
  const edits: HeadEdits = {
    remove: [],
    add: headerLines([["X-Forwarded-Client-Cert", `Hash=${svid.sha256};URI=${svid.spiffeId}`]]),
  };
  const forward: Verdict = { kind: "forward", upstream: toApp, edits };
  return serveHttp1(socket, {
    decide: (request) => decider.decide(request, forward),
    timer: context.timer,
    onComplete: ({ error, status }: CompletedRequest) => {
      context.metrics.totals.forwarded += 1;
      context.metrics.requests.inc({
        direction: "inbound",
        outcome: error ?? (status < 500 ? "ok" : "app-error"),
      });
    },
  });
}

/** Decides the requests of one connection. What was decided at the same tree size is not decided again. */
class PeerDecider {
  readonly #context: ProxyContext;
  readonly #peer: CheckedPeer;
  readonly #decided = new Map<string, AccessDecision>();
  #decidedSize = -1;

  constructor(context: ProxyContext, peer: CheckedPeer) {
    this.#context = context;
    this.#peer = peer;
  }

  decide(request: RequestHead, forward: Verdict): Verdict | Promise<Verdict> {
    const { checker, view, metrics } = this.#context;
    const freshness = checker.freshness("openConnection");
    if (freshness === "stale" || (freshness === "degraded" && !safeMethods.has(request.method))) {
      metrics.deniedRequests.inc({ reason: `view-${freshness}` });
      return problemAnswer({
        status: 503,
        reason: `view-${freshness}`,
        detail: `no news from the trust log for ${Math.floor(view.stalenessSeconds)} s`,
      });
    }
    if (view.follower.size !== this.#decidedSize) {
      this.#decided.clear();
      this.#decidedSize = view.follower.size;
    }
    const path = request.target.split("?", 1)[0] ?? "/";
    const key = `${request.method} ${path}`;
    const known = this.#decided.get(key);
    if (known !== undefined) return known.effect === "allow" ? forward : this.#denial(known);
    return this.#decideAnew({ key, method: request.method, path, freshness }, forward);
  }

  #decideAnew(
    asked: {
      readonly key: string;
      readonly method: string;
      readonly path: string;
      readonly freshness: string;
    },
    forward: Verdict,
  ): Verdict | Promise<Verdict> {
    const { service, view, audit } = this.#context;
    const { method, path, freshness } = asked;
    const decision = decideAccess(rulesOf(view.follower.state.rules.entries()), {
      from: this.#peer.service,
      to: service,
      method,
      path,
    });
    if (this.#decided.size < decisionsPerConnectionMax) this.#decided.set(asked.key, decision);
    const record = {
      type: "decision",
      ...decision,
      caller: this.#peer.svid.spiffeId,
      callee: service,
      method,
      path,
      evaluatorVersion,
      freshness,
    } as const;
    if (decision.effect === "allow") {
      audit.record(record);
      return forward;
    }
    // A denial is on disk before its answer leaves (design section 3, step 8).
    return audit.recordDurably(record).then((isDurable) =>
      isDurable
        ? this.#denial(decision)
        : problemAnswer({
            status: 503,
            reason: "audit-unavailable",
            detail: "the decision could not be recorded",
            close: true,
          }),
    );
  }

  #denial({ reason, rule }: AccessDecision): Verdict {
    this.#context.metrics.deniedRequests.inc({ reason });
    this.#context.metrics.totals.refused += 1;
    const { service } = this.#context;
    const detail =
      reason === "no-rule"
        ? `no rule allows ${this.#peer.service} to call ${service}; an operator may run: troth allow ${this.#peer.service} ${service}`
        : `the rule "${rule}" denies it`;
    return problemAnswer({ status: 403, reason, detail });
  }
}

function* rulesOf(entries: Iterable<[string, RuleRow]>): Generator<RuleRow> {
  for (const [, rule] of entries) yield rule;
}

function listen(server: Server, { host, port }: InboundOptions): Promise<string> {
  return new Promise((resolve, reject) => {
    server.once("error", (cause) =>
      reject(new MeshError("ERR_DATA_PLANE_LISTEN", `cannot listen on ${host}:${port}`, { cause })),
    );
    server.listen({ host, port }, () => {
      const address = server.address();
      resolve(typeof address === "object" && address !== null ? `${host}:${address.port}` : "");
    });
  });
}
