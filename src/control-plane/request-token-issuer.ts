import type { KeyObject } from "node:crypto";
import type { MessageInitShape } from "@bufbuild/protobuf";
import type { Clock, RandomBytes } from "../base/clock.ts";
import { fail, ok, type Result } from "../base/result.ts";
import { decideAnyAccess } from "../policy/index.ts";
import type { RequestTokenAnswerSchema, RequestTokenQuestion } from "../protocol/index.ts";
import {
  deriveClientKey,
  keyPeriodAt,
  keyPeriodMillis,
  mintForDigest,
  type NonceSource,
  nonceSource,
  type RequestTokenMode,
} from "../request-token/index.ts";
import {
  type IssuerRefusal,
  type PresentedQuestion,
  type UnsealedRefusal,
  unsealedRefusals,
} from "../transport/index.ts";
import { holdsPrefix, isQuarantined, isRouterService, requestTokenPolicyOf } from "../trust-log/index.ts";
import type { ControlPlaneMetrics } from "./control-plane-metrics.ts";
import { DerivedAudienceKeys } from "./derived-audience-keys.ts";
import { FairTurns } from "./fair-turns.ts";
import { tokenEpochAgeSecondsMax } from "./issue-instance-token.ts";
import { keyFault } from "./log-keys.ts";
import type { LogWriter } from "./log-writer.ts";
import { openRateLimit, type RateLimit } from "./rate-limit.ts";
import type { RequestTokenRoots } from "./request-token-roots.ts";
import type { RollbackGuard } from "./rollback-guard.ts";

/** Questions of one instance: grants for all that it calls, and one a request where the service wants it so. */
const questionsPerInstance = { perSecond: 1_000, burst: 4_000, callersMax: 10_000 };
/** Questions of all instances of a node. */
const questionsPerNode = { perSecond: 2_000, burst: 10_000, callersMax: 10_000 };
/** Keys, one for each key period of an answer: at once, a day's for 680 processes that are called. */
const keysPerInstance = { perSecond: 5_000, burst: 100_000, callersMax: 10_000 };
const keysPerNode = { perSecond: 10_000, burst: 500_000, callersMax: 10_000 };
/** Questions that are not signed by the key of the instance's certificate; beyond it none of the instance's is looked at. */
const wrongProofsPerInstance = { perSecond: 10, burst: 100, callersMax: 10_000 };
/** Questions of a node that wait for their turn. */
export const waitingQuestionsMax = 2_048;
/** A question is of the newest epoch in the asker's view; what is older was kept by somebody on the way. */
export const questionEpochsMax = 6;
/** However long a staleness table lets a service go on, no keys are given for longer: a day, and the period after. */
export const keyPeriodsAheadMax = 145;

const audiencePattern = /^(?<instance>[0-9a-f-]{36})\/(?<bootId>[0-9a-f]{16})$/;
const bootIdPattern = /^[0-9a-f]{16}$/;
const bindingBytes = 32;

/** What issuing request tokens takes. */
export interface RequestTokenIssuerOptions {
  readonly writer: Pick<LogWriter, "state" | "isBroken">;
  readonly guard: Pick<RollbackGuard, "isTrusted">;
  readonly roots: RequestTokenRoots;
  /** The key by which the control plane acts as the issuer, as the log names it; undefined where it is not here. */
  readonly issuerKey: () => KeyObject | undefined;
  readonly clock: Clock;
  readonly randomBytes: RandomBytes;
  /** Told what came of each question. */
  readonly answered: ControlPlaneMetrics["questionAnswered"];
}

type Outcome = NonNullable<MessageInitShape<typeof RequestTokenAnswerSchema>["outcome"]>;
type Judged = Result<Extract<Outcome, { case: "keys" | "token" }>, IssuerRefusal>;
type Sealed = ReturnType<PresentedQuestion["answer"]>;

/** Who asks, as the log has it by the certificate that came with a question. */
interface NamedAsker {
  readonly instance: string;
  readonly service: string;
  readonly spiffeId: string;
  readonly notAfterSeconds: number;
}

/** Who asks, as it has proved. */
interface Asker extends NamedAsker {
  readonly node: string;
  readonly fingerprint: Uint8Array;
}

/** Whom a token is to be shown to, and for what; both hold by the log. */
interface Purpose {
  readonly audience: string;
  readonly destination: string;
  readonly lastPeriod: number;
}

/**
 * The issuer of request tokens: gives a proxy its own keys to check them by, and a caller keys, or single tokens, for as
 * long as the log says that it is who it is and may call what it asks for.
 */
export class RequestTokenIssuer {
  readonly #options: RequestTokenIssuerOptions;
  readonly #limits: Readonly<
    Record<"questions" | "ofNode" | "keys" | "keysOfNode" | "wrongProofs", RateLimit>
  >;
  readonly #turns = new FairTurns(waitingQuestionsMax);
  readonly #audienceKeys = new DerivedAudienceKeys();
  readonly #nonces: NonceSource;

  constructor(options: RequestTokenIssuerOptions) {
    this.#options = options;
    const { clock } = options;
    this.#limits = {
      questions: openRateLimit(clock, questionsPerInstance),
      ofNode: openRateLimit(clock, questionsPerNode),
      keys: openRateLimit(clock, keysPerInstance),
      keysOfNode: openRateLimit(clock, keysPerNode),
      wrongProofs: openRateLimit(clock, wrongProofsPerInstance),
    };
    this.#nonces = nonceSource(options.randomBytes);
  }

  /**
   * Answers a question that a node's agent has handed on, so that only the asker can read it; a no is an answer too. Who
   * has not proved to be the asker, or asks too much, gets a refusal that is not sealed and that nobody has signed. Throws
   * `ERR_CONTROL_PLANE_KEY` where there is no key to sign by.
   */
  async answer(node: string, question: PresentedQuestion): Promise<Result<Sealed, UnsealedRefusal>> {
    const { clock, issuerKey, answered } = this.#options;
    const key = issuerKey();
    if (key === undefined) throw keyFault("issuer", "is missing");
    const judged = await this.#judge(node, question);
    answered(judged.ok ? judged.value.case : judged.reason);
    if (!judged.ok && isUnsealed(judged.reason)) return fail(judged.reason, judged.detail);
    const outcome: Outcome = judged.ok
      ? judged.value
      : { case: "refusal", value: { reason: judged.reason, detail: judged.detail } };
    const issuerMillis = BigInt(Math.floor(clock.nowSeconds() * 1000));
    return ok(question.answer({ issuerMillis, outcome }, key));
  }

  async #judge(node: string, question: PresentedQuestion): Promise<Judged> {
    const { roots, clock } = this.#options;
    const named = this.#judgeCertificate(node, question);
    if (!named.ok) return named;
    const room = this.#takeRoom(node, named.value.instance);
    if (!room.ok) return room;
    if (!(await this.#turns.take(node)))
      return fail("too-many-questions", `${waitingQuestionsMax} of ${node} wait`);
    const nowPeriod = keyPeriodAt(clock.nowSeconds() * 1000);
    // One more than any answer has, since a period may end meanwhile.
    const rootOf = await roots.rootsFor(nowPeriod - 1, nowPeriod + keyPeriodsAheadMax + 1);
    // Nothing is waited for between this and the answer.
    const asker = this.#judgeAsker(node, question);
    if (!asker.ok) return asker;
    const { wanted } = question.question;
    const audienceKey = (audience: string, keyPeriod: number): KeyObject =>
      this.#audienceKeys.of(rootOf(keyPeriod), keyPeriod, audience);
    switch (wanted.case) {
      case "audienceKeys":
        return this.#keysOfAudience(asker.value, wanted.value.bootId, audienceKey);
      case "grant":
        return this.#grant(asker.value, wanted.value, audienceKey);
      case "token":
        return this.#token(asker.value, wanted.value, audienceKey);
      case undefined:
        return fail("malformed-question", "nothing is wanted that this version knows");
    }
  }

  /** Whether it can be told what was revoked. */
  #judgeLog(): Result<true, IssuerRefusal> {
    const { writer, guard, clock } = this.#options;
    const ageSeconds = Math.abs(clock.nowSeconds() - (writer.state.genesis?.epochTimeSeconds ?? 0));
    return guard.isTrusted && !writer.isBroken && ageSeconds <= tokenEpochAgeSecondsMax
      ? ok(true)
      : fail("log-not-current", "the control plane cannot tell what was revoked: see its alarms");
  }

  /** Whose certificate it is that came with a question, as far as that costs next to nothing to tell. */
  #judgeCertificate(node: string, { certificateId }: PresentedQuestion): Result<NamedAsker, IssuerRefusal> {
    const { writer, clock } = this.#options;
    const current = this.#judgeLog();
    if (!current.ok) return current;
    const { certificates, instances } = writer.state;
    const certificate = certificates.get(certificateId);
    const row = certificate === undefined ? undefined : instances.get(certificate.instance);
    if (certificate === undefined || row === undefined)
      return fail("unknown-certificate", "the trust log does not name it, or not any more");
    const { instance, spiffeId, notAfterSeconds } = certificate;
    if (notAfterSeconds <= clock.nowSeconds()) return fail("unknown-certificate", "it has ended");
    if (row.node !== node) return fail("not-on-this-node", `${instance} is registered on another node`);
    return ok({ instance, service: row.service, spiffeId, notAfterSeconds });
  }

  /** Whether an instance may ask now; what is beyond its own share takes nothing of its node's. */
  #takeRoom(node: string, instance: string): Result<true, IssuerRefusal> {
    const { questions, ofNode, wrongProofs } = this.#limits;
    if (!wrongProofs.take(instance, 0))
      return fail("too-many-questions", `too many that ${instance} has not signed`);
    if (!questions.take(instance))
      return fail("too-many-questions", `${questionsPerInstance.perSecond} a second of ${instance}`);
    return ofNode.take(node)
      ? ok(true)
      : fail("too-many-questions", `${questionsPerNode.perSecond} a second of ${node}`);
  }

  #judgeAsker(node: string, presented: PresentedQuestion): Result<Asker, IssuerRefusal> {
    const { state } = this.#options.writer;
    const named = this.#judgeCertificate(node, presented);
    if (!named.ok) return named;
    const { instance } = named.value;
    if (!presented.isSigned()) {
      this.#limits.wrongProofs.take(instance);
      return fail("bad-proof", `the key of ${instance}'s certificate has not signed the question`);
    }
    if (isQuarantined(state, instance))
      return fail("quarantined", `${instance} calls nobody until a newer decision ends that`);
    const { epoch } = presented.question;
    const behind = (state.genesis?.epochNumber ?? 0) - Number(epoch);
    if (behind < 0 || behind > questionEpochsMax)
      return fail("stale-question", `of epoch ${epoch}, ${behind} before the present one`);
    return ok({ ...named.value, node, fingerprint: presented.fingerprint });
  }

  #keysOfAudience(
    asker: Asker,
    bootId: string,
    keyOf: (audience: string, keyPeriod: number) => KeyObject,
  ): Judged {
    if (!bootIdPattern.test(bootId)) return fail("malformed-question", "no boot identifier");
    const audience = `${asker.instance}/${bootId}`;
    const lastPeriod = this.#lastPeriod(asker.service);
    return this.#keys(asker, lastPeriod, (keyPeriod) => keyOf(audience, keyPeriod));
  }

  #grant(
    asker: Asker,
    wanted: { readonly audience: string; readonly destination: string },
    audienceKey: (audience: string, keyPeriod: number) => KeyObject,
  ): Judged {
    const purpose = this.#judgePurpose(asker, wanted, "granted");
    if (!purpose.ok) return purpose;
    const { audience, destination, lastPeriod } = purpose.value;
    return this.#keys(asker, lastPeriod, (keyPeriod) =>
      clientKeyOf(audienceKey(audience, keyPeriod), asker, { mode: "granted", destination }),
    );
  }

  /** The keys up to a key period, where the asker has not had too many of late. */
  #keys({ node, instance }: Asker, lastPeriod: number, keyOf: (keyPeriod: number) => KeyObject): Judged {
    // The period before too: a clock may be a little behind.
    const firstKeyPeriod = this.#nowPeriod() - 1;
    const count = Math.max(1, lastPeriod - firstKeyPeriod + 1);
    const { keys: ofInstance, keysOfNode } = this.#limits;
    if (!ofInstance.take(instance, count))
      return fail("too-many-questions", `${keysPerInstance.perSecond} keys a second for ${instance}`);
    if (!keysOfNode.take(node, count))
      return fail("too-many-questions", `${keysPerNode.perSecond} keys a second for ${node}`);
    const keys: Uint8Array<ArrayBuffer>[] = [];
    for (let keyPeriod = firstKeyPeriod; keyPeriod <= lastPeriod; keyPeriod += 1)
      keys.push(Uint8Array.from(keyOf(keyPeriod).export()));
    return ok({ case: "keys", value: { firstKeyPeriod, keys } });
  }

  #token(
    asker: Asker,
    wanted: Extract<RequestTokenQuestion["wanted"], { case: "token" }>["value"],
    audienceKey: (audience: string, keyPeriod: number) => KeyObject,
  ): Judged {
    const { channelBinding, requestDigest: digest } = wanted;
    if (channelBinding.byteLength !== bindingBytes || digest.byteLength !== bindingBytes)
      return fail("malformed-question", `expected ${bindingBytes} bytes of channel binding and of digest`);
    const purpose = this.#judgePurpose(asker, wanted, "per-request");
    if (!purpose.ok) return purpose;
    const { audience, destination } = purpose.value;
    const mode = "per-request";
    const issuedAtMillis = Math.floor(this.#options.clock.nowSeconds() * 1000);
    const key = clientKeyOf(audienceKey(audience, this.#nowPeriod()), asker, { mode, destination });
    const { fingerprint: certificateFingerprint, spiffeId, service: source } = asker;
    const bound = { audience, spiffeId, source, channelBinding, mode, certificateFingerprint } as const;
    const token = mintForDigest({ ...bound, nonces: this.#nonces }, key, { digest, issuedAtMillis });
    return ok({ case: "token", value: token });
  }

  /** Whether the asker may have this from the log as it is now: the audience serves it, tokens are wanted, a rule lets it. */
  #judgePurpose(
    { service: from, notAfterSeconds }: Asker,
    { audience, destination }: { readonly audience: string; readonly destination: string },
    mode: RequestTokenMode,
  ): Result<Purpose, IssuerRefusal> {
    const { state } = this.#options.writer;
    const instance = audiencePattern.exec(audience)?.groups?.["instance"];
    const callee = instance === undefined ? undefined : state.instances.get(instance);
    if (callee === undefined) return fail("unknown-audience", "no instance is registered under this name");
    if (!holdsPrefix(state, callee.service, destination))
      return fail("not-served-there", `${instance} is of ${callee.service}, which does not hold this prefix`);
    const policy = requestTokenPolicyOf(state, callee.service);
    if (policy.mode === "off")
      return fail("request-tokens-off", `${callee.service} asks for no request tokens`);
    if (policy.mode === "per-request" && mode === "granted")
      return fail("per-request-only", `${callee.service} takes no token but the issuer's own`);
    const rules = [...state.rules.entries()].map(([, rule]) => rule);
    const { effect, reason, rule } = decideAnyAccess(rules, { from, to: destination });
    // Rules say whom one may call; a router is a way, and decides by whoever is at its end.
    if (effect === "deny" && !isRouterService(state, destination))
      return reason === "rule-denies"
        ? fail(reason, `the rule "${rule}" denies it`)
        : fail("no-rule", `no rule allows ${from} to call ${destination}`);
    const lastOfCertificate = keyPeriodAt(notAfterSeconds * 1000);
    const lastPeriod = Math.min(this.#lastPeriod(callee.service), lastOfCertificate);
    return ok({ audience, destination, lastPeriod });
  }

  #nowPeriod(): number {
    return keyPeriodAt(this.#options.clock.nowSeconds() * 1000);
  }

  /**
   * The last key period for which keys are given ahead: as long as the staleness table lets the service go on without
   * news, and the time for which what was last asked for may be old.
   */
  #lastPeriod(service: string): number {
    const { services, genesis } = this.#options.writer.state;
    const bounds = genesis?.staleness[services.get(service)?.dataClass ?? "restricted"];
    const seconds = Math.max(
      bounds?.newHandshake.refuseAfterSeconds ?? 0,
      bounds?.openConnection.refuseAfterSeconds ?? 0,
    );
    const ahead = Math.ceil((seconds * 1000) / keyPeriodMillis) + 1;
    return this.#nowPeriod() + Math.min(ahead, keyPeriodsAheadMax);
  }
}

function clientKeyOf(
  audienceKey: KeyObject,
  { fingerprint: certificateFingerprint, spiffeId }: Asker,
  { mode, destination }: { readonly mode: RequestTokenMode; readonly destination: string },
): KeyObject {
  return deriveClientKey(audienceKey, { mode, destination, certificateFingerprint, spiffeId });
}

function isUnsealed(reason: IssuerRefusal): reason is UnsealedRefusal {
  return unsealedRefusals.some((unsealed) => unsealed === reason);
}
