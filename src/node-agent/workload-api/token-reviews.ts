import { open } from "node:fs/promises";
import { hexOf, textOf } from "../../base/bytes.ts";
import type { Clock } from "../../base/clock.ts";
import type { Log } from "../../base/log.ts";
import { messageOf } from "../../base/mesh-error.ts";
import { fail, type Result } from "../../base/result.ts";
import { sha256, tokenBytesMax } from "../../crypto/index.ts";
import {
  type CheckedServiceAccount,
  checkTokenReview,
  type ReviewRefusal,
  reviewBytesMax,
} from "../../identity/index.ts";
import { askHttp } from "./ask-http.ts";

const path = "/apis/authentication.k8s.io/v1/tokenreviews";
/** So long an answer counts, whatever it was, before the cluster is asked again about the same token. */
const reviewMillisMax = 20_000;
/** So long the last yes counts while the cluster does not answer. */
const unansweredMillisMax = 5 * 60_000;
const reviewsMax = 1_000;
/** Asked at a time; a token that comes beyond that is of nobody for the moment. */
const questionsMax = 16;

/** The cluster whose API says of tokens whether they are good. */
export interface TokenReviewSource {
  /** Of the API, https. */
  readonly url: string;
  /** The cluster's CAs (PEM); no others count. */
  readonly authorities: string;
  /** A file with the token by which this agent may ask; read each time, since kubelets replace it. */
  readonly tokenFile: string;
}

/** Why a cluster does not say whose a token is. */
export type UnreviewedToken = ReviewRefusal | "no-answer" | "too-many-questions";

type Reviewed = Result<CheckedServiceAccount, UnreviewedToken>;

interface Known {
  readonly atMillis: number;
  readonly reviewed: Reviewed;
}

/**
 * Asks a cluster's API whose service-account tokens are, and whether they still count: unlike the token itself, it knows
 * of pods and accounts that were deleted. Answers are kept for a moment.
 */
export class TokenReviews {
  readonly #source: TokenReviewSource;
  readonly #clock: Pick<Clock, "monotonicMillis">;
  readonly #log: Log;
  /** By hash of token; the oldest first. */
  readonly #known = new Map<string, Known>();
  readonly #asking = new Map<string, Promise<Reviewed>>();
  #isFailing = false;

  constructor(source: TokenReviewSource, clock: Pick<Clock, "monotonicMillis">, log: Log) {
    this.#source = source;
    this.#clock = clock;
    this.#log = log;
  }

  /** Whose a token is at this moment. Never throws. */
  async review(token: string, audience: string | undefined): Promise<Reviewed> {
    const name = hexOf(sha256(Buffer.from(token)));
    const known = this.#known.get(name);
    const ageMillis = this.#clock.monotonicMillis() - (known?.atMillis ?? -Infinity);
    if (known !== undefined && ageMillis < reviewMillisMax) return known.reviewed;
    const asking = this.#asking.get(name);
    if (asking === undefined && this.#asking.size >= questionsMax)
      return fail("too-many-questions", `${questionsMax} are being asked`);
    const answer = await (asking ?? this.#ask(name, token, audience));
    const isUnanswered = !answer.ok && answer.reason === "no-answer";
    if (isUnanswered && known?.reviewed.ok === true && ageMillis < unansweredMillisMax) return known.reviewed;
    return answer;
  }

  #ask(name: string, token: string, audience: string | undefined): Promise<Reviewed> {
    const asking = this.#askOnce(token, audience).then((reviewed) => {
      this.#asking.delete(name);
      this.#note(reviewed);
      if (reviewed.ok || reviewed.reason !== "no-answer") this.#remember(name, reviewed);
      return reviewed;
    });
    this.#asking.set(name, asking);
    return asking;
  }

  async #askOnce(token: string, audience: string | undefined): Promise<Reviewed> {
    const { url, authorities, tokenFile } = this.#source;
    const spec = { token, ...(audience === undefined ? {} : { audiences: [audience] }) };
    const body = JSON.stringify({ apiVersion: "authentication.k8s.io/v1", kind: "TokenReview", spec });
    try {
      const bearer = await bearerIn(tokenFile);
      const question = {
        url: new URL(path, url).href,
        ca: authorities,
        bytesMax: reviewBytesMax,
        body,
        bearer,
      };
      const text = textOf(await askHttp(question));
      return text === undefined ? fail("not-a-review", "not UTF-8") : checkTokenReview(text, { audience });
    } catch (error) {
      return fail("no-answer", messageOf(error));
    }
  }

  #remember(name: string, reviewed: Reviewed): void {
    this.#known.delete(name);
    this.#known.set(name, { atMillis: this.#clock.monotonicMillis(), reviewed });
    const [oldest] = this.#known.keys();
    if (this.#known.size > reviewsMax && oldest !== undefined) this.#known.delete(oldest);
  }

  #note(reviewed: Reviewed): void {
    const isFailing = !reviewed.ok && reviewed.reason === "no-answer";
    if (isFailing && !this.#isFailing)
      this.#log.warn("the cluster does not review tokens", { url: this.#source.url, error: reviewed.detail });
    if (!isFailing && this.#isFailing) this.#log.info("the cluster reviews tokens again");
    this.#isFailing = isFailing;
  }
}

async function bearerIn(file: string): Promise<string> {
  await using opened = await open(file, "r");
  const bytes = Buffer.alloc(tokenBytesMax + 1);
  const { bytesRead } = await opened.read(bytes, 0, bytes.length, 0);
  const text = bytes.toString("latin1", 0, bytesRead).trim();
  if (!/^[0-9A-Za-z._~+/=-]+$/.test(text) || bytesRead > tokenBytesMax)
    throw new Error(`${file} holds no token to ask with`);
  return text;
}
