import type { TLSSocket } from "node:tls";
import { hexOf } from "../base/bytes.ts";
import { codeOf } from "../base/mesh-error.ts";
import { type AccessDecision, decideAccess, evaluatorVersion } from "../policy/index.ts";
import { HalfOpen } from "../transport/index.ts";
import type { Freshness, RuleRow } from "../trust-log/index.ts";
import type { CheckedPeer } from "./check-peer.ts";
import {
  type CompletedRequest,
  ConnectionPool,
  defaultPoolLimits,
  type Http1Connection,
  headerLines,
  openTcp,
  type Problem,
  type ProblemAudience,
  problemAnswer,
  type RequestHead,
  serveHttp1,
  type Verdict,
} from "./http1/index.ts";
import { listen } from "./listen.ts";
import { meshTlsServer, useSvid } from "./mesh-tls.ts";
import type { ProxyContext } from "./proxy-context.ts";
import type { RefusedConnection } from "./refused-connections.ts";
import { pathOf, RequestTrace } from "./request-trace.ts";
import type { SvidInUse } from "./svid-keeper.ts";

const connectionsMax = 10_000;
/** Of one source, in their handshake; many, since all proxies of a machine are one source and may come at once. */
const halfOpenPerSourceMax = 2_048;
/** Connections with one instance, in both directions; a peer that may call nothing must not use up the others' share. */
const connectionsPerInstanceMax = 768;
/**
 * How long draining leaves connections open that carry no request: callers that hear of it close them by themselves,
 * and none of their requests meets a connection that ends just then.
 */
const drainNoticeMillisMax = 1_000;
/** How long draining waits for requests in flight. */
const drainMillisMax = 5_000;
/** Decisions kept for one connection, on paths of at most so many characters; others are made again. */
const decisionsPerConnectionMax = 256;
const decidedPathCharactersMax = 512;
/** Enough that no two records of a mesh share a number. */
const decisionIdBytes = 12;
const safeMethods: ReadonlySet<string> = new Set(["GET", "HEAD", "OPTIONS"]);

/** The limits of this file, for whoever wants to see them. */
export const inboundLimits: Readonly<Record<string, number>> = {
  connectionsMax,
  connectionsPerInstanceMax,
  halfOpenPerSourceMax,
  drainNoticeMillisMax,
  drainMillisMax,
  decisionsPerConnectionMax,
  decidedPathCharactersMax,
};

/** The side of a proxy that other proxies call. */
export interface Inbound extends AsyncDisposable {
  /** host:port. */
  readonly address: string;
  readonly useSvid: (svid: SvidInUse) => void;
  /**
   * For when callers are being told to go elsewhere: gives them a moment to leave, then takes no new connections and
   * ends those that are idle; the others end with their request, which it waits for.
   */
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
  let emptied = (): void => {};

  server.maxConnections = connectionsMax;
  const halfOpen = new HalfOpen(halfOpenPerSourceMax);
  server.on("connection", (socket) => halfOpen.add(socket));
  server.on("tlsClientError", (error, socket) => {
    refuse(context, socket, { reason: "handshake-failed", detail: codeOf(error) ?? "" });
  });
  server.on("secureConnection", (socket) => {
    halfOpen.settle(socket);
    served.set(socket, undefined);
    socket.once("close", () => {
      served.delete(socket);
      if (served.size === 0) emptied();
    });
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
    drain: async () => {
      await new Promise<void>((resolve) => {
        if (served.size === 0) return resolve();
        const timer = setTimeout(resolve, drainNoticeMillisMax);
        emptied = () => {
          clearTimeout(timer);
          resolve();
        };
      });
      isDraining = true;
      await new Promise<void>((resolve) => {
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
  const { svid } = peer;
  const isMember = svid.trustDomain === context.view.follower.state.genesis?.trustDomain;
  const audience = isMember ? "member" : "stranger";
  const decider = new PeerDecider(context, peer, audience);
  const clientCertificate = `Hash=${svid.sha256};URI=${svid.spiffeId}`;
  const trace = new RequestTrace(
    context.tracer,
    headerLines([["X-Forwarded-Client-Cert", clientCertificate]]),
  );
  return serveHttp1(socket, {
    decide: (request) =>
      decider.decide(request, { kind: "forward", upstream: toApp, edits: trace.begin(request) }),
    timer: context.timer,
    audience,
    isClientProxy: isMember,
    onComplete: (event) => noteCompleted(context, event, { decider, trace }),
  });
}

function noteCompleted(
  { metrics, service }: ProxyContext,
  { request, error: failure, status, durationMicros }: CompletedRequest,
  { decider, trace }: { readonly decider: PeerDecider; readonly trace: RequestTrace },
): void {
  const isDenied = request !== undefined && request === decider.lastDenied;
  const error = failure ?? (isDenied ? decider.last?.reason : undefined);
  if (!isDenied) metrics.totals.forwarded += 1;
  metrics.requests.inbound.add(failure ?? (isDenied ? "denied" : status < 500 ? "ok" : "app-error"));
  const method = request?.method ?? "";
  metrics.inboundDurations.observe({ service, method, status, error, durationMicros });
  if (request === undefined || !trace.isRecording) return;
  const { attributes } = decider;
  trace.finish({ side: "server", request, service, status, error, durationMicros, attributes });
}

/** A decision on a request: by the rules, or against it because they may be out of date. */
interface Decision extends Omit<AccessDecision, "reason"> {
  readonly reason: AccessDecision["reason"] | "view-stale" | "view-degraded";
  /** Of the record in the audit log. */
  readonly decisionId: string;
}

/** Decides the requests of one connection. What was decided at the same tree size and freshness is not decided again. */
class PeerDecider {
  /** The last request that did not get through. */
  lastDenied: RequestHead | undefined;
  /** The last decision. */
  last: Decision | undefined;
  readonly #context: ProxyContext;
  readonly #peer: CheckedPeer;
  readonly #audience: ProblemAudience;
  readonly #decided = new Map<string, Decision>();
  #decidedSize = -1;
  #freshness: Freshness = "stale";

  constructor(context: ProxyContext, peer: CheckedPeer, audience: ProblemAudience) {
    this.#context = context;
    this.#peer = peer;
    this.#audience = audience;
  }

  /** What a span says of the last decision. */
  get attributes(): Readonly<Record<`troth.${string}`, string | number>> {
    return {
      "troth.caller": this.#peer.svid.spiffeId,
      "troth.tree_size": this.#decidedSize,
      ...(this.last === undefined
        ? {}
        : {
            "troth.decision": this.last.effect,
            "troth.reason": this.last.reason,
            "troth.decision_id": this.last.decisionId,
          }),
    };
  }

  decide(request: RequestHead, forward: Verdict): Verdict | Promise<Verdict> {
    const { checker, view } = this.#context;
    const freshness = checker.freshness("openConnection");
    if (view.follower.size !== this.#decidedSize || freshness !== this.#freshness) {
      this.#decided.clear();
      this.#decidedSize = view.follower.size;
      this.#freshness = freshness;
    }
    const path = pathOf(request.target);
    const known = this.#decided.get(`${request.method} ${path}`);
    this.last = known;
    if (known?.effect === "allow") return forward;
    return known === undefined ? this.#decideAnew(request, path, forward) : this.#denial(request, known);
  }

  #decideAnew(request: RequestHead, path: string, forward: Verdict): Verdict | Promise<Verdict> {
    const { service, audit } = this.#context;
    const { method } = request;
    const decisionId = hexOf(this.#context.randomBytes(decisionIdBytes));
    const decision = { ...this.#judge(method, path), decisionId };
    this.last = decision;
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

  #judge(method: string, path: string): Omit<Decision, "decisionId"> {
    const freshness = this.#freshness;
    if (freshness === "stale" || (freshness === "degraded" && !safeMethods.has(method)))
      return { effect: "deny", reason: `view-${freshness}`, rule: "" };
    const { service, view } = this.#context;
    const asked = { from: this.#peer.service, to: service, method, path };
    return decideAccess(rulesOf(view.follower.state.rules.entries()), asked);
  }

  #denial(request: RequestHead, { reason, rule, decisionId }: Decision): Verdict {
    const { service, view } = this.#context;
    const from = this.#peer.service;
    switch (reason) {
      case "view-stale":
      case "view-degraded": {
        const detail = `no news from the trust log for ${Math.floor(view.stalenessSeconds)} s`;
        const missing = `a new epoch of the trust log at the sidecar of ${service}`;
        return this.#deny(request, { status: 503, reason, detail, missing, decisionId });
      }
      case "no-rule": {
        const detail = `no rule allows ${from} to call ${service}; an operator may run: troth allow ${from} ${service}`;
        const missing = `a rule that allows ${from} to call ${service} with ${request.method} ${pathOf(request.target)}`;
        return this.#deny(request, { status: 403, reason, detail, missing, decisionId });
      }
      case "rule-denies":
      case "rule-allows": {
        const detail = `the rule "${rule}" denies it`;
        const missing = `the end of the rule "${rule}"`;
        return this.#deny(request, { status: 403, reason, detail, rule, missing, decisionId });
      }
    }
  }

  #unrecorded(request: RequestHead): Verdict {
    const detail = "the decision could not be recorded";
    const missing = `a disk that the sidecar of ${this.#context.service} can write its audit log to`;
    return this.#deny(request, { status: 503, reason: "audit-unavailable", detail, missing, close: true });
  }

  #deny(request: RequestHead, problem: Problem): Verdict {
    const { metrics } = this.#context;
    this.lastDenied = request;
    metrics.deniedRequests.add(problem.reason);
    metrics.totals.refused += 1;
    return problemAnswer(problem, this.#audience);
  }
}

function* rulesOf(entries: Iterable<[string, RuleRow]>): Generator<RuleRow> {
  for (const [, rule] of entries) yield rule;
}
