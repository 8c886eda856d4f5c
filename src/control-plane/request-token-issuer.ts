import type { KeyObject } from "node:crypto";
import type { MessageInitShape } from "@bufbuild/protobuf";
import type { Clock, RandomBytes } from "../base/clock.ts";
import { fail, ok, type Result } from "../base/result.ts";
import { decideAnyAccess } from "../policy/index.ts";
import type { RequestTokenAnswerSchema, RequestTokenQuestion } from "../protocol/index.ts";
import {
  deriveAudienceKey,
  deriveClientKey,
  keyPeriodAt,
  keyPeriodMillis,
  mintForDigest,
  type NonceSource,
  nonceSource,
  type RequestTokenMode,
} from "../request-token/index.ts";
import type { IssuerRefusal, PresentedQuestion } from "../transport/index.ts";
import { holdsPrefix, isQuarantined, isRouterService, requestTokenPolicyOf } from "../trust-log/index.ts";
import type { ControlPlaneMetrics } from "./control-plane-metrics.ts";
import { tokenEpochAgeSecondsMax } from "./issue-instance-token.ts";
import { keyFault } from "./log-keys.ts";
import type { LogWriter } from "./log-writer.ts";
import { openRateLimit, type RateLimit } from "./rate-limit.ts";
import type { RequestTokenRoots } from "./request-token-roots.ts";
import type { RollbackGuard } from "./rollback-guard.ts";

/** Questions of one instance: grants for all that it calls, and one a request where the service wants it so. */
const questionsPerInstance = { perSecond: 1_000, burst: 4_000, callersMax: 10_000 };
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

/** Who asks, as the log has it. */
interface Asker {
  readonly instance: string;
  readonly service: string;
  readonly spiffeId: string;
  readonly fingerprint: Uint8Array;
  readonly notAfterSeconds: number;
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
  readonly #limit: RateLimit;
  readonly #nonces: NonceSource;

  constructor(options: RequestTokenIssuerOptions) {
    this.#options = options;
    this.#limit = openRateLimit(options.clock, questionsPerInstance);
    this.#nonces = nonceSource(options.randomBytes);
  }

  /**
   * Answers a question that a node's agent has handed on, so that only the asker can read it; a no is an answer too.
   * Throws `ERR_CONTROL_PLANE_KEY` where there is no key to sign by.
   */
  async answer(node: string, question: PresentedQuestion): Promise<ReturnType<PresentedQuestion["answer"]>> {
    const { clock, issuerKey, answered } = this.#options;
    const key = issuerKey();
    if (key === undefined) throw keyFault("issuer", "is missing");
    const judged = await this.#judge(node, question);
    answered(judged.ok ? judged.value.case : judged.reason);
    const outcome: Outcome = judged.ok
      ? judged.value
      : { case: "refusal", value: { reason: judged.reason, detail: judged.detail } };
    const issuerMillis = BigInt(Math.floor(clock.nowSeconds() * 1000));
    return question.answer({ issuerMillis, outcome }, key);
  }

  async #judge(node: string, question: PresentedQuestion): Promise<Judged> {
    const { roots, clock } = this.#options;
    const current = this.#judgeLog();
    if (!current.ok) return current;
    const nowPeriod = keyPeriodAt(clock.nowSeconds() * 1000);
    // One more than any answer has, since a period may end meanwhile.
    const rootOf = await roots.rootsFor(nowPeriod - 1, nowPeriod + keyPeriodsAheadMax + 1);
    // Nothing is waited for between this and the answer.
    const asker = this.#judgeAsker(node, question);
    if (!asker.ok) return asker;
    const { wanted } = question.question;
    const audienceKey = (audience: string, keyPeriod: number): KeyObject =>
      deriveAudienceKey(rootOf(keyPeriod), keyPeriod, audience);
    switch (wanted.case) {
      case "audienceKeys":
        return this.#audienceKeys(asker.value, wanted.value.bootId, audienceKey);
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

  #judgeAsker(node: string, { question, ...shown }: PresentedQuestion): Result<Asker, IssuerRefusal> {
    const { writer, clock } = this.#options;
    const { certificates, instances, genesis } = writer.state;
    const certificate = certificates.get(shown.certificateId);
    const row = certificate === undefined ? undefined : instances.get(certificate.instance);
    if (certificate === undefined || row === undefined)
      return fail("unknown-certificate", "the trust log does not name it, or not any more");
    const { instance, spiffeId, notAfterSeconds } = certificate;
    if (notAfterSeconds <= clock.nowSeconds()) return fail("unknown-certificate", "it has ended");
    if (row.node !== node) return fail("not-on-this-node", `${instance} is registered on another node`);
    if (!shown.isSigned()) return fail("bad-proof", "the certificate's key has not signed the question");
    const behind = (genesis?.epochNumber ?? 0) - Number(question.epoch);
    if (behind < 0 || behind > questionEpochsMax)
      return fail("stale-question", `of epoch ${question.epoch}, ${behind} before the present one`);
    if (isQuarantined(writer.state, instance))
      return fail("quarantined", `${instance} calls nobody until a newer decision ends that`);
    if (!this.#limit.take(instance))
      return fail("too-many-questions", `${questionsPerInstance.perSecond} a second`);
    return ok({ instance, service: row.service, spiffeId, fingerprint: shown.fingerprint, notAfterSeconds });
  }

  #audienceKeys(
    { instance, service }: Asker,
    bootId: string,
    keyOf: (audience: string, keyPeriod: number) => KeyObject,
  ): Judged {
    if (!bootIdPattern.test(bootId)) return fail("malformed-question", "no boot identifier");
    const nowPeriod = this.#nowPeriod();
    const audience = `${instance}/${bootId}`;
    return keysAnswer(nowPeriod - 1, this.#lastPeriod(service), (keyPeriod) => keyOf(audience, keyPeriod));
  }

  #grant(
    asker: Asker,
    wanted: { readonly audience: string; readonly destination: string },
    audienceKey: (audience: string, keyPeriod: number) => KeyObject,
  ): Judged {
    const purpose = this.#judgePurpose(asker, wanted, "granted");
    if (!purpose.ok) return purpose;
    const { audience, destination, lastPeriod } = purpose.value;
    // The period before too: a caller's idea of the time may be a little behind.
    return keysAnswer(this.#nowPeriod() - 1, lastPeriod, (keyPeriod) =>
      clientKeyOf(audienceKey(audience, keyPeriod), asker, { mode: "granted", destination }),
    );
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

function keysAnswer(
  firstKeyPeriod: number,
  lastPeriod: number,
  keyOf: (keyPeriod: number) => KeyObject,
): Judged {
  const keys: Uint8Array<ArrayBuffer>[] = [];
  for (let keyPeriod = firstKeyPeriod; keyPeriod <= lastPeriod; keyPeriod += 1)
    keys.push(Uint8Array.from(keyOf(keyPeriod).export()));
  return ok({ case: "keys", value: { firstKeyPeriod, keys } });
}
