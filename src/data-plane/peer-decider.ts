import type { AuditRecord } from "../audit/index.ts";
import { hexOf } from "../base/bytes.ts";
import { type AccessDecision, decideAccess, decideTcpAccess, evaluatorVersion } from "../policy/index.ts";
import { type Freshness, isTcpService, type RuleRow } from "../trust-log/index.ts";
import { AskedDestination } from "./asked-destination.ts";
import type { CheckedPeer } from "./check-peer.ts";
import {
  type Problem,
  type ProblemAudience,
  problemAnswer,
  type RequestHead,
  type Review,
  type Verdict,
} from "./forwarding/index.ts";
import type { ProxyContext } from "./proxy-context.ts";
import { pathOf } from "./request-trace.ts";

/** Decisions kept for one connection; the others are made again. */
export const decisionsPerConnectionMax = 256;
/** The longest path whose decision is kept, in characters. */
export const decidedPathCharactersMax = 512;
/** Enough that no two records of a mesh share a number. */
const decisionIdBytes = 12;
/** By which a proxy says that whoever it asks for is to learn no more of a denial than its number. */
export const audienceHeader = "troth-audience";
const safeMethods: ReadonlySet<string> = new Set(["GET", "HEAD", "OPTIONS"]);

/** A decision on a request: by the rules, or against it because they may be out of date or the service speaks another protocol. */
export interface Decision extends Omit<AccessDecision, "reason"> {
  readonly reason:
    | AccessDecision["reason"]
    | "view-stale"
    | "view-degraded"
    | "service-speaks-tcp"
    | "service-speaks-http"
    | "not-my-prefix";
  /** Of the record in the audit log. */
  readonly decisionId: string;
}

/** A decision as metrics, traces and the caller hear of it. */
export interface DecisionMade {
  readonly effect: "allow" | "deny";
  readonly reason: string;
  readonly decisionId: string;
}

/** A request while it is decided on, and what came of that. */
export interface DecidedRequest {
  decision: DecisionMade | undefined;
  /** Whether it did not get through. */
  isDenied: boolean;
}

type Judged = Omit<Decision, "decisionId">;
type DecisionRecord = Extract<AuditRecord, { type: "decision" }>;

/** Decides the requests of one connection. What was decided at the same tree size and freshness is not decided again. */
export class PeerDecider {
  readonly #context: ProxyContext;
  readonly #peer: CheckedPeer;
  readonly #audience: ProblemAudience;
  readonly #asked: AskedDestination;
  readonly #decided = new Map<string, Decision>();
  /** Whether the record of a denial is on disk, for those of which that is not known yet. */
  readonly #recording = new WeakMap<Decision, Promise<boolean>>();
  #decidedSize = -1;
  #freshness: Freshness = "stale";

  constructor(context: ProxyContext, peer: CheckedPeer, audience: ProblemAudience) {
    this.#context = context;
    this.#peer = peer;
    this.#audience = audience;
    this.#asked = new AskedDestination(context);
  }

  /** What a span says of a decision made here. */
  attributesOf(decision: DecisionMade | undefined): Readonly<Record<`troth.${string}`, string | number>> {
    return {
      "troth.caller": this.#peer.svid.spiffeId,
      "troth.tree_size": this.#decidedSize,
      ...(decision === undefined
        ? {}
        : {
            "troth.decision": decision.effect,
            "troth.reason": decision.reason,
            "troth.decision_id": decision.decisionId,
          }),
    };
  }

  /** Answers with `forward`, or with a denial that is durable in the audit log; `asked` learns which. */
  decide(request: RequestHead, forward: Verdict, asked: DecidedRequest): Verdict | Promise<Verdict> {
    const { checker, view } = this.#context;
    const freshness = checker.freshness("openConnection");
    if (view.follower.size !== this.#decidedSize || freshness !== this.#freshness) {
      this.#decided.clear();
      this.#decidedSize = view.follower.size;
      this.#freshness = freshness;
    }
    const known = this.#decided.get(this.#keyOf(request));
    asked.decision = known;
    asked.isDenied = known?.effect === "deny";
    if (known?.effect === "allow") return forward;
    return known === undefined
      ? this.#decideAnew(request, forward, asked)
      : this.#knownDenial(request, known);
  }

  /** Whether nothing but a request token is missing; decides nothing. */
  wouldAllow(request: RequestHead): boolean {
    return this.#judgeByRules(request).effect === "allow";
  }

  /**
   * Judges requests in progress by the rules of now; one record says of all that are alike that they are no longer
   * allowed. Rules that may be out of date are a matter for new requests alone, until they are too old to be believed:
   * nobody can know what a tunnel carries.
   */
  review(): Review {
    const { checker, metrics, audit } = this.#context;
    const freshness = checker.freshness("openConnection");
    const judged = new Map<string, Judged>();
    const judge = (request: RequestHead): Judged => {
      const isTooOld = freshness === "stale" && request.tunnel !== undefined;
      const judgement = isTooOld ? tooOld : this.#judgeByRules(request);
      judged.set(this.#keyOf(request), judgement);
      if (judgement.effect === "deny")
        void audit.recordDurably(this.#recordOf(this.#numbered(judgement), request, freshness));
      return judgement;
    };
    return (request) => {
      const { effect, reason } = judged.get(this.#keyOf(request)) ?? judge(request);
      if (effect === "deny") metrics.deniedRequests.add(reason);
      return effect === "allow";
    };
  }

  #decideAnew(request: RequestHead, forward: Verdict, asked: DecidedRequest): Verdict | Promise<Verdict> {
    const { audit } = this.#context;
    const decision = this.#numbered(this.#judge(request));
    asked.decision = decision;
    asked.isDenied = decision.effect === "deny";
    const isShort = pathOf(request.target).length <= decidedPathCharactersMax;
    if (this.#decided.size < decisionsPerConnectionMax && isShort)
      this.#decided.set(this.#keyOf(request), decision);
    const record = this.#recordOf(decision, request, this.#freshness);
    if (decision.effect === "allow") {
      audit.record(record);
      return forward;
    }
    const key = this.#keyOf(request);
    const recording = audit.recordDurably(record).then((isDurable) => {
      this.#recording.delete(decision);
      if (!isDurable && this.#decided.get(key) === decision) this.#decided.delete(key);
      return isDurable;
    });
    this.#recording.set(decision, recording);
    return this.#knownDenial(request, decision);
  }

  /** A denial is on disk before any answer that refers to it leaves (design section 3, step 8). */
  #knownDenial(request: RequestHead, decision: Decision): Verdict | Promise<Verdict> {
    const recording = this.#recording.get(decision);
    if (recording === undefined) return this.#denial(request, decision);
    return recording.then((isDurable) =>
      isDurable ? this.#denial(request, decision) : this.#unrecorded(request),
    );
  }

  #numbered(judgement: Judged): Decision {
    return { ...judgement, decisionId: hexOf(this.#context.randomBytes(decisionIdBytes)) };
  }

  #recordOf(decision: Decision, request: RequestHead, freshness: Freshness): DecisionRecord {
    return {
      type: "decision",
      ...decision,
      caller: this.#peer.svid.spiffeId,
      callee: this.#asked.of(request.host) ?? this.#context.service,
      method: request.method,
      path: decidedPath(request),
      evaluatorVersion,
      freshness,
    };
  }

  #judge(request: RequestHead): Judged {
    const { method, tunnel } = request;
    const freshness = this.#freshness;
    // What goes through a tunnel may do anything, whatever method asked for it.
    const isSafe = safeMethods.has(method) && tunnel === undefined;
    if (freshness === "stale" || (freshness === "degraded" && !isSafe))
      return { effect: "deny", reason: `view-${freshness}`, rule: "" };
    return this.#judgeByRules(request);
  }

  #judgeByRules(request: RequestHead): Judged {
    const { service, view } = this.#context;
    const { service: from } = this.#peer;
    const { state } = view.follower;
    const to = this.#asked.of(request.host);
    // A stale route, or whoever took the caller's for another, gets nothing here; nor does who was granted the name for
    // an instance that did not ask for it: its rules would then hold here in place of the service's own.
    if (to === undefined || !this.#serves(to)) return { effect: "deny", reason: "not-my-prefix", rule: "" };
    const isTcp = request.tunnel === "connect";
    if (isTcp !== isTcpService(state, service))
      return { effect: "deny", reason: isTcp ? "service-speaks-http" : "service-speaks-tcp", rule: "" };
    const rules = rulesOf(state.rules.entries());
    if (isTcp) return decideTcpAccess(rules, { from, to });
    return decideAccess(rules, { from, to, method: request.method, path: decidedPath(request) });
  }

  #denial(request: RequestHead, { reason, rule, decisionId }: Decision): Verdict {
    const { view } = this.#context;
    const service = this.#asked.of(request.host) ?? this.#context.service;
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
        const narrowed =
          request.tunnel === "connect" ? "" : ` with ${request.method} ${pathOf(request.target)}`;
        const missing = `a rule that allows ${from} to call ${service}${narrowed}`;
        return this.#deny(request, { status: 403, reason, detail, missing, decisionId });
      }
      case "service-speaks-tcp": {
        const detail = `${service} is called over TCP, not HTTP; its callers get a port with: troth run --tcp ${service}`;
        return this.#deny(request, { status: 421, reason, detail, missing: "a TCP connection", decisionId });
      }
      case "service-speaks-http": {
        const detail = `${service} is called over HTTP, not TCP`;
        const missing = `a request of HTTP, or the declaration that ${service} speaks TCP`;
        return this.#deny(request, { status: 421, reason, detail, missing, decisionId });
      }
      case "not-my-prefix": {
        return this.#deny(request, { status: 421, reason, ...this.#notServed(request), decisionId });
      }
      case "request-rule-denies": {
        const detail = `the rule "${rule}" denies some requests, and which ones a TCP connection carries cannot be known`;
        const missing = `the end of the rule "${rule}"`;
        return this.#deny(request, { status: 403, reason, detail, rule, missing, decisionId });
      }
      case "only-requests-allowed": {
        const detail = `the rule "${rule}" allows some requests only, and a TCP connection shows none; an operator may run: troth allow ${from} ${service}`;
        const missing = `a rule without methods and paths that allows ${from} to call ${service}`;
        return this.#deny(request, { status: 403, reason, detail, rule, missing, decisionId });
      }
      case "rule-denies":
      case "rule-allows": {
        const detail = `the rule "${rule}" denies it`;
        const missing = `the end of the rule "${rule}"`;
        return this.#deny(request, { status: 403, reason, detail, rule, missing, decisionId });
      }
    }
  }

  /** Whether the instance was started to serve what the log lets its service have. */
  #serves(destination: string): boolean {
    const { service, prefixes } = this.#context;
    return destination === service || prefixes.has(destination);
  }

  #notServed({ host }: RequestHead): Pick<Problem, "detail" | "missing"> {
    const { service } = this.#context;
    const held = this.#asked.of(host);
    if (held === undefined) {
      const detail = `${host} names nothing that ${service} holds`;
      return { detail, missing: `a prefix grant for ${service} that covers this name` };
    }
    const detail = `${service} holds ${held}, and this instance of it was not started to serve that`;
    return { detail, missing: `an instance of ${service} started with: troth run --prefix ${held}` };
  }

  /** A tunnel is decided on as a GET, but not where only a GET is safe; all TCP connections of a peer are alike. */
  #keyOf(request: RequestHead): string {
    const key = `${request.tunnel ?? request.method} ${decidedPath(request)}`;
    const asked = this.#asked.of(request.host);
    return asked === this.#context.service ? key : `${key} ${asked ?? "-"}`;
  }

  #unrecorded(request: RequestHead): Verdict {
    const detail = "the decision could not be recorded";
    const missing = `a disk that the sidecar of ${this.#context.service} can write its audit log to`;
    return this.#deny(request, { status: 503, reason: "audit-unavailable", detail, missing, close: true });
  }

  #deny(request: RequestHead, problem: Problem): Verdict {
    const { metrics } = this.#context;
    metrics.deniedRequests.add(problem.reason);
    metrics.totals.refused += 1;
    // A gateway's client would read the names of services and rules.
    const isForStranger = request.valuesOf(audienceHeader).includes("stranger");
    return problemAnswer(problem, isForStranger ? "stranger" : this.#audience);
  }
}

/** What is decided on besides the two services; of a TCP connection nothing more is known. */
export function decidedPath({ tunnel, target }: RequestHead): string {
  return tunnel === "connect" ? "" : pathOf(target);
}

const tooOld: Judged = { effect: "deny", reason: "view-stale", rule: "" };

function* rulesOf(entries: Iterable<[string, RuleRow]>): Generator<RuleRow> {
  for (const [, rule] of entries) yield rule;
}
