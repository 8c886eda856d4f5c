import type { TLSSocket } from "node:tls";
import { bytesOfHex, hexOf } from "../base/bytes.ts";
import { fail, type Refusal } from "../base/result.ts";
import { evaluatorVersion } from "../policy/index.ts";
import {
  type CheckRequestToken,
  type RequestTokenAudience,
  requestTokenChecker,
  type SkippableStep,
  shownRefusal,
} from "../request-token/index.ts";
import { type RequestTokenPolicy, requestTokenPolicyOf } from "../trust-log/index.ts";
import { AcceptedOnce } from "./accepted-once.ts";
import { AskedDestination } from "./asked-destination.ts";
import type { CheckedPeer } from "./check-peer.ts";
import {
  type ProblemAudience,
  problemAnswer,
  type RequestHead,
  requestTokenName,
  type Verdict,
} from "./forwarding/index.ts";
import { channelBindingOf } from "./instance-tokens.ts";
import { audienceHeader, decidedPath, decidedPathCharactersMax } from "./peer-decider.ts";
import type { ProxyContext } from "./proxy-context.ts";
import { type TokenGateRefusal, tokenAnswerLines, tokenRefusalStatus } from "./token-answer.ts";
import { tokenRequestOf } from "./token-request.ts";

/** Refusals of one connection that have a record of their own; what is refused again alike refers to that. */
const recordedRefusalsMax = 256;
const decisionIdBytes = 12;
const noSteps: ReadonlySet<SkippableStep> = new Set();

/** A refusal that has a record. */
interface RecordedRefusal {
  readonly decisionId: string;
  /** Whether the record is on disk; no answer refers to one that is not. */
  readonly isDurable: Promise<boolean>;
}

/** A request that is not let in, and the answer, which leaves once the refusal is on disk. */
export interface TokenDenial {
  readonly effect: "deny";
  readonly reason: TokenGateRefusal;
  readonly decisionId: string;
  readonly verdict: Promise<Verdict>;
}

type GateContext = Omit<ProxyContext, "gate">;

/** Checks the request tokens of what is asked of this proxy, where the log says that its service wants any. */
export class RequestTokenGate {
  readonly context: GateContext;
  readonly audience: RequestTokenAudience;
  readonly #accepted: AcceptedOnce;
  #size = -1;
  #policy: RequestTokenPolicy | undefined;

  constructor(context: GateContext, dangerSkippedSteps: ReadonlySet<SkippableStep> = noSteps) {
    const { requestTokens, randomBytes, view, clock } = context;
    const { audienceKeys, issuerTime } = requestTokens;
    const issuerMillis = issuerTime.steadyMillis;
    this.context = context;
    this.#accepted = new AcceptedOnce({ randomBytes, issuerMillis, monotonicMillis: clock.monotonicMillis });
    const windowNow = (): RequestTokenAudience["window"] => {
      const { pastSeconds, futureSeconds } = this.policy.window;
      return { pastMillis: pastSeconds * 1000, futureMillis: futureSeconds * 1000 };
    };
    this.audience = {
      audience: audienceKeys.audience,
      keyOf: (keyPeriod) => audienceKeys.keyOf(keyPeriod),
      issuerMillis,
      get window() {
        return windowNow();
      },
      nonces: this.#accepted,
      get dangerSkippedSteps() {
        return view.follower.state.genesis?.isTestDomain === true ? dangerSkippedSteps : noSteps;
      },
    };
  }

  /** What the log says of request tokens for the service of this proxy. */
  get policy(): RequestTokenPolicy {
    const { view, service } = this.context;
    const { state, size } = view.follower;
    if (this.#policy !== undefined && size === this.#size) return this.#policy;
    this.#size = size;
    this.#policy = requestTokenPolicyOf(state, service);
    this.#accepted.use(this.#policy.mode === "off" ? undefined : this.audience.window);
    return this.#policy;
  }

  /** To be called after each step of the log: from when on tokens are asked for is told apart by it. */
  stepped(): void {
    void this.policy;
  }

  /** The gate for one peer's connection. */
  for(socket: TLSSocket, peer: CheckedPeer, audience: ProblemAudience): ConnectionGate {
    return new ConnectionGate(this, { socket, peer, audience });
  }
}

interface GatedPeer {
  readonly socket: TLSSocket;
  readonly peer: CheckedPeer;
  /** What it may be told. */
  readonly audience: ProblemAudience;
}

/** Checks the request tokens of one connection, which are good on no other. */
export class ConnectionGate {
  readonly #gate: RequestTokenGate;
  readonly #gated: GatedPeer;
  readonly #asked: AskedDestination;
  #check: CheckRequestToken | undefined;
  /** What was refused at this size of the log. */
  readonly #recorded = new Map<string, RecordedRefusal>();
  #recordedSize = -1;

  constructor(gate: RequestTokenGate, gated: GatedPeer) {
    this.#gate = gate;
    this.#gated = gated;
    this.#asked = new AskedDestination(gate.context);
  }

  /**
   * Uses up the token of a request; undefined where there is nothing against it. A request without one that the rules
   * deny is theirs to refuse, so that its caller hears of what can be changed.
   */
  check(
    request: RequestHead,
    isAllowed: (request: RequestHead) => boolean,
  ): TokenDenial | undefined | Promise<TokenDenial | undefined> {
    if (this.#gate.policy.mode === "off") return undefined;
    const { audienceKeys } = this.#gate.context.requestTokens;
    if (audienceKeys.isReady) return this.#judge(request, isAllowed);
    // A policy that is new, or a start while the issuer was away.
    return audienceKeys.obtain().then(() => this.#judge(request, isAllowed));
  }

  #judge(request: RequestHead, isAllowed: (request: RequestHead) => boolean): TokenDenial | undefined {
    const { metrics } = this.#gate.context;
    if (this.#recorded.size > 0) this.#forgetOld();
    const refusal = this.#refusalOf(request);
    metrics.requestTokens.inbound.add(refusal?.reason ?? "accepted");
    if (refusal === undefined) return undefined;
    if (refusal.reason === "request-token-missing" && !isAllowed(request)) return undefined;
    return this.#deny(request, refusal);
  }

  #refusalOf(request: RequestHead): Refusal<TokenGateRefusal> | undefined {
    const { context, policy } = this.#gate;
    const { mode } = policy;
    if (mode === "off") return undefined;
    const presented = request.valuesOf(requestTokenName);
    if (presented.length > 0 && !context.requestTokens.audienceKeys.isReady)
      return fail("request-token-keys-missing", "the issuer has given this proxy no keys to check by");
    this.#check ??= this.#open();
    const one = presented.length === 1 ? presented[0] : presented;
    const result = this.#check(
      presented.length === 0 ? undefined : one,
      tokenRequestOf(request, this.#asked.of(request.host) ?? context.service),
      mode,
    );
    return result.ok ? undefined : result;
  }

  #open(): CheckRequestToken {
    const { socket, peer } = this.#gated;
    const { checker } = this.#gate.context;
    return requestTokenChecker(this.#gate.audience, {
      spiffeId: peer.svid.spiffeId,
      source: peer.service,
      channelBinding: channelBindingOf(socket),
      certificateFingerprint: bytesOfHex(peer.svid.sha256) ?? new Uint8Array(0),
      isRevoked: () => !checker.stillHolds(peer),
    });
  }

  #deny(request: RequestHead, { reason, detail }: Refusal<TokenGateRefusal>): TokenDenial {
    const { metrics } = this.#gate.context;
    metrics.deniedRequests.add(reason);
    metrics.totals.refused += 1;
    const key = keyOf(reason, request);
    const { decisionId, isDurable } = this.#recorded.get(key) ?? this.#record(request, reason, key);
    const verdict = isDurable.then((isOnDisk) =>
      isOnDisk ? this.#answer(request, { reason, detail, decisionId }) : this.#unrecorded(request),
    );
    return { effect: "deny", reason, decisionId, verdict };
  }

  #forgetOld(): void {
    const { size } = this.#gate.context.view.follower;
    if (size !== this.#recordedSize) this.#recorded.clear();
  }

  #record(request: RequestHead, reason: TokenGateRefusal, key: string): RecordedRefusal {
    const { audit, randomBytes, view } = this.#gate.context;
    const decisionId = hexOf(randomBytes(decisionIdBytes));
    const written = audit.recordDurably(this.#recordOf(request, reason, decisionId));
    const isDurable = written.then((isOnDisk) => {
      if (!isOnDisk && this.#recorded.get(key) === refusal) this.#recorded.delete(key);
      return isOnDisk;
    });
    const refusal = { decisionId, isDurable };
    if (decidedPath(request).length > decidedPathCharactersMax) return refusal;
    for (const oldest of this.#recorded
      .keys()
      .take(Math.max(0, this.#recorded.size - recordedRefusalsMax + 1)))
      this.#recorded.delete(oldest);
    this.#recorded.set(key, refusal);
    this.#recordedSize = view.follower.size;
    return refusal;
  }

  #recordOf(
    request: RequestHead,
    reason: TokenGateRefusal,
    decisionId: string,
  ): Parameters<ProxyContext["audit"]["recordDurably"]>[0] {
    const { service, checker } = this.#gate.context;
    return {
      type: "decision",
      effect: "deny",
      reason,
      decisionId,
      rule: "",
      caller: this.#gated.peer.svid.spiffeId,
      callee: service,
      method: request.method,
      path: decidedPath(request),
      evaluatorVersion,
      freshness: checker.freshness("openConnection"),
    };
  }

  /** Neither the certificate nor the tag is named as what did not fit, and a stranger learns nothing at all. */
  #answer(
    request: RequestHead,
    refused: { readonly reason: TokenGateRefusal; readonly detail: string; readonly decisionId: string },
  ): Verdict {
    const { decisionId } = refused;
    const { audience, issuerMillis } = this.#gate.audience;
    const isKeysMissing = refused.reason === "request-token-keys-missing";
    const reason =
      refused.reason === "request-token-keys-missing" ? refused.reason : shownRefusal(refused.reason);
    const detail = reason === "request-token-invalid" ? "" : refused.detail;
    const isOfTime = timeReasons.has(reason);
    const told = { reason, audience, issuerMillis: isOfTime ? issuerMillis() : undefined };
    const isMember = this.#gated.audience === "member";
    return problemAnswer(
      {
        status: tokenRefusalStatus(reason),
        reason,
        detail,
        decisionId,
        missing: isKeysMissing ? "the control plane, by way of the node agent" : missing,
        ...(isMember ? { proxyLines: tokenAnswerLines(told) } : {}),
      },
      this.#audienceOf(request),
    );
  }

  #unrecorded(request: RequestHead): Verdict {
    const { service } = this.#gate.context;
    const problem = {
      status: 503,
      reason: "audit-unavailable",
      detail: "the decision could not be recorded",
      missing: `a disk that the proxy of ${service} can write its audit log to`,
      close: true,
    };
    return problemAnswer(problem, this.#audienceOf(request));
  }

  #audienceOf(request: RequestHead): ProblemAudience {
    return request.valuesOf(audienceHeader).includes("stranger") ? "stranger" : this.#gated.audience;
  }
}

const missing = "a request token for this very request, which the caller's Troth proxy mints";
const timeReasons: ReadonlySet<TokenGateRefusal> = new Set<TokenGateRefusal>([
  "request-token-key-unknown",
  "request-token-expired",
  "request-token-future",
]);

function keyOf(reason: TokenGateRefusal, request: RequestHead): string {
  return `${reason} ${request.tunnel ?? request.method} ${decidedPath(request)}`;
}
