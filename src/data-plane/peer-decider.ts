import { hexOf } from "../base/bytes.ts";
import { type AccessDecision, decideAccess, evaluatorVersion } from "../policy/index.ts";
import type { Freshness, RuleRow } from "../trust-log/index.ts";
import type { CheckedPeer } from "./check-peer.ts";
import {
  type Problem,
  type ProblemAudience,
  problemAnswer,
  type RequestHead,
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

/** A decision on a request: by the rules, or against it because they may be out of date. */
export interface Decision extends Omit<AccessDecision, "reason"> {
  readonly reason: AccessDecision["reason"] | "view-stale" | "view-degraded";
  /** Of the record in the audit log. */
  readonly decisionId: string;
}

/** A request while it is decided on, and what came of that. */
export interface DecidedRequest {
  decision: Decision | undefined;
  /** Whether it did not get through. */
  isDenied: boolean;
}

/** Decides the requests of one connection. What was decided at the same tree size and freshness is not decided again. */
export class PeerDecider {
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

  /** What a span says of a decision made here. */
  attributesOf(decision: Decision | undefined): Readonly<Record<`troth.${string}`, string | number>> {
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
    const path = pathOf(request.target);
    const known = this.#decided.get(`${request.method} ${path}`);
    asked.decision = known;
    asked.isDenied = known?.effect === "deny";
    if (known?.effect === "allow") return forward;
    return known === undefined ? this.#decideAnew(request, forward, asked) : this.#denial(request, known);
  }

  #decideAnew(request: RequestHead, forward: Verdict, asked: DecidedRequest): Verdict | Promise<Verdict> {
    const { service, audit } = this.#context;
    const { method } = request;
    const path = pathOf(request.target);
    const decisionId = hexOf(this.#context.randomBytes(decisionIdBytes));
    const decision = { ...this.#judge(method, path), decisionId };
    asked.decision = decision;
    asked.isDenied = decision.effect === "deny";
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
    metrics.deniedRequests.add(problem.reason);
    metrics.totals.refused += 1;
    // A gateway's client would read the names of services and rules.
    const isForStranger = request.valuesOf(audienceHeader).includes("stranger");
    return problemAnswer(problem, isForStranger ? "stranger" : this.#audience);
  }
}

function* rulesOf(entries: Iterable<[string, RuleRow]>): Generator<RuleRow> {
  for (const [, rule] of entries) yield rule;
}
