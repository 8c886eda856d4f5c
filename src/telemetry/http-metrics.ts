import type { Clock } from "../base/clock.ts";

/** The metrics of HTTP as OpenTelemetry names them (semantic conventions, HTTP metrics), in Prometheus' spelling. */
const serverDuration = "http_server_request_duration_seconds";
const clientDuration = "http_client_request_duration_seconds";
const labelNames = {
  service: "server_address",
  method: "http_request_method",
  status: "http_response_status_code",
  error: "error_type",
} as const;

/** The bucket bounds that OpenTelemetry advises for both, in seconds. */
const boundsSeconds = [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10] as const;

/** Label sets of one metric; requests beyond are counted under {@link other} in every label. */
const seriesMax = 256;
/** Services that get a label of their own. */
const servicesMax = 64;
/** A label set that nobody used for so long is forgotten, and counts from zero when it comes again. */
const idleSeriesMillis = 600_000;

/** What stands for everything outside of a closed set (OpenTelemetry's word). */
const other = "_OTHER";
const methods: ReadonlySet<string> = new Set(
  "CONNECT DELETE GET HEAD OPTIONS PATCH POST PUT QUERY TRACE".split(" "),
);

/** One finished request. */
export interface HttpRequestSample {
  /** A name that the trust log has; empty where there is none. */
  readonly service: string;
  readonly method: string;
  /** Status of the answer, 0 where there was none. */
  readonly status: number;
  /** Of a closed set; undefined where nothing went wrong but what the status may say. */
  readonly error: string | undefined;
  readonly durationMicros: number;
}

interface Series {
  /** Requests by bucket, not accumulated; the last one is everything beyond the bounds. */
  readonly buckets: number[];
  sumMicros: number;
  usedMillis: number;
  readonly labels: string;
}

type Side = "server" | "client";

/**
 * How long requests take, by service, method, status and error. The path of a request through here makes no objects
 * once its label set is known: maps are looked up by the very values, and text is written when somebody asks.
 */
export class HttpDurations {
  readonly #side: Side;
  readonly #clock: Clock;
  readonly #byService = new Map<string, Map<string, Map<number | string, Series>>>();
  readonly #overflow: Series;
  #seriesCount = 0;

  constructor(side: Side, clock: Clock) {
    this.#side = side;
    this.#clock = clock;
    this.#overflow = newSeries({ service: other, method: other, status: other, error: other });
  }

  /** Counts a request. */
  observe({ service, method, status, error, durationMicros }: HttpRequestSample): void {
    const key = error ?? status;
    const series = this.#byService.get(service)?.get(method)?.get(key);
    const taken = series ?? this.#newSeries(service, method, { status, error });
    let bucket = 0;
    while (bucket < boundsSeconds.length && durationMicros > (boundsSeconds[bucket] ?? 0) * 1e6) bucket += 1;
    taken.buckets[bucket] = (taken.buckets[bucket] ?? 0) + 1;
    taken.sumMicros += durationMicros;
    taken.usedMillis = this.#clock.monotonicMillis();
  }

  /** The metric in the Prometheus text format; forgets what has been idle for long. */
  text(): string {
    this.#forgetIdle();
    const name = this.#side === "server" ? serverDuration : clientDuration;
    const lines = [
      `# HELP ${name} Duration of HTTP ${this.#side} requests, from the end of the head to the last byte.`,
      `# TYPE ${name} histogram`,
    ];
    for (const series of this.#all()) write(lines, name, series);
    return `${lines.join("\n")}\n`;
  }

  *#all(): Generator<Series> {
    for (const byMethod of this.#byService.values())
      for (const byKey of byMethod.values()) yield* byKey.values();
    if (this.#overflow.buckets.some((count) => count > 0)) yield this.#overflow;
  }

  #newSeries(
    service: string,
    method: string,
    { status, error }: Pick<HttpRequestSample, "status" | "error">,
  ): Series {
    const isKnownMethod = methods.has(method);
    const isKnownService =
      service === other || this.#byService.has(service) || this.#byService.size < servicesMax;
    const isKnownStatus = status < 600;
    const named = {
      service: isKnownService ? service : other,
      method: isKnownMethod ? method : other,
      status: isKnownStatus ? status : 0,
      error,
    };
    const key = error ?? named.status;
    const byMethod = entryOf(this.#byService, named.service, () => new Map());
    const byKey = entryOf(byMethod, named.method, () => new Map());
    const known = byKey.get(key);
    if (known !== undefined) return known;
    if (this.#seriesCount >= seriesMax) return this.#overflow;
    const made = newSeries({
      ...named,
      status: named.status === 0 ? "" : String(named.status),
      error: error ?? this.#errorOf(named.status),
    });
    byKey.set(key, made);
    this.#seriesCount += 1;
    return made;
  }

  /** A status is its own error type where it is one to this side (semantic conventions, `error.type`). */
  #errorOf(status: number): string {
    return status >= (this.#side === "server" ? 500 : 400) ? String(status) : "";
  }

  #forgetIdle(): void {
    const since = this.#clock.monotonicMillis() - idleSeriesMillis;
    for (const [service, byMethod] of this.#byService) {
      for (const [method, byKey] of byMethod) {
        for (const [key, { usedMillis }] of byKey) {
          if (usedMillis > since) continue;
          byKey.delete(key);
          this.#seriesCount -= 1;
        }
        if (byKey.size === 0) byMethod.delete(method);
      }
      if (byMethod.size === 0) this.#byService.delete(service);
    }
  }
}

function entryOf<Key, Value>(map: Map<Key, Value>, key: Key, make: () => Value): Value {
  const known = map.get(key);
  if (known !== undefined) return known;
  const made = make();
  map.set(key, made);
  return made;
}

function newSeries(labels: Readonly<Record<keyof typeof labelNames, string>>): Series {
  const pairs = [
    [labelNames.service, labels.service],
    [labelNames.method, labels.method],
    [labelNames.status, labels.status],
    [labelNames.error, labels.error],
  ].filter(([, value]) => value !== "");
  return {
    buckets: Array.from({ length: boundsSeconds.length + 1 }, () => 0),
    sumMicros: 0,
    usedMillis: 0,
    labels: pairs.map(([name = "", value = ""]) => `${name}="${escaped(value)}"`).join(","),
  };
}

function escaped(value: string): string {
  return value.replaceAll("\\", "\\\\").replaceAll('"', '\\"').replaceAll("\n", "\\n");
}

function write(lines: string[], name: string, { buckets, sumMicros, labels }: Series): void {
  let count = 0;
  for (const [place, inBucket] of buckets.entries()) {
    count += inBucket;
    const bound = boundsSeconds[place] ?? "+Inf";
    lines.push(`${name}_bucket{${labels === "" ? "" : `${labels},`}le="${bound}"} ${count}`);
  }
  const braced = labels === "" ? "" : `{${labels}}`;
  lines.push(`${name}_sum${braced} ${sumMicros / 1e6}`, `${name}_count${braced} ${count}`);
}
