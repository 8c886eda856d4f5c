import type { TLSSocket } from "node:tls";
import { codeOf } from "../base/mesh-error.ts";
import { type AccessDecision, decideAccess, evaluatorVersion } from "../policy/index.ts";
import type { Freshness, RuleRow } from "../trust-log/index.ts";
import type { CheckedPeer } from "./check-peer.ts";
import {
  type CompletedRequest,
  ConnectionPool,
  defaultPoolLimits,
  type HeadEdits,
  type Http1Connection,
  headerLines,
  openTcp,
  type Problem,
  problemAnswer,
  type RequestHead,
  serveHttp1,
  type Verdict,
} from "./http1/index.ts";
import { listen } from "./listen.ts";
import { meshTlsServer, useSvid } from "./mesh-tls.ts";
import type { ProxyContext } from "./proxy-context.ts";
import type { RefusedConnection } from "./refused-connections.ts";
import type { SvidInUse } from "./svid-keeper.ts";

const connectionsMax = 10_000;
/** Connections with one instance, in both directions; a peer that may call nothing must not use up the others' share. */
const connectionsPerInstanceMax = 768;
/** How long draining waits for requests in flight. */
const drainMillisMax = 5_000;
/** Decisions kept for one connection, on paths of at most so many characters; others are made again. */
const decisionsPerConnectionMax = 256;
const decidedPathCharactersMax = 512;
const safeMethods: ReadonlySet<string> = new Set(["GET", "HEAD", "OPTIONS"]);

/** The side of a proxy that other proxies call. */
export interface Inbound extends AsyncDisposable {
  /** host:port. */
  readonly address: string;
  readonly useSvid: (svid: SvidInUse) => void;
  /** Takes no new connections and ends those that are idle; the others end with their request, which it waits for. */
  readonly drain: () => Promise<void>;
  /** Ends the connections there are with the request that each carries; new ones are taken. */
  readonly endConnections: () => void;
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
  let isDraining = false;

  server.maxConnections = connectionsMax;
  server.on("tlsClientError", (error, socket) => {
    refuse(context, socket, { reason: "handshake-failed", detail: codeOf(error) ?? "" });
  });
  server.on("secureConnection", (socket) => {
    served.set(socket, undefined);
    socket.once("close", () => served.delete(socket));
    socket.on("error", () => socket.destroy());
    void admit(context, socket).then((peer) => {
      if (peer === undefined) return;
      const connection = servePeer(context, socket, { peer, toApp });
      served.set(socket, connection);
      if (isDraining) connection.close();
    });
  });
  const address = await listen(server, options, context.log);
  return {
    address,
    useSvid: (svid) => useSvid(server, svid),
    endConnections: () => {
      for (const connection of served.values()) connection?.close();
    },
    drain: () => {
      isDraining = true;
      return new Promise((resolve) => {
        const timer = setTimeout(resolve, drainMillisMax);
        server.close(() => {
          clearTimeout(timer);
          resolve();
        });
        for (const connection of served.values()) connection?.close();
      });
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
  const { checker, livePeers, clock } = context;
  const checked = await checker.check(socket);
  if (!checked.ok) return refuse(context, socket, checked);
  const peer = checked.value;
  if (livePeers.countOf(peer.instance) >= connectionsPerInstanceMax)
    return refuse(context, socket, { reason: "too-many-connections", detail: peer.svid.spiffeId });
  return livePeers.add(socket, { peer, nowSeconds: clock.nowSeconds() }) ? peer : undefined;
}

function refuse(
  context: ProxyContext,
  socket: TLSSocket,
  { reason, detail }: Pick<RefusedConnection, "reason" | "detail">,
): undefined {
  context.refused.note({ direction: "inbound", reason, detail, peer: socket.remoteAddress ?? "" });
  socket.destroy();
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
    onComplete: ({ request, error, status }: CompletedRequest) => {
      const isDenied = request !== undefined && request === decider.lastDenied;
      if (!isDenied) context.metrics.totals.forwarded += 1;
      context.metrics.requests.inc({
        direction: "inbound",
        outcome: error ?? (isDenied ? "denied" : status < 500 ? "ok" : "app-error"),
      });
    },
  });
}

/** A decision on a request: by the rules, or against it because they may be out of date. */
interface Decision extends Omit<AccessDecision, "reason"> {
  readonly reason: AccessDecision["reason"] | "view-stale" | "view-degraded";
}

/** Decides the requests of one connection. What was decided at the same tree size and freshness is not decided again. */
class PeerDecider {
  /** The last request that did not get through. */
  lastDenied: RequestHead | undefined;
  readonly #context: ProxyContext;
  readonly #peer: CheckedPeer;
  readonly #decided = new Map<string, Decision>();
  #decidedSize = -1;
  #freshness: Freshness = "stale";

  constructor(context: ProxyContext, peer: CheckedPeer) {
    this.#context = context;
    this.#peer = peer;
  }

  decide(request: RequestHead, forward: Verdict): Verdict | Promise<Verdict> {
    const { checker, view } = this.#context;
    const freshness = checker.freshness("openConnection");
    if (view.follower.size !== this.#decidedSize || freshness !== this.#freshness) {
      this.#decided.clear();
      this.#decidedSize = view.follower.size;
      this.#freshness = freshness;
    }
    const path = request.target.split("?", 1)[0] ?? "/";
    const known = this.#decided.get(`${request.method} ${path}`);
    if (known?.effect === "allow") return forward;
    return known === undefined ? this.#decideAnew(request, path, forward) : this.#denial(request, known);
  }

  #decideAnew(request: RequestHead, path: string, forward: Verdict): Verdict | Promise<Verdict> {
    const { service, audit } = this.#context;
    const { method } = request;
    const decision = this.#judge(method, path);
    if (this.#decided.size < decisionsPerConnectionMax && path.length <= decidedPathCharactersMax)
      this.#decided.set(`${method} ${path}`, decision);
    const record = {
      type: "decision",
      ...decision,
      caller: this.#peer.svid.spiffeId,
      callee: service,
      method,
      path,
      evaluatorVersion,
      freshness: this.#freshness,
    } as const;
    if (decision.effect === "allow") {
      audit.record(record);
      return forward;
    }
    // A denial is on disk before its answer leaves (design section 3, step 8).
    return audit
      .recordDurably(record)
      .then((isDurable) => (isDurable ? this.#denial(request, decision) : this.#unrecorded(request)));
  }

  #judge(method: string, path: string): Decision {
    const freshness = this.#freshness;
    if (freshness === "stale" || (freshness === "degraded" && !safeMethods.has(method)))
      return { effect: "deny", reason: `view-${freshness}`, rule: "" };
    const { service, view } = this.#context;
    const asked = { from: this.#peer.service, to: service, method, path };
    return decideAccess(rulesOf(view.follower.state.rules.entries()), asked);
  }

  #denial(request: RequestHead, { reason, rule }: Decision): Verdict {
    const { service, view } = this.#context;
    switch (reason) {
      case "view-stale":
      case "view-degraded": {
        const detail = `no news from the trust log for ${Math.floor(view.stalenessSeconds)} s`;
        return this.#deny(request, { status: 503, reason, detail });
      }
      case "no-rule": {
        const from = this.#peer.service;
        const detail = `no rule allows ${from} to call ${service}; an operator may run: troth allow ${from} ${service}`;
        return this.#deny(request, { status: 403, reason, detail });
      }
      case "rule-denies":
      case "rule-allows":
        return this.#deny(request, { status: 403, reason, detail: `the rule "${rule}" denies it` });
    }
  }

  #unrecorded(request: RequestHead): Verdict {
    const detail = "the decision could not be recorded";
    return this.#deny(request, { status: 503, reason: "audit-unavailable", detail, close: true });
  }

  #deny(request: RequestHead, problem: Problem): Verdict {
    const { metrics } = this.#context;
    this.lastDenied = request;
    metrics.deniedRequests.inc({ reason: problem.reason });
    metrics.totals.refused += 1;
    return problemAnswer(problem);
  }
}

function* rulesOf(entries: Iterable<[string, RuleRow]>): Generator<RuleRow> {
  for (const [, rule] of entries) yield rule;
}
