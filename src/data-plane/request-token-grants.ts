import type { KeyObject } from "node:crypto";
import type { Clock } from "../base/clock.ts";
import { fail, ok, type Result } from "../base/result.ts";
import {
  importRequestTokenKey,
  keyPeriodMillis,
  parseRequestToken,
  requestTokenKeyBytes,
} from "../request-token/index.ts";
import type { SvidInUse } from "../transport/index.ts";
import { type AskRefusal, type AskTokenIssuer, type Given, isIssuersNo } from "./ask-token-issuer.ts";
import type { CoarseTimer } from "./coarse-timer.ts";

/** How many grants a proxy keeps; beyond it the oldest is forgotten, and asked for again when it is needed. */
export const grantsMax = 4_096;
/** How long a no of the issuer's, or that it cannot be reached, is remembered. */
const refusalMillis = 2_000;
const failureMillis = 500;
/** A grant is asked for again once in each key period's length, at a moment of its own. */
const renewalShareMin = 0.75;
const renewalShareJitter = 0.2;
const retryMillisMin = 5_000;
const retryMillisJitter = 10_000;
/** A grant by which nothing was minted for so long is not kept any longer. */
const idleMillisMax = 3_600_000;
const renewalsAtOnceMax = 16;
const sweepMillis = 1_000;

/** What a request token is to be good for. */
export interface GrantWanted {
  /** The SVID that the connection was opened with: no other connection's tokens are good on it. */
  readonly svid: SvidInUse;
  /** `<instance uuid>/<boot id>` of the callee's proxy. */
  readonly audience: string;
  /** The service prefix asked for. */
  readonly destination: string;
}

/** A caller's permission to mint request tokens for one destination at one audience under one certificate. */
export interface RequestTokenGrant {
  /**
   * The client key of a key period, as fast as an array; undefined where it has to be obtained first, or was withdrawn.
   * May be kept with a connection and asked at every request.
   */
  readonly keyOf: (keyPeriod: number) => KeyObject | undefined;
  /** Asks the issuer, once for all who wait, and answers within {@link AskTokenIssuer}'s time. Never rejects. */
  readonly obtain: () => Promise<Result<true, AskRefusal>>;
}

/** What one request's token is bound to besides. */
export interface TokenWanted extends GrantWanted {
  /** 32 bytes of the TLS exporter. */
  readonly channelBinding: Uint8Array;
  /** 32 bytes. */
  readonly requestDigest: Uint8Array;
}

/** What keeping grants takes. */
export interface RequestTokenGrantsOptions {
  readonly ask: AskTokenIssuer;
  /** The SVID that new connections are opened with; grants of others are kept only for as long as they last. */
  readonly currentSvid: () => SvidInUse | undefined;
  readonly timer: CoarseTimer;
  readonly clock: Clock;
  /** At least 0 and below 1, for jitter. */
  readonly random: () => number;
}

/**
 * The grants of a proxy as a caller. Each is obtained when it is first needed and renewed in every key period for as
 * long as it is used; so what the issuer no longer grants ends with the period, and where the issuer is away, the keys
 * that it gave ahead go on.
 */
export class RequestTokenGrants implements Disposable {
  readonly #options: RequestTokenGrantsOptions;
  readonly #grants = new Map<string, KeptGrant>();
  readonly #sweeping: { deadlineMillis: number; readonly onDeadline: () => void };
  #renewals = 0;

  constructor(options: RequestTokenGrantsOptions) {
    this.#options = options;
    const { timer } = options;
    this.#sweeping = {
      deadlineMillis: timer.in(sweepMillis),
      onDeadline: () => {
        this.#sweeping.deadlineMillis = timer.in(sweepMillis);
        this.#sweep();
      },
    };
    timer.add(this.#sweeping);
  }

  /** How many grants are kept. */
  get size(): number {
    return this.#grants.size;
  }

  /** The grant for a purpose, which may have no key yet; the same object for the same purpose while it is kept. */
  grantFor(wanted: GrantWanted): RequestTokenGrant {
    const name = nameOf(wanted);
    const known = this.#grants.get(name);
    if (known !== undefined) return known;
    const grant = new KeptGrant(wanted, this.#options, () => this.#keep(name, grant));
    this.#keep(name, grant);
    return grant;
  }

  /** One token for one request, minted by the issuer. Never rejects. */
  async obtainToken(wanted: TokenWanted): Promise<Result<string, AskRefusal>> {
    const { svid, audience, destination, channelBinding, requestDigest } = wanted;
    const value = { audience, destination, channelBinding, requestDigest };
    const given = await this.#options.ask(svid, { case: "token", value });
    if (!given.ok) return given;
    if (given.value.case !== "token") return unfit(given.value);
    // It goes into a head as it is: whoever holds the issuer's key is not to write other lines there.
    const parsed = parseRequestToken(given.value.value);
    return parsed.ok
      ? ok(given.value.value)
      : fail("refused-otherwise", "an answer that is no request token");
  }

  /** Forgets remembered refusals: the log has a new entry, and what was refused may be granted now. */
  stepped(): void {
    for (const grant of this.#grants.values()) grant.forgetRefusal();
  }

  [Symbol.dispose](): void {
    this.#options.timer.remove(this.#sweeping);
    this.#grants.clear();
  }

  #keep(name: string, grant: KeptGrant): void {
    this.#grants.delete(name);
    this.#grants.set(name, grant);
    for (const oldest of this.#grants.keys().take(Math.max(0, this.#grants.size - grantsMax)))
      this.#grants.delete(oldest);
  }

  #sweep(): void {
    const nowMillis = this.#options.clock.monotonicMillis();
    const current = this.#options.currentSvid()?.sha256;
    for (const [name, grant] of this.#grants) {
      if (!grant.isDue(nowMillis)) continue;
      if (grant.isIdle(nowMillis) || grant.certificate !== current) this.#grants.delete(name);
      else if (this.#renewals < renewalsAtOnceMax) {
        this.#renewals += 1;
        void grant.renew().finally(() => {
          this.#renewals -= 1;
        });
      }
    }
  }
}

/** What grants are told apart by. */
function nameOf({ svid, audience, destination }: GrantWanted): string {
  return `${svid.sha256} ${audience} ${destination}`;
}

class KeptGrant implements RequestTokenGrant {
  readonly #wanted: GrantWanted;
  readonly #options: RequestTokenGrantsOptions;
  readonly #keepAgain: () => void;
  #keys: readonly KeyObject[] = [];
  #firstPeriod = 0;
  #asking: Promise<Result<true, AskRefusal>> | undefined;
  #refusal: { readonly result: Result<true, AskRefusal>; readonly untilMillis: number } | undefined;
  /** On the monotonic clock; `Infinity` while there is nothing to renew. */
  #renewAtMillis = Number.POSITIVE_INFINITY;
  #usedMillis: number;
  #wasUsed = true;

  constructor(wanted: GrantWanted, options: RequestTokenGrantsOptions, keepAgain: () => void) {
    this.#wanted = wanted;
    this.#options = options;
    this.#keepAgain = keepAgain;
    this.#usedMillis = options.clock.monotonicMillis();
  }

  get certificate(): string {
    return this.#wanted.svid.sha256;
  }

  keyOf(keyPeriod: number): KeyObject | undefined {
    this.#wasUsed = true;
    return this.#keys[keyPeriod - this.#firstPeriod];
  }

  obtain(): Promise<Result<true, AskRefusal>> {
    const nowMillis = this.#options.clock.monotonicMillis();
    if (this.#refusal !== undefined && nowMillis < this.#refusal.untilMillis)
      return Promise.resolve(this.#refusal.result);
    this.#keepAgain();
    return this.renew();
  }

  /** Asks for what the grant is for; who asks while that goes on gets the same answer. */
  renew(): Promise<Result<true, AskRefusal>> {
    this.#renewAtMillis = Number.POSITIVE_INFINITY;
    this.#asking ??= this.#ask().finally(() => {
      this.#asking = undefined;
    });
    return this.#asking;
  }

  isDue(nowMillis: number): boolean {
    return nowMillis >= this.#renewAtMillis;
  }

  /** Whether nothing has been minted by it for long. */
  isIdle(nowMillis: number): boolean {
    if (this.#wasUsed) this.#usedMillis = nowMillis;
    this.#wasUsed = false;
    return nowMillis - this.#usedMillis > idleMillisMax;
  }

  forgetRefusal(): void {
    this.#refusal = undefined;
  }

  async #ask(): Promise<Result<true, AskRefusal>> {
    const { ask, clock, random } = this.#options;
    const { svid, audience, destination } = this.#wanted;
    const given = await ask(svid, { case: "grant", value: { audience, destination } });
    const result = given.ok ? this.#take(given.value) : given;
    const nowMillis = clock.monotonicMillis();
    if (result.ok) {
      this.#refusal = undefined;
      this.#renewAtMillis = nowMillis + keyPeriodMillis * (renewalShareMin + renewalShareJitter * random());
      return result;
    }
    const isNo = isIssuersNo(result.reason);
    this.#refusal = { result, untilMillis: nowMillis + (isNo ? refusalMillis : failureMillis) };
    // What it says no to ends now; while it cannot be heard, the keys that it gave ahead go on.
    if (isNo) this.#keys = [];
    else this.#renewAtMillis = nowMillis + retryMillisMin + retryMillisJitter * random();
    return result;
  }

  #take(given: Given): Result<true, AskRefusal> {
    const keys = given.case === "keys" ? keysOf(given.value.keys) : undefined;
    if (given.case !== "keys" || keys === undefined) return unfit(given);
    this.#keys = keys;
    this.#firstPeriod = given.value.firstKeyPeriod;
    return ok(true);
  }
}

/** The keys as `node:crypto` takes them; undefined unless each has its length. */
export function keysOf(keys: readonly Uint8Array[]): readonly KeyObject[] | undefined {
  if (keys.length === 0 || keys.some(({ byteLength }) => byteLength !== requestTokenKeyBytes))
    return undefined;
  return keys.map(importRequestTokenKey);
}

function unfit({ case: kind }: Given): Result<never, AskRefusal> {
  return fail("refused-otherwise", `an answer of another kind: ${kind}`);
}
