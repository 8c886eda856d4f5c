/** The figures are of so many seconds, each in a slot of its own. */
const windowSeconds = 10;
/** Bounds of durations: each bucket ends at a fifth more than the one before, the first at 0.1 ms. */
const bucketGrowth = 1.2;
const firstBucketMicros = 100;
/** Up to about an hour. */
const bucketsMax = 96;

/** How an application did within the last seconds. */
export interface UsageFigures {
  /** Requests that ended. */
  readonly requests: number;
  readonly errors: number;
  readonly p50Millis: number;
  readonly p90Millis: number;
  readonly p99Millis: number;
}

interface Slot {
  requests: number;
  errors: number;
  readonly buckets: Uint32Array;
}

/** What requests an application has, and how the last ones went. A request costs it some additions and no clock. */
export class AppUsage {
  /** Requests that the application has now. */
  inFlight = 0;
  readonly #slots: readonly Slot[] = Array.from({ length: windowSeconds }, newSlot);
  #now: Slot;
  #place = 0;
  #sinceMillis: number;

  constructor(nowMillis: number) {
    this.#sinceMillis = nowMillis;
    this.#now = this.#slots[0] ?? newSlot();
  }

  /** A request has ended after so long; a tunnel's length says nothing of how fast anything was answered. */
  ended({
    isError,
    durationMicros,
    isTunnel,
  }: {
    readonly isError: boolean;
    readonly durationMicros: number;
    readonly isTunnel: boolean;
  }): void {
    const slot = this.#now;
    slot.requests += 1;
    if (isError) slot.errors += 1;
    if (isTunnel) return;
    const bucket = bucketOf(durationMicros);
    slot.buckets[bucket] = (slot.buckets[bucket] ?? 0) + 1;
  }

  /** Begins the slots of the seconds that have passed; to be called at least once a second. */
  turn(nowMillis: number): void {
    const passed = Math.min(windowSeconds, Math.floor((nowMillis - this.#sinceMillis) / 1000));
    if (passed <= 0) return;
    this.#sinceMillis = nowMillis;
    for (let count = 0; count < passed; count += 1) {
      this.#place = (this.#place + 1) % windowSeconds;
      this.#now = this.#slots[this.#place] ?? this.#now;
      this.#now.requests = 0;
      this.#now.errors = 0;
      this.#now.buckets.fill(0);
    }
  }

  /** Of the last ten seconds. */
  figures(): UsageFigures {
    const buckets = new Float64Array(bucketsMax);
    let [requests, errors, timed] = [0, 0, 0];
    for (const slot of this.#slots) {
      requests += slot.requests;
      errors += slot.errors;
      for (const [place, count] of slot.buckets.entries()) {
        buckets[place] = (buckets[place] ?? 0) + count;
        timed += count;
      }
    }
    const quantile = (share: number): number => millisAt(buckets, timed * share);
    return {
      requests,
      errors,
      p50Millis: quantile(0.5),
      p90Millis: quantile(0.9),
      p99Millis: quantile(0.99),
    };
  }
}

function newSlot(): Slot {
  return { requests: 0, errors: 0, buckets: new Uint32Array(bucketsMax) };
}

function bucketOf(durationMicros: number): number {
  if (durationMicros <= firstBucketMicros) return 0;
  const bucket = Math.ceil(Math.log(durationMicros / firstBucketMicros) / Math.log(bucketGrowth));
  return Math.min(bucket, bucketsMax - 1);
}

/** The upper bound of the bucket in which the `rank`-th lies; 0 where nothing was counted. */
function millisAt(buckets: Float64Array, rank: number): number {
  let seen = 0;
  for (const [place, count] of buckets.entries()) {
    seen += count;
    if (count > 0 && seen >= rank) return (firstBucketMicros * bucketGrowth ** place) / 1000;
  }
  return 0;
}
