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
/** How many of them are for one instance that is called, under all certificates. */
export const grantsOfInstanceMax = 256;
/** A grant by which something was minted within such a time is forgotten after all others. */
const usedLatelyMillis = 60_000;
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
  /** The one that was obtained last comes last. */
  readonly #grants = new Map<string, KeptGrant>();
  /** The same, of each instance that is called. */
  readonly #ofInstance = new Map<string, Map<string, KeptGrant>>();
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

  /**
   * The grant for a purpose, which may have no key yet; the same object for the same purpose while it is kept. An instance
   * is one process at a time: the grant for another process of it takes the place of the one before.
   */
  grantFor(wanted: GrantWanted): RequestTokenGrant {
    const known = this.#grants.get(nameOf(wanted));
    if (known?.audience === wanted.audience) return known;
    const grant = new KeptGrant(wanted, this.#options, () => this.#keep(grant));
    this.#keep(grant);
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
    this.#ofInstance.clear();
  }

  #keep(grant: KeptGrant): void {
    const { name, instance } = grant;
    this.#forget(this.#grants.get(name));
    const own = this.#ofInstance.get(instance) ?? new Map<string, KeptGrant>();
    this.#ofInstance.set(instance, own.set(name, grant));
    this.#grants.set(name, grant);
    const nowMillis = this.#options.clock.monotonicMillis();
    if (own.size > grantsOfInstanceMax) this.#forget(leastMissed(own, nowMillis));
    if (this.#grants.size > grantsMax) this.#forget(leastMissed(this.#grants, nowMillis));
  }

  #forget(grant: KeptGrant | undefined): void {
    if (grant === undefined) return;
    const { name, instance } = grant;
    this.#grants.delete(name);
    const own = this.#ofInstance.get(instance);
    own?.delete(name);
    if (own?.size === 0) this.#ofInstance.delete(instance);
  }

  #sweep(): void {
    const nowMillis = this.#options.clock.monotonicMillis();
    const current = this.#options.currentSvid()?.sha256;
    for (const grant of this.#grants.values()) {
      if (!grant.isDue(nowMillis)) continue;
      if (grant.isIdle(nowMillis) || grant.certificate !== current) this.#forget(grant);
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
  return `${svid.sha256} ${instanceOf(audience)} ${destination}`;
}

function instanceOf(audience: string): string {
  return audience.slice(0, audience.indexOf("/"));
}

/** The oldest by which nothing was minted lately; the oldest of all where there is none. The newest is never the one. */
function leastMissed(grants: ReadonlyMap<string, KeptGrant>, nowMillis: number): KeptGrant | undefined {
  const older = [...grants.values()].slice(0, -1);
  return older.find((grant) => !grant.isUsedLately(nowMillis)) ?? older[0];
}

class KeptGrant implements RequestTokenGrant {
  readonly name: string;
  /** The one that is called, whichever process of it. */
  readonly instance: string;
  readonly #wanted: GrantWanted;
  readonly #options: RequestTokenGrantsOptions;
  readonly #keepAgain: () => void;
  #keys: readonly KeyObject[] = [];
  #firstPeriod = 0;
  #asking: Promise<Result<true, AskRefusal>> | undefined;
  #refusal: { readonly result: Result<true, AskRefusal>; readonly untilMillis: number } | undefined;
  /** On the monotonic clock; `Infinity` while there is nothing to renew. */
  #renewAtMillis = Number.POSITIVE_INFINITY;
  readonly #madeMillis: number;
  #usedMillis = Number.NEGATIVE_INFINITY;
  #wasUsed = false;

  constructor(wanted: GrantWanted, options: RequestTokenGrantsOptions, keepAgain: () => void) {
    this.#wanted = wanted;
    this.#options = options;
    this.#keepAgain = keepAgain;
    this.name = nameOf(wanted);
    this.instance = instanceOf(wanted.audience);
    this.#madeMillis = options.clock.monotonicMillis();
  }

  get audience(): string {
    return this.#wanted.audience;
  }

  get certificate(): string {
    return this.#wanted.svid.sha256;
  }

  keyOf(keyPeriod: number): KeyObject | undefined {
    const key = this.#keys[keyPeriod - this.#firstPeriod];
    if (key !== undefined) this.#wasUsed = true;
    return key;
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
    return nowMillis - Math.max(this.#madeMillis, this.#usedUntil(nowMillis)) > idleMillisMax;
  }

  /** Whether something was minted by it within a minute, as far as anybody has looked since. */
  isUsedLately(nowMillis: number): boolean {
    return nowMillis - this.#usedUntil(nowMillis) <= usedLatelyMillis;
  }

  /** When its use was last noted: reading a clock at each use would cost more than the use. */
  #usedUntil(nowMillis: number): number {
    if (this.#wasUsed) this.#usedMillis = nowMillis;
    this.#wasUsed = false;
    return this.#usedMillis;
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
