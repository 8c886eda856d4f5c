/** How fast what is known of an instance's slowness is forgotten: to a third in this long. */
const forgetMillis = 1_000;
/** Answers of one instance that the others are compared with. */
const answersKeptMax = 32;
/** How much a single answer counts in what is usual at a service. */
const usualWeight = 0.02;
/** Instances whose answers a comparison looks at. */
const comparedMax = 32;
/** Without so many answers of others, nothing is slow. */
const comparedAnswersMin = 20;
/** Answers of an instance that has been asked nothing for so long are not compared with. */
const comparedMillisMax = 30_000;
/** How long the result of a comparison is used. */
const comparisonMillis = 250;
/** What is slow takes more than so many times as long as nine of ten answers of the others, */
const slowFactor = 3;
/** and so much longer. */
const slowByMillisMin = 20;

/** The limits of this file, for whoever wants to see them. */
export const slownessLimits = {
  forgetMillis,
  comparedAnswersMin,
  comparedMillisMax,
  slowFactor,
  slowByMillisMin,
} as const;

/** What answers of a service usually take, in milliseconds. */
export class UsualTime {
  millis = 0;

  /** Takes note of an answer. */
  add(millis: number): void {
    this.millis = this.millis === 0 ? millis : this.millis + (millis - this.millis) * usualWeight;
  }
}

/**
 * How long an instance's answers have taken lately. What is slow counts at once and is forgotten little by little, so
 * that one bad moment shuns an instance for seconds and a slow instance is tried now and then (compare "peak EWMA").
 */
export class AnswerTimes {
  #peakMillis = 0;
  #atMillis = 0;
  readonly #latest: number[] = [];
  #next = 0;
  #slowAboveMillis = Number.POSITIVE_INFINITY;
  #comparedAtMillis = Number.NEGATIVE_INFINITY;

  /** Takes note of an answer that took `millis`, at a service where that long is `usual`. */
  add(millis: number, usual: UsualTime, nowMillis: number): void {
    const before = this.expectedMillis(usual, nowMillis);
    const left = Math.exp((this.#atMillis - nowMillis) / forgetMillis);
    this.#peakMillis = millis > before ? millis : millis + (before - millis) * left;
    this.#atMillis = nowMillis;
    this.#latest[this.#next] = millis;
    this.#next = (this.#next + 1) % answersKeptMax;
  }

  /**
   * What an answer is to be expected to take: what is usual where it has been no slower, and from a slow answer on
   * nearer to that with every second. So nobody rushes to an instance that is new, or faster than the others.
   */
  expectedMillis(usual: UsualTime, nowMillis: number): number {
    const { millis } = usual;
    if (this.#peakMillis <= millis) return millis;
    return millis + (this.#peakMillis - millis) * Math.exp((this.#atMillis - nowMillis) / forgetMillis);
  }

  /** What is slow for this instance, in milliseconds, as the others are; infinite while too little is known of them. */
  slowAboveMillis(others: () => Iterable<AnswerTimes>, nowMillis: number): number {
    if (nowMillis - this.#comparedAtMillis >= comparisonMillis) {
      this.#comparedAtMillis = nowMillis;
      this.#slowAboveMillis = slowAbove(this.#answersOf(others(), nowMillis));
    }
    return this.#slowAboveMillis;
  }

  #answersOf(others: Iterable<AnswerTimes>, nowMillis: number): number[] {
    const answers: number[] = [];
    let compared = 0;
    for (const other of others) {
      if (other === this || nowMillis - other.#atMillis > comparedMillisMax) continue;
      answers.push(...other.#latest);
      compared += 1;
      if (compared === comparedMax) break;
    }
    return answers;
  }
}

function slowAbove(answers: readonly number[]): number {
  if (answers.length < comparedAnswersMin) return Number.POSITIVE_INFINITY;
  const sorted = answers.toSorted((left, right) => left - right);
  const ninth = sorted[Math.floor(sorted.length * 0.9)] ?? Number.POSITIVE_INFINITY;
  return Math.max(ninth * slowFactor, ninth + slowByMillisMin);
}
