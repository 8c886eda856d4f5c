import type { Clock } from "../../base/clock.ts";
import type { Log } from "../../base/log.ts";
import type { AdvertisementRefusal, RefusedAdvertisement } from "./advertisements.ts";

/** Refusals that are told apart for a while; what comes besides counts together. */
const toldApartMax = 32;
/** How long one is not told again. */
const againMillis = 10_000;

/** Refusals that mean more than a proxy that is behind or an older word of it. */
const alarming: ReadonlySet<AdvertisementRefusal> = new Set([
  "malformed",
  "other-log",
  "other-instance",
  "prefix-not-granted",
  "ahead-of-log",
  "unknown-key",
  "bad-signature",
]);

/** Where refusals are told of. */
export interface RefusalNews {
  readonly clock: Pick<Clock, "monotonicMillis">;
  readonly log: Log;
  readonly count: (reason: AdvertisementRefusal) => void;
  readonly alarm: (reason: string, detail: string) => void;
}

/** Tells of advertisements that are not believed: counts every one, and names the two parties once in a while. */
export class RefusedAdvertisements {
  readonly #news: RefusalNews;
  readonly #told = new Map<string, number>();
  #untold = 0;

  constructor(news: RefusalNews) {
    this.#news = news;
  }

  /** Takes note of one; costs a look-up where its like was told of lately. */
  note(refused: RefusedAdvertisement): void {
    const { reason, instance, service, prefix, holder, isLate } = refused;
    this.#news.count(reason);
    if (isLate || !alarming.has(reason)) return;
    const key = `${reason} ${service === "" ? instance : service} ${prefix}`;
    if (this.#told.has(key)) return;
    if (this.#told.size >= toldApartMax) {
      this.#untold += 1;
      return;
    }
    this.#told.set(key, this.#news.clock.monotonicMillis());
    this.#news.log.warn("advertisement refused", { reason, instance, service, prefix, holder });
    this.#news.alarm(`advertisement-${reason}`, detailOf(refused));
  }

  /** Lets go of what was told long ago; called now and then. */
  sweep(): void {
    const { clock, log, alarm } = this.#news;
    const now = clock.monotonicMillis();
    for (const [key, atMillis] of this.#told) if (now - atMillis > againMillis) this.#told.delete(key);
    if (this.#untold === 0 || this.#told.size >= toldApartMax) return;
    log.warn("more advertisements refused", { count: this.#untold });
    alarm("advertisements-refused", `${this.#untold} more than are told one by one`);
    this.#untold = 0;
  }
}

/** Who says it, and who is entitled to. */
function detailOf({ reason, instance, service, prefix, holder }: RefusedAdvertisement): string {
  const who =
    service === "" ? `an instance ${instance} that the log does not have` : `${service} ${instance}`;
  if (reason !== "prefix-not-granted") return `in the name of ${who}: ${reason}`;
  return `${who} advertises ${prefix}, which ${holder === "" ? "nobody" : holder} holds`;
}
