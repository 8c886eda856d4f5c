import type { Http2Limits } from "./http2-limits.ts";
import type { Http2Violation } from "./http2-violation.ts";

/** The ages and silences of one connection; all times are the coarse timer's, in milliseconds. */
export class SessionLife {
  hasPeerSettings = false;
  /** Until when the header block that is incomplete must be whole. */
  blockDeadlineMillis = Number.POSITIVE_INFINITY;
  private readonly limits: Http2Limits;
  private readonly openedMillis: number;
  private settingsSentMillis: number;
  private heardMillis: number;
  private workedMillis: number;
  private drainedByMillis = Number.POSITIVE_INFINITY;
  private lingeringMillis = Number.POSITIVE_INFINITY;
  private askedMillis = Number.POSITIVE_INFINITY;
  private questions = 0;

  constructor(limits: Http2Limits, nowMillis: number) {
    this.limits = limits;
    this.openedMillis = nowMillis;
    this.settingsSentMillis = nowMillis;
    this.heardMillis = nowMillis;
    this.workedMillis = nowMillis;
  }

  /** Bytes have come. */
  heard(nowMillis: number): void {
    this.heardMillis = nowMillis;
  }

  /** A stream has begun or ended. */
  worked(nowMillis: number): void {
    this.workedMillis = nowMillis;
  }

  /** Our SETTINGS have been acknowledged; false where they had been before. */
  acknowledged(): boolean {
    const isAwaited = this.settingsSentMillis !== Number.POSITIVE_INFINITY;
    this.settingsSentMillis = Number.POSITIVE_INFINITY;
    return isAwaited;
  }

  /** The streams that are open are the last. */
  draining(nowMillis: number, isRetiring: boolean): void {
    const { drainMillis, retireMillis } = this.limits;
    const untilMillis = nowMillis + (isRetiring ? retireMillis : drainMillis);
    this.drainedByMillis = Math.min(this.drainedByMillis, untilMillis);
  }

  /** Our side has ended. */
  linger(nowMillis: number): void {
    this.lingeringMillis = nowMillis;
  }

  /** Whether the peer has had its time to end its side after us. */
  isLingeringPast(nowMillis: number): boolean {
    return nowMillis - this.lingeringMillis > this.limits.lingerMillis;
  }

  /** What has taken too long, if anything. */
  judge(nowMillis: number, streams: number): Http2Violation | undefined {
    const { handshakeMillis, settingsAckMillis, pingMillis } = this.limits;
    if (!this.hasPeerSettings && nowMillis - this.openedMillis > handshakeMillis) return "settings-timeout";
    if (nowMillis - this.settingsSentMillis > settingsAckMillis) return "settings-timeout";
    if (nowMillis > this.blockDeadlineMillis) return "header-block-timeout";
    if (nowMillis - this.askedMillis > pingMillis) return "ping-timeout";
    if (streams > 0 && nowMillis > this.drainedByMillis) return "drain-timeout";
    return undefined;
  }

  /** Whether the connection is to be drained: too old, or idle for too long. */
  isDue(nowMillis: number, streams: number): boolean {
    const { ageMillisMax, idleMillis } = this.limits;
    return (
      nowMillis - this.openedMillis > ageMillisMax ||
      (streams === 0 && nowMillis - this.workedMillis > idleMillis)
    );
  }

  /** Eight bytes for a PING, when it is time to ask whether the peer is still there. */
  questionDue(nowMillis: number, streams: number): Buffer | undefined {
    const isSilent = nowMillis - this.heardMillis > this.limits.pingAfterMillis;
    return isSilent && streams > 0 && !this.isAsking ? this.question(nowMillis) : undefined;
  }

  /** Whether the answer to a PING of ours is outstanding. */
  get isAsking(): boolean {
    return this.askedMillis !== Number.POSITIVE_INFINITY;
  }

  /** Eight bytes for a PING; its answer is awaited from now on. */
  question(nowMillis: number): Buffer {
    this.askedMillis = nowMillis;
    this.questions += 1;
    const opaque = Buffer.alloc(8);
    opaque.writeUInt32BE(this.questions >>> 0, 4);
    return opaque;
  }

  /** Whether this is the answer to the PING that is outstanding. */
  answered(opaque: Buffer): boolean {
    if (!this.isAsking || opaque.readUInt32BE(4) !== this.questions >>> 0) return false;
    this.askedMillis = Number.POSITIVE_INFINITY;
    return true;
  }
}
