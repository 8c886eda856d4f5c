import type { Clock } from "../base/clock.ts";
import type { Log } from "../base/log.ts";
import { fail, ok, type Refusal, type Result } from "../base/result.ts";
import type { RequestTokenAnswer } from "../protocol/index.ts";
import type { IssuerClock } from "../request-token/index.ts";
import {
  type AskedQuestion,
  askQuestion,
  type IssuerRefusal,
  issuerRefusals,
  type LogView,
  type QuestionSigner,
  type QuestionWanted,
} from "../transport/index.ts";
import { issuerKeysOf, type TrustState } from "../trust-log/index.ts";

/** How long the entry that names another issuer's key is waited for. */
const keyWaitMillis = 1_000;

/** Why there is no answer to a question, or why it is no. */
export type AskRefusal =
  | IssuerRefusal
  /** A reason that this version does not know. */
  | "refused-otherwise"
  /** The issuer, or the node agent on the way to it, is not there now. */
  | "issuer-unreachable"
  /** What came was no answer of an issuer that the trust log names to this very question. */
  | "answer-forged";

/** Whether the issuer itself has said no: asking again is of no use before something has changed. */
export function isIssuersNo(reason: AskRefusal): boolean {
  return (
    reason !== "issuer-unreachable" &&
    reason !== "answer-forged" &&
    reason !== "log-not-current" &&
    reason !== "too-many-questions" &&
    reason !== "stale-question"
  );
}

/** What is sent to the issuer by way of the node agent; rejects where there is no answer. */
export type RelayQuestion = (
  request: AskedQuestion["request"],
) => Promise<Parameters<AskedQuestion["open"]>[0]>;

/** What asking takes. */
export interface TokenIssuerOptions {
  readonly relay: RelayQuestion;
  /** What this proxy knows of the log. */
  readonly view: Pick<LogView, "waitUntil"> & { readonly follower: { readonly state: TrustState } };
  readonly issuerTime: IssuerClock;
  readonly clock: Clock;
  readonly log: Log;
  /** Told where the relay, or somebody behind it, gave an answer that is not the issuer's. */
  readonly forged: (detail: string) => void;
}

/** What the issuer gave. */
export type Given = Exclude<RequestTokenAnswer["outcome"], { case: "refusal" } | { case: undefined }>;

/** Asks the issuer of request tokens; answers with a refusal where it says no and where nothing can be had. */
export type AskTokenIssuer = (
  signer: QuestionSigner,
  wanted: QuestionWanted,
) => Promise<Result<Given, AskRefusal>>;

/** Opens the way to the issuer of request tokens. Each answer also tells the issuer's time. */
export function openTokenIssuer(options: TokenIssuerOptions): AskTokenIssuer {
  const { relay, view, issuerTime, clock, log, forged } = options;
  return async (signer, wanted) => {
    const { state } = view.follower;
    const asked = askQuestion(signer, { epoch: state.genesis?.epochNumber ?? 0, wanted });
    const keysThen = issuerKeysOf(state);
    const open = (response: Parameters<AskedQuestion["open"]>[0]): ReturnType<AskedQuestion["open"]> =>
      asked.open(response, [...keysThen, ...issuerKeysOf(view.follower.state)]);
    const sentMillis = clock.monotonicMillis();
    const answered = await relay(asked.request).then(ok, unreachable);
    const receivedMillis = clock.monotonicMillis();
    if (!answered.ok) return answered;
    let answer = open(answered.value);
    // The issuer's key may have been replaced a moment ago, by an entry that is on its way here.
    if (!answer.ok) await view.waitUntil(() => (answer = open(answered.value)).ok, keyWaitMillis);
    if (!answer.ok) {
      log.error("an answer about request tokens is not the issuer's", { detail: answer.detail });
      forged(answer.detail);
      return answer;
    }
    const { issuerMillis, outcome } = answer.value;
    issuerTime.observe({ sentMillis, receivedMillis, issuerMillis: Number(issuerMillis) });
    if (outcome.case === "refusal") return fail(reasonOf(outcome.value.reason), outcome.value.detail);
    return outcome.case === undefined
      ? fail("refused-otherwise", "an answer that this version does not know")
      : ok(outcome);
  };
}

function unreachable(error: unknown): Refusal<"issuer-unreachable"> {
  return fail("issuer-unreachable", error instanceof Error ? error.message : String(error));
}

function reasonOf(text: string): IssuerRefusal | "refused-otherwise" {
  return issuerRefusals.find((reason) => reason === text) ?? "refused-otherwise";
}
