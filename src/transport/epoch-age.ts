import type { Clock } from "../base/clock.ts";

/** How often the sequencer writes an epoch entry (design section 1). */
const epochIntervalSeconds = 10;

/**
 * How old the newest epoch is that a follower has. The time since it arrived would not do: a relay could hand old
 * epochs on at the right pace for ever. So what the epochs themselves say counts against the local monotonic clock:
 * however far they fall behind it, by their times and by their numbers, is added. The smaller of the two counts, since
 * the sequencer's clock may be put right (times stand still) and the sequencer may have been away (numbers do).
 *
 * Only the first epoch is judged by the wall clock. Where that clock is put back later, it was ahead then, and what it
 * added is taken off again by as much, as a new start would; what epochs fell behind since is not.
 */
export class EpochAge {
  readonly #clock: Clock;
  #number = 0;
  #arrivedSeconds: number;
  #lagSeconds = 0;
  #timeSeconds = 0;
  #isLive = false;
  /** The monotonic clock, less the time and less the number's time, of an epoch that came without delay. */
  #promptByTime = 0;
  #promptByNumber = 0;
  /** What is left in the lag of the wall clock's judgement on the first epoch. */
  #judgedSeconds = 0;
  /** The least that the wall clock was ahead of the monotonic one since then, so that a clock that swings adds nothing up. */
  #wallOffsetSeconds = Infinity;

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#arrivedSeconds = this.#nowSeconds();
  }

  /** Seconds since the newest epoch was made, as far as this follower can tell. */
  get seconds(): number {
    return this.#nowSeconds() - this.#arrivedSeconds + this.#lagSeconds;
  }

  /**
   * By how much the wall clock is ahead of what the epochs say, undefined until one has come live: the first may be from
   * a relay's store. Epochs that come late look the same as a clock that is ahead.
   */
  get clockAheadSeconds(): number | undefined {
    if (!this.#isLive) return undefined;
    return this.#clock.nowSeconds() - this.#timeSeconds - (this.#nowSeconds() - this.#arrivedSeconds);
  }

  /** Notes the newest epoch; the same one again is no news. */
  note(epoch: { readonly number: number; readonly timeSeconds: number }): void {
    if (epoch.number === this.#number) return;
    const now = this.#nowSeconds();
    const byTime = now - epoch.timeSeconds;
    const byNumber = now - epoch.number * epochIntervalSeconds;
    const isFirst = this.#number === 0;
    const putBackSeconds = this.#noteWallOffset();
    if (isFirst) {
      // Nothing to compare with yet but the wall clock; the first epoch may come from a relay's store.
      this.#lagSeconds = Math.max(0, this.#clock.nowSeconds() - epoch.timeSeconds);
      this.#judgedSeconds = this.#lagSeconds;
    } else {
      const takenOff = Math.min(putBackSeconds, this.#judgedSeconds);
      const behind = Math.min(byTime - this.#promptByTime, byNumber - this.#promptByNumber);
      this.#lagSeconds = Math.max(0, behind - takenOff);
      this.#judgedSeconds = Math.min(this.#judgedSeconds - takenOff, this.#lagSeconds);
    }
    this.#promptByTime = byTime - this.#lagSeconds;
    this.#promptByNumber = byNumber - this.#lagSeconds;
    this.#isLive = !isFirst;
    this.#timeSeconds = epoch.timeSeconds;
    this.#number = epoch.number;
    this.#arrivedSeconds = now;
  }

  /** By how many seconds the wall clock is further back than ever before. */
  #noteWallOffset(): number {
    const offset = this.#clock.nowSeconds() - this.#nowSeconds();
    const before = this.#wallOffsetSeconds;
    this.#wallOffsetSeconds = Math.min(before, offset);
    return before === Infinity ? 0 : before - this.#wallOffsetSeconds;
  }

  #nowSeconds(): number {
    return this.#clock.monotonicMillis() / 1000;
  }
}
