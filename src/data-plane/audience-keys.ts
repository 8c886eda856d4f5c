import type { KeyObject } from "node:crypto";
import type { Clock } from "../base/clock.ts";
import type { Log } from "../base/log.ts";
import { keyPeriodMillis } from "../request-token/index.ts";
import type { SvidInUse } from "../transport/index.ts";
import type { AskTokenIssuer } from "./ask-token-issuer.ts";
import type { CoarseTimer } from "./coarse-timer.ts";
import { keysOf } from "./request-token-grants.ts";

/** The keys are asked for again once in each key period's length, at a moment of their own. */
const renewalShareMin = 0.4;
const renewalShareJitter = 0.2;
const retryMillisMin = 500;
const retryMillisMax = 10_000;
/** While there are no keys, requests are refused for as long as that. */
const retryWithoutKeysMillisMax = 2_000;

/** What keeping an audience's keys takes. */
export interface AudienceKeysOptions {
  readonly instance: string;
  /** 16 hexadecimal digits, new in every start. */
  readonly bootId: string;
  /** Whether a policy asks for request tokens here; nothing is asked for before. */
  readonly isWanted: () => boolean;
  readonly ask: AskTokenIssuer;
  readonly currentSvid: () => SvidInUse | undefined;
  readonly timer: CoarseTimer;
  readonly clock: Clock;
  /** At least 0 and below 1, for jitter. */
  readonly random: () => number;
  readonly log: Log;
}

/**
 * The keys by which a proxy checks request tokens. They come from the issuer and are this process's alone: another
 * start has another boot identifier, so that no token of before is good any more.
 */
export class AudienceKeys implements Disposable {
  /** `<instance uuid>/<boot id>`. */
  readonly audience: string;
  readonly #options: AudienceKeysOptions;
  readonly #looking: { deadlineMillis: number; readonly onDeadline: () => void };
  #keys: readonly KeyObject[] = [];
  #firstPeriod = 0;
  #asking: Promise<void> | undefined;
  #retryMillis = retryMillisMin;

  constructor(options: AudienceKeysOptions) {
    this.#options = options;
    this.audience = `${options.instance}/${options.bootId}`;
    this.#looking = { deadlineMillis: Number.POSITIVE_INFINITY, onDeadline: () => void this.#renew() };
    options.timer.add(this.#looking);
  }

  /** The key of a key period, as fast as an array; undefined where this process has none. */
  keyOf(keyPeriod: number): KeyObject | undefined {
    return this.#keys[keyPeriod - this.#firstPeriod];
  }

  /** Whether there are keys. */
  get isReady(): boolean {
    return this.#keys.length > 0;
  }

  /** To be called after each step of the log, and once there is an SVID: asks for keys as soon as any are wanted. */
  look(): void {
    if (this.#asking === undefined) void this.obtain();
  }

  /**
   * Asks for the keys where there are none but some are wanted; resolves once that was answered, which is at once where
   * it was in vain a moment ago: whatever comes here meanwhile, the issuer is asked again only when it is time. Never
   * rejects.
   */
  async obtain(): Promise<void> {
    const isToWait = this.#asking === undefined && this.#looking.deadlineMillis !== Number.POSITIVE_INFINITY;
    if (!isToWait && !this.isReady && this.#options.isWanted()) await this.#renew();
  }

  [Symbol.dispose](): void {
    this.#options.timer.remove(this.#looking);
  }

  #renew(): Promise<void> {
    this.#asking ??= this.#ask().finally(() => {
      this.#asking = undefined;
    });
    return this.#asking;
  }

  async #ask(): Promise<void> {
    const { ask, currentSvid, bootId, timer, random, log, isWanted } = this.#options;
    const svid = currentSvid();
    if (svid === undefined) return;
    // Where no tokens are wanted any more, the keys are kept until then and not renewed.
    if (!isWanted()) {
      this.#keys = [];
      return;
    }
    const given = await ask(svid, { case: "audienceKeys", value: { bootId } });
    const keys = given.ok && given.value.case === "keys" ? keysOf(given.value.value.keys) : undefined;
    if (given.ok && given.value.case === "keys" && keys !== undefined) {
      this.#keys = keys;
      this.#firstPeriod = given.value.value.firstKeyPeriod;
      this.#retryMillis = retryMillisMin;
      this.#looking.deadlineMillis = timer.in(
        keyPeriodMillis * (renewalShareMin + renewalShareJitter * random()),
      );
      return;
    }
    const why = given.ok ? { reason: "unfit" } : { reason: given.reason, detail: given.detail };
    log.warn("no keys to check request tokens by", why);
    this.#looking.deadlineMillis = timer.in(this.#retryMillis * (0.5 + random()));
    const longestMillis = this.isReady ? retryMillisMax : retryWithoutKeysMillisMax;
    this.#retryMillis = Math.min(this.#retryMillis * 2, longestMillis);
  }
}
