import {
  type ForwardedRequest,
  type Forwarding,
  type ForwardingClient,
  type ForwardingFailure,
  type ForwardingProgress,
  isEventStream,
  isGrpcRequest,
  type MessageEnd,
  type RequestHead,
  type ResponseHead,
  saysExhausted,
  type Upstream,
} from "../forwarding/index.ts";
import { Attempt, type AttemptOwner } from "./attempt.ts";
import { editsOfAttempt } from "./attempt-edits.ts";
import { grpcTimeoutMillis } from "./grpc-timeout.ts";
import { KeptBody } from "./kept-body.ts";
import { conditionOfFailure, conditionOfResponse } from "./retry-conditions.ts";
import type { FaultPolicy, RetryCondition, RetryPolicy } from "./route-policy.ts";
import type { RetryOutcome, TrafficCounts } from "./traffic-counts.ts";
import type { Wait, Waits } from "./waits.ts";

/** The pause before the first retry; each further one may be twice as long, up to the longest. */
export const backoffMillis = 25;
/** The longest pause before a retry. */
export const backoffMillisMax = 250;

/** What a policy does to this very request. */
export interface RequestPolicy {
  /** `Infinity` where there is none. */
  readonly timeoutMillis: number;
  readonly retries: RetryPolicy | undefined;
  readonly fault: FaultPolicy | undefined;
  /** Takes a copy of the request once its body is complete. */
  readonly mirror: ((copy: Omit<ForwardedRequest, "client">) => void) | undefined;
}

/** What requests of one service share. */
export interface PolicyService {
  readonly upstream: Upstream;
  readonly waits: Waits;
  readonly counts: TrafficCounts;
  /** Draws from 0 to below 1. */
  readonly random: () => number;
  /** Takes one retry out of the service's budget. */
  readonly takeRetry: () => boolean;
  /** Hears that the attempts at a request are used up. */
  readonly onExhausted: (request: RequestHead) => void;
  readonly onFault: (fault: unknown) => void;
}

/** `resting` is before the first attempt or between two. */
type Phase = "resting" | "attempting" | "answering" | "over";

/**
 * A request that a traffic policy is about: it may be held up, answered in place of the upstream, copied, repeated and
 * ended when its time is over. It stands between the client and one attempt after the other, each of which is a
 * request of its own for the upstream.
 */
export class PolicyExchange implements Forwarding, Wait, AttemptOwner {
  untilMillis = Number.POSITIVE_INFINITY;
  readonly client: ForwardingClient;
  readonly #parts: ForwardedRequest;
  readonly #policy: RequestPolicy;
  readonly #service: PolicyService;
  /** Where it may be repeated or copied. */
  readonly #body: KeptBody | undefined;
  #phase: Phase = "resting";
  #deadlineMillis = Number.POSITIVE_INFINITY;
  #attempt: Attempt | undefined;
  #exchange: Forwarding | undefined;
  #attempts = 0;
  /** Whether the caller itself has said how long it waits. */
  #isTimedCall = false;
  /** What the attempts have in common, where there may be several. */
  readonly #shared: ForwardedRequest["attempts"];
  #isComplete: boolean;
  #hasSent = false;
  #hasHinted = false;
  #wasToldToGoOn = false;
  #mirror: RequestPolicy["mirror"];

  constructor(parts: ForwardedRequest, policy: RequestPolicy, service: PolicyService) {
    this.client = parts.client;
    this.#parts = parts;
    this.#policy = policy;
    this.#service = service;
    this.#mirror = policy.mirror;
    this.#isComplete = parts.end !== undefined;
    const { retries } = policy;
    this.#shared = retries && { tried: [], coverResets: retries.on.has("reset") };
    const isKept = retries !== undefined || policy.mirror !== undefined;
    this.#body = isKept ? new KeptBody(parts.firstBody, parts.end) : undefined;
  }

  get status(): number {
    return this.#exchange?.status ?? 0;
  }

  get responseBytes(): number {
    return this.#exchange?.responseBytes ?? 0;
  }

  start(): void {
    const { waits, counts } = this.#service;
    const { fault, retries } = this.#policy;
    const { request } = this.#parts;
    const asked = isGrpcRequest(request) ? grpcTimeoutMillis(request) : Number.POSITIVE_INFINITY;
    const now = waits.nowMillis;
    this.#deadlineMillis = now + Math.min(this.#policy.timeoutMillis, asked);
    this.#isTimedCall = asked < Number.POSITIVE_INFINITY;
    const attemptMillis = retries?.attemptMillis ?? Number.POSITIVE_INFINITY;
    if (Math.min(this.#deadlineMillis, attemptMillis) < Number.POSITIVE_INFINITY) waits.add(this);
    const delay = fault?.delayMillis;
    if (delay === undefined) return this.#proceed();
    counts.faults.add("delay");
    this.#rest(now + delay);
  }

  onBody(body: Buffer, end: MessageEnd | undefined): void {
    this.#isComplete = end !== undefined;
    this.#body?.add(body, end);
    this.#copy();
    this.#exchange?.onBody(body, end);
  }

  clientDrained(): void {
    this.#exchange?.clientDrained();
  }

  fail(failure: ForwardingFailure, detail: string): void {
    if (this.#phase === "attempting" || this.#phase === "answering") this.#exchange?.fail(failure, detail);
    else this.#giveUp(failure, detail);
  }

  abort(): void {
    this.#leave();
    this.#exchange?.abort();
  }

  onDeadline(): void {
    if (this.#phase === "attempting" || this.#phase === "answering") this.#exchange?.onDeadline();
  }

  onWaited(): void {
    const isOver = this.#service.waits.nowMillis >= this.#deadlineMillis;
    if (isOver && this.#phase !== "over") return this.#timeOut("request", this.#policy.timeoutMillis);
    if (this.#phase === "resting") this.#proceed();
    else if (this.#phase === "attempting") this.#endAttempt();
  }

  isCurrent(attempt: Attempt): boolean {
    return attempt === this.#attempt;
  }

  takesInterim({ status }: ResponseHead): boolean {
    if (status !== 100) {
      this.#hasHinted = true;
      return true;
    }
    const isFirst = !this.#wasToldToGoOn;
    this.#wasToldToGoOn = true;
    return isFirst;
  }

  takesHead(head: ResponseHead): boolean {
    const condition = conditionOfResponse(head);
    if (condition !== undefined && this.#mayRepeat(condition, head)) {
      this.#backOff();
      return false;
    }
    if (condition === undefined && this.#attempts > 1) this.#service.counts.retries.add("succeeded");
    this.#phase = "answering";
    if (this.#mirror === undefined) this.#body?.drop();
    const isStream = isGrpcRequest(this.#parts.request) || isEventStream(head);
    this.untilMillis = isStream ? Number.POSITIVE_INFINITY : this.#deadlineMillis;
    return true;
  }

  onAttemptResponded(): void {
    this.#leave();
    this.client.onResponded();
  }

  onAttemptFailed(failure: ForwardingFailure, detail: string, progress: ForwardingProgress): void {
    this.#hasSent ||= progress !== "unsent";
    const condition = conditionOfFailure(failure);
    if (condition !== undefined && this.#mayRepeat(condition, undefined)) return this.#backOff();
    this.#giveUp(failure, detail);
  }

  /** Goes on after a delay or a pause. */
  #proceed(): void {
    const { fault } = this.#policy;
    if (fault?.status !== undefined) {
      this.#service.counts.faults.add("status");
      this.#leave();
      const detail = `a traffic policy answers ${fault.percent} % of these requests so`;
      return this.client.onFailed("fault-injected", detail, "unsent", fault.status);
    }
    this.#copy();
    this.#begin();
  }

  #begin(): void {
    const { request, limits, firstBody, end } = this.#parts;
    const isFirst = this.#attempts === 0;
    const { waits, upstream, onFault } = this.#service;
    const now = waits.nowMillis;
    this.#attempts += 1;
    this.#phase = "attempting";
    this.untilMillis = Math.min(
      this.#deadlineMillis,
      now + (this.#policy.retries?.attemptMillis ?? Number.POSITIVE_INFINITY),
    );
    const attempt = new Attempt(this);
    this.#attempt = attempt;
    const leftMillis = this.#isTimedCall ? this.#deadlineMillis - now : undefined;
    const edits = editsOfAttempt(this.#parts.edits, this.#attempts, leftMillis);
    const body = isFirst ? { firstBody, end } : this.#keptBody();
    const shared = this.#shared === undefined ? {} : { attempts: this.#shared };
    try {
      this.#exchange = upstream.begin({ client: attempt, request, edits, limits, ...body, ...shared });
    } catch (fault) {
      onFault(fault);
      return this.#giveUp("decision-failed", "");
    }
    this.#exchange.start();
  }

  #keptBody(): Pick<ForwardedRequest, "firstBody" | "end"> {
    return { firstBody: this.#body?.joined() ?? nothing, end: this.#body?.end };
  }

  /** Sends the copy, once: when the whole body is there. */
  #copy(): void {
    const mirror = this.#mirror;
    if (mirror === undefined || this.#body === undefined) return;
    if (!this.#body.isWhole) this.#service.counts.mirrored.add("too-large");
    else if (!this.#isComplete) return;
    else {
      const { request, limits, edits } = this.#parts;
      mirror({ request, limits, edits, ...this.#keptBody() });
    }
    this.#mirror = undefined;
  }

  /** Whether there is another attempt after one that came to this; takes it out of the budget. */
  #mayRepeat(condition: RetryCondition, head: ResponseHead | undefined): boolean {
    const { retries } = this.#policy;
    if (retries === undefined || !retries.on.has(condition) || this.#phase !== "attempting") return false;
    if (this.#hasHinted) return false;
    const outcome = this.#outcomeOf(retries, head);
    this.#service.counts.retries.add(outcome);
    if (outcome !== "tried") this.#service.onExhausted(this.#parts.request);
    return outcome === "tried";
  }

  #outcomeOf(retries: RetryPolicy, head: ResponseHead | undefined): RetryOutcome {
    if (head !== undefined && saysExhausted(head)) return "exhausted-further-on";
    if (this.#attempts > retries.retriesMax) return "used-up";
    if (this.#body?.isWhole !== true) return "body-too-large";
    return this.#service.takeRetry() ? "tried" : "budget-exhausted";
  }

  /** Gives the attempt up, and makes another after a pause whose length is drawn, so that clients do not march in step. */
  #backOff(isLate = false): void {
    this.#drop(isLate);
    this.#exchange = undefined;
    if (!this.#isComplete) this.client.pauseBody();
    const { random, waits } = this.#service;
    const longest = Math.min(backoffMillis * 2 ** (this.#attempts - 1), backoffMillisMax);
    this.#rest(waits.nowMillis + longest * (0.5 + random() / 2));
  }

  #rest(untilMillis: number): void {
    this.#phase = "resting";
    this.#service.waits.add(this);
    this.untilMillis = Math.min(untilMillis, this.#deadlineMillis);
  }

  /** One attempt has been without a response for as long as it may. */
  #endAttempt(): void {
    const { retries } = this.#policy;
    if (retries === undefined) return;
    this.#hasSent = true;
    if (this.#mayRepeat("timeout", undefined)) {
      this.#service.counts.timeouts.add("attempt");
      return this.#backOff(true);
    }
    this.#timeOut("attempt", retries.attemptMillis);
  }

  #timeOut(what: "request" | "attempt", millis: number): void {
    this.#service.counts.timeouts.add(what);
    const whole = what === "request" ? "no whole response" : "no response to the last attempt";
    const detail = Number.isFinite(millis) ? `${whole} within ${millis} ms` : "the caller's time is over";
    this.#giveUp("request-timeout", detail);
  }

  #giveUp(failure: ForwardingFailure, detail: string): void {
    const isAnswering = this.#phase === "answering";
    const isLate = this.#phase === "attempting" && failure === "request-timeout";
    this.#hasSent ||= isLate;
    this.#drop(isLate);
    this.#leave();
    this.client.onFailed(failure, detail, isAnswering ? "answering" : this.#hasSent ? "sent" : "unsent");
  }

  /** What comes of the attempt from now on reaches nobody; that its instance was late counts against it. */
  #drop(isLate: boolean): void {
    this.#attempt = undefined;
    if (isLate) this.#exchange?.fail("upstream-timeout", "");
    else this.#exchange?.abort();
  }

  #leave(): void {
    this.#phase = "over";
    this.#attempt = undefined;
    this.#body?.drop();
    this.untilMillis = Number.POSITIVE_INFINITY;
    this.#service.waits.remove(this);
  }
}

const nothing = Buffer.alloc(0);
