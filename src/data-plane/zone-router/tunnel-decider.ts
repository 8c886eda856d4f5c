import type { AuditRecord } from "../../audit/index.ts";
import { hexOf } from "../../base/bytes.ts";
import { fail, ok, type Result } from "../../base/result.ts";
import { decideAnyAccess, evaluatorVersion } from "../../policy/index.ts";
import type { RuleRow, TrustState } from "../../trust-log/index.ts";
import type { CheckedPeer } from "../check-peer.ts";
import {
  problemAnswer,
  type RequestHead,
  type Review,
  type Upstream,
  type Verdict,
} from "../forwarding/index.ts";
import { noEdits } from "../http1/index.ts";
import type { ServedAs } from "../open-inbound.ts";
import type { ProxyContext } from "../proxy-context.ts";
import { pathOf } from "../request-trace.ts";
import { type Located, zoneOf } from "../routing/index.ts";
import type { Destinations } from "./destinations.ts";

const decisionIdBytes = 12;

/** Why a router carries nothing for a caller. */
export type TunnelRefusal =
  | "not-a-tunnel"
  | "not-an-endpoint"
  | "other-zone"
  | "no-rule"
  | "rule-denies"
  | "view-stale"
  | "other-instance"
  | "upstream-connect-failed"
  | "audit-unavailable";

/** What a router goes by. */
export interface TunnelRules {
  readonly context: ProxyContext;
  /** Whom the mesh lists at an address. */
  readonly at: (address: string) => readonly Located[];
  /** The router's own zone. */
  readonly zone: () => string;
  readonly destinations: Destinations;
  /** What carries a calling instance's tunnel to an address. */
  readonly carry: (address: string, instance: string) => Upstream;
}

/** What was decided on a tunnel; `callee` is a service, or the router's own where the address is nobody's. */
interface Decided {
  readonly callee: string;
  readonly rule: string;
  readonly outcome: Result<Located, TunnelRefusal>;
}

/**
 * Decides which tunnels a peer may open through a router: to instances in its zone and nowhere else, of services that
 * some rule lets the peer call. What it may ask there is for the callee's own proxy to say, which alone can read it.
 */
export class TunnelDecider {
  readonly #rules: TunnelRules;
  readonly #peer: CheckedPeer;
  readonly #as: ServedAs;
  /** Where the tunnels go that are open. */
  readonly #open = new WeakMap<RequestHead, Located>();

  constructor(rules: TunnelRules, peer: CheckedPeer, as: ServedAs) {
    this.#rules = rules;
    this.#peer = peer;
    this.#as = as;
  }

  /** Answers with the way to the instance, or with a refusal that is durable in the audit log. */
  async decide(request: RequestHead): Promise<Verdict> {
    const { context, carry } = this.#rules;
    const decided = await this.#judge(request);
    const { outcome } = decided;
    const decisionId = hexOf(context.randomBytes(decisionIdBytes));
    const record = this.#recordOf(decided, { request, decisionId });
    if (outcome.ok) {
      context.audit.record(record);
      this.#open.set(request, outcome.value);
      const upstream = carry(outcome.value.endpoint.address, this.#peer.instance);
      return { kind: "forward", upstream, edits: noEdits };
    }
    const isDurable = await context.audit.recordDurably(record);
    const { reason, detail } = isDurable
      ? outcome
      : fail<TunnelRefusal>("audit-unavailable", "the decision could not be recorded");
    context.metrics.deniedRequests.add(reason);
    context.metrics.totals.refused += 1;
    return problemAnswer({ status: statusOf(reason), reason, detail, decisionId }, this.#as.audience);
  }

  /** Judges open tunnels by what is so now; one record says of all to a service that they are cut. */
  review(): Review {
    const { context } = this.#rules;
    const cut = new Set<string>();
    return (request) => {
      const located = this.#open.get(request);
      const decided = located === undefined ? undefined : this.#judgeLocated(located);
      if (decided === undefined || decided.outcome.ok) return true;
      const { reason } = decided.outcome;
      context.metrics.deniedRequests.add(reason);
      if (!cut.has(decided.callee)) {
        cut.add(decided.callee);
        const decisionId = hexOf(context.randomBytes(decisionIdBytes));
        void context.audit.recordDurably(this.#recordOf(decided, { request, decisionId }));
      }
      return false;
    };
  }

  async #judge(request: RequestHead): Promise<Decided> {
    const { context, at, destinations } = this.#rules;
    const refuse = (reason: TunnelRefusal, detail: string): Decided => ({
      callee: context.service,
      rule: "",
      outcome: fail(reason, detail),
    });
    if (request.tunnel !== "connect")
      return refuse("not-a-tunnel", `${context.service} is a router: it carries connections into its zone`);
    const found = at(request.target).filter(({ isRouter }) => !isRouter);
    const decided = found.map((located) => this.#judgeLocated(located));
    let refused = decided[0];
    // Instances on several machines may have the same address of loopback; one at most is there for this router.
    for (const one of decided) {
      if (!one.outcome.ok) continue;
      const { endpoint } = one.outcome.value;
      const there = await destinations.find(endpoint);
      if (there.ok) return one;
      const reason = there.reason === "other-instance" ? there.reason : "upstream-connect-failed";
      const detail = `${endpoint.service} at ${endpoint.address}: ${there.detail}`;
      refused = { ...one, outcome: fail(reason, detail) };
    }
    return refused ?? refuse("not-an-endpoint", `no instance of a service is listed at ${request.target}`);
  }

  #judgeLocated(located: Located): Decided {
    const { context, zone } = this.#rules;
    const { checker, view } = context;
    const { state } = view.follower;
    const { instance, service: to } = located.endpoint;
    const { service: from } = this.#peer;
    const refuse = (reason: TunnelRefusal, detail: string, rule = ""): Decided => ({
      callee: to,
      rule,
      outcome: fail(reason, detail),
    });
    if (checker.freshness("openConnection") === "stale")
      return refuse("view-stale", `no news from the trust log for ${Math.floor(view.stalenessSeconds)} s`);
    if (state.instances.get(instance)?.service !== to)
      return refuse("not-an-endpoint", `the trust log has no instance ${instance} of ${to}`);
    // As the log is now: the tunnel may have been opened long ago.
    const where = zoneOf(state, instance);
    if (where === "" || where !== zone())
      return refuse("other-zone", `${to} at ${located.endpoint.address} is not in the zone of this router`);
    const rules = [...state.rules.entries()].map(([, rule]) => rule);
    const { effect, reason, rule } = decideByNames(rules, from, namesOf(state, to));
    if (effect === "allow") return { callee: to, rule, outcome: ok(located) };
    return reason === "no-rule"
      ? refuse(
          "no-rule",
          `no rule allows ${from} to call ${to}; an operator may run: troth allow ${from} ${to}`,
        )
      : refuse("rule-denies", `the rule "${rule}" denies it`, rule);
  }

  #recordOf(
    { callee, rule, outcome }: Decided,
    { request, decisionId }: { readonly request: RequestHead; readonly decisionId: string },
  ): Extract<AuditRecord, { type: "decision" }> {
    return {
      type: "decision",
      decisionId,
      effect: outcome.ok ? "allow" : "deny",
      reason: outcome.ok ? "rule-allows" : outcome.reason,
      rule,
      caller: this.#peer.svid.spiffeId,
      callee,
      method: request.tunnel === "connect" ? "CONNECT" : request.method,
      path: pathOf(request.target),
      evaluatorVersion,
      freshness: this.#rules.context.checker.freshness("openConnection"),
    };
  }
}

/** What an instance of a service may be called as: which of them a tunnel's requests name, only its own proxy can read. */
function* namesOf({ prefixes }: TrustState, service: string): Generator<string> {
  yield service;
  for (const [prefix, { holder }] of prefixes.entries()) if (holder === service) yield prefix;
}

/** The first decision that allows, or else what was decided of the service's own name. */
function decideByNames(
  rules: readonly RuleRow[],
  from: string,
  names: Iterable<string>,
): ReturnType<typeof decideAnyAccess> {
  let first: ReturnType<typeof decideAnyAccess> | undefined;
  for (const to of names) {
    const decision = decideAnyAccess(rules, { from, to });
    if (decision.effect === "allow") return decision;
    first ??= decision;
  }
  return first ?? { effect: "deny", reason: "no-rule", rule: "" };
}

function statusOf(reason: TunnelRefusal): number {
  switch (reason) {
    case "not-a-tunnel":
      return 421;
    case "not-an-endpoint":
    case "other-zone":
    case "no-rule":
    case "rule-denies":
    case "other-instance":
      return 403;
    case "upstream-connect-failed":
      return 502;
    case "view-stale":
    case "audit-unavailable":
      return 503;
  }
}
