import { hexOf } from "../base/bytes.ts";
import type { Clock, RandomBytes } from "../base/clock.ts";
import type { Log } from "../base/log.ts";
import { type IssuerClock, issuerClock, type NonceSource, nonceSource } from "../request-token/index.ts";
import type { LogView, SvidInUse } from "../transport/index.ts";
import { openTokenIssuer, type RelayQuestion } from "./ask-token-issuer.ts";
import { AudienceKeys } from "./audience-keys.ts";
import type { CoarseTimer } from "./coarse-timer.ts";
import { RequestTokenGrants } from "./request-token-grants.ts";

const bootIdBytes = 8;

/** What having keys for request tokens takes. */
export interface RequestTokenKeysOptions {
  readonly instance: string;
  readonly view: LogView;
  readonly relay: RelayQuestion;
  readonly currentSvid: () => SvidInUse | undefined;
  /** Told what should not have happened. */
  readonly alarm: (reason: string, detail: string) => void;
  readonly timer: CoarseTimer;
  readonly clock: Clock;
  /** At least 0 and below 1, for jitter. */
  readonly random: () => number;
  readonly randomBytes: RandomBytes;
  readonly log: Log;
}

/** All that a proxy has of the issuer of request tokens: keys to check by, grants to mint by, and its time. */
export class RequestTokenKeys implements Disposable {
  /** New in every start; what this process is advertised with. */
  readonly bootId: string;
  /** The issuer's time, which every answer tells; the machine's wall clock before the first. */
  readonly issuerTime: IssuerClock;
  /** As the one who is called. */
  readonly audienceKeys: AudienceKeys;
  /** For the tokens that this process mints. */
  readonly nonces: NonceSource;
  /** As a caller. */
  readonly grants: RequestTokenGrants;

  constructor(options: RequestTokenKeysOptions) {
    const { view, randomBytes, clock, alarm } = options;
    this.bootId = hexOf(randomBytes(bootIdBytes));
    this.issuerTime = issuerClock(clock);
    this.nonces = nonceSource(randomBytes);
    const forged = (detail: string): void => alarm("request-token-answer-forged", detail);
    const ask = openTokenIssuer({ ...options, issuerTime: this.issuerTime, forged });
    const isWanted = (): boolean => {
      for (const [, { mode }] of view.follower.state.requestTokens.entries()) if (mode !== "off") return true;
      return false;
    };
    this.audienceKeys = new AudienceKeys({ ...options, bootId: this.bootId, isWanted, ask });
    this.grants = new RequestTokenGrants({ ...options, ask });
  }

  /** To be called after each step of the log, and once there is an SVID. */
  stepped(): void {
    this.grants.stepped();
    this.audienceKeys.look();
  }

  [Symbol.dispose](): void {
    this.audienceKeys[Symbol.dispose]();
    this.grants[Symbol.dispose]();
  }
}
