import { isTcpService } from "../trust-log/index.ts";
import { type AppAddress, AppUpstream } from "./app-upstream.ts";
import type { CheckedPeer } from "./check-peer.ts";
import {
  type CompletedRequest,
  isMirrored,
  mirroredLine,
  type RequestHead,
  type RequestObserver,
  type Upstream,
  type Verdict,
} from "./forwarding/index.ts";
import type { InboundWork, PeerWork, ServedAs } from "./open-inbound.ts";
import { type DecidedRequest, type DecisionMade, PeerDecider } from "./peer-decider.ts";
import { PeerLines } from "./peer-lines.ts";
import type { ProxyContext } from "./proxy-context.ts";
import type { ConnectionGate, TokenDenial } from "./request-token-gate.ts";
import { RequestTrace } from "./request-trace.ts";
import { AppTcp } from "./tcp/index.ts";
import { OwnPatience } from "./traffic/index.ts";

/** What a sidecar does for its peers: decides on each request, and takes it to the application. */
export function appWork(context: ProxyContext, app: AppAddress): InboundWork {
  const toApp = new AppUpstream(app, context);
  const patience = new OwnPatience(() => context.view.follower.state.traffic.get(context.service));
  const toAppTcp = new AppTcp(app, context.metrics.tcp.inbound);
  return {
    tunnels: ["websocket", "connect"],
    workFor: (peer, as) => {
      const to = { toApp, toTcp: toAppTcp.for(peer.instance), patience };
      return workFor(context, { peer, as, to });
    },
    reviewedBy: () => {
      const { checker, view, service } = context;
      const { state } = view.follower;
      const isStale = checker.freshness("openConnection") === "stale";
      return `${state.rules.digest()} ${state.prefixes.digest()} ${isTcpService(state, service)} ${isStale}`;
    },
    close: () => toApp.close(),
  };
}

/** Where what a peer asks for goes. */
interface ToApp {
  readonly toApp: AppUpstream;
  readonly toTcp: Upstream;
  readonly patience: OwnPatience;
}

function workFor(
  context: ProxyContext,
  { peer, as, to }: { readonly peer: CheckedPeer; readonly as: ServedAs; readonly to: ToApp },
): PeerWork {
  const { tracer } = context;
  const { version, audience, gate } = as;
  const decider = new PeerDecider(context, peer, audience);
  const lines = new PeerLines(peer);
  const fixed = (host: string): Uint8Array => lines.for(host);
  const untraced = new RequestTrace(undefined, fixed, version);
  return {
    observe: () => {
      const trace = tracer === undefined ? untraced : new RequestTrace(tracer, fixed, version);
      return new InboundRequest(context, { decider, trace, gate, ...to });
    },
    review: () => decider.review(),
  };
}

/** What one request, or one TCP connection, of a peer needs. */
interface InboundParts extends ToApp {
  readonly decider: PeerDecider;
  readonly gate: ConnectionGate;
  readonly trace: RequestTrace;
}

/** Requests of a peer, one after the other: each is decided on, and its outcome counted and traced. */
class InboundRequest implements RequestObserver, DecidedRequest {
  decision: DecisionMade | undefined;
  isDenied = false;
  readonly #context: ProxyContext;
  readonly #decider: PeerDecider;
  readonly #trace: RequestTrace;
  readonly #parts: InboundParts;

  constructor(context: ProxyContext, parts: InboundParts) {
    this.#context = context;
    this.#decider = parts.decider;
    this.#trace = parts.trace;
    this.#parts = parts;
  }

  decide(request: RequestHead): Verdict | Promise<Verdict> {
    const begun = this.#trace.begin(request);
    this.#context.usage.inFlight += 1;
    // The application may want to leave out what is to happen once only.
    const edits = isMirrored(request) ? { ...begun, add: Buffer.concat([begun.add, mirroredLine]) } : begun;
    const { toApp, toTcp, patience } = this.#parts;
    const upstream = request.tunnel === "connect" ? toTcp : patience.over(request, toApp.for(request));
    const forward = { kind: "forward", upstream, edits } as const;
    const denied = this.#parts.gate.check(request, (asked) => this.#decider.wouldAllow(asked));
    if (denied === undefined) return this.#decider.decide(request, forward, this);
    if (!(denied instanceof Promise)) return this.#deny(denied);
    return denied.then((late) =>
      late === undefined ? this.#decider.decide(request, forward, this) : this.#deny(late),
    );
  }

  #deny(denial: TokenDenial): Verdict | Promise<Verdict> {
    this.decision = denial;
    this.isDenied = true;
    return denial.verdict;
  }

  onComplete({ request, error: failure, status, durationMicros }: CompletedRequest): void {
    const { metrics, service } = this.#context;
    // A head that was refused was never decided on.
    const isDenied = request !== undefined && this.isDenied;
    const error = failure ?? (isDenied ? this.decision?.reason : undefined);
    if (!isDenied) metrics.totals.forwarded += 1;
    if (request !== undefined) this.#countUsage(request, { isDenied, failure, status, durationMicros });
    if (request?.tunnel === "connect")
      metrics.tcpConnections.inbound.add(failure ?? (isDenied ? "denied" : "ok"));
    else {
      metrics.requests.inbound.add(failure ?? (isDenied ? "denied" : status < 500 ? "ok" : "app-error"));
      const method = request?.method ?? "";
      metrics.inboundDurations.observe({ service, method, status, error, durationMicros });
    }
    if (request === undefined || !this.#trace.isRecording) return;
    const attributes = this.#decider.attributesOf(this.decision);
    this.#trace.finish({ side: "server", request, service, status, error, durationMicros, attributes });
  }

  /** What was denied never was the application's; what a caller breaks off is no fault of its. */
  #countUsage(
    { tunnel }: RequestHead,
    of: {
      readonly isDenied: boolean;
      readonly failure: CompletedRequest["error"];
      readonly status: number;
      readonly durationMicros: number;
    },
  ): void {
    const { usage } = this.#context;
    usage.inFlight -= 1;
    if (of.isDenied) return;
    const isError = of.failure === undefined ? of.status >= 500 : of.failure.startsWith("upstream-");
    usage.ended({ isError, durationMicros: of.durationMicros, isTunnel: tunnel !== undefined });
  }
}
