import type { ReadableSpan } from "@opentelemetry/sdk-trace";
import type { Clock, RandomBytes } from "../base/clock.ts";
import type { Log } from "../base/log.ts";
import type { TraceParent } from "./trace-context.ts";

/** Spans that wait to be exported; what comes beyond is dropped and counted. */
const queuedSpansMax = 2_048;
const batchSpansMax = 512;
const exportIntervalMillis = 1_000;
const exportTimeoutMillis = 5_000;
/** Randomness is drawn for so many bytes at once. */
const drawnBytes = 4_096;
const traceIdBytes = 16;
const spanIdBytes = 8;
const zeros = "00000000";

/** How it is decided whether a trace is recorded. */
export interface Sampling {
  /** Whether an existing trace keeps what its beginning decided. */
  readonly isParentBased: boolean;
  /** Share of the traces that are recorded, 0 to 1; the same traces in every process. */
  readonly ratio: number;
}

/** Where spans go. */
export interface TracingOptions {
  /** URL of an OTLP/HTTP collector, with its path `/v1/traces`. */
  readonly url: string;
  readonly sampling: Sampling;
}

/** One side of one request. */
export interface TraceStep {
  readonly traceId: string;
  readonly spanId: string;
  /** The span before; undefined at the beginning of a trace. */
  readonly parentId: string | undefined;
  readonly isSampled: boolean;
}

/** What a finished span says. */
export interface FinishedSpan {
  readonly step: TraceStep;
  readonly side: "server" | "client";
  readonly name: string;
  readonly durationMicros: number;
  readonly isError: boolean;
  /** OpenTelemetry's names, and ours with `troth.`; never a query string, never a header value. */
  readonly attributes: Readonly<Record<string, string | number | boolean>>;
}

/** Gives requests their place in a trace and hands spans on. */
export interface Tracer extends AsyncDisposable {
  /** The place of a request that came with `parent`, or with none. */
  readonly begin: (parent: TraceParent | undefined) => TraceStep;
  /** Takes a span of a sampled step, or counts it as dropped; never waits. */
  readonly finish: (span: FinishedSpan) => void;
  /** Spans exported and dropped so far. */
  readonly counts: { readonly exported: number; readonly dropped: number };
}

/** Who the spans are of, by OpenTelemetry's resource conventions. */
export type TraceResource = Readonly<Record<`service.${string}`, string>>;

/** Opens the way to a collector; the exporter is loaded only here. An unreachable collector costs spans, never requests. */
export async function openTracer(
  { url, sampling }: TracingOptions,
  parts: {
    readonly resource: TraceResource;
    readonly clock: Clock;
    readonly randomBytes: RandomBytes;
    readonly log: Log;
  },
): Promise<Tracer> {
  const { OTLPTraceExporter } = await import("@opentelemetry/exporter-trace-otlp-proto");
  const { resourceFromAttributes } = await import("@opentelemetry/resources");
  const { exportSpans, readableSpan } = await import("./readable-span.ts");
  const exporter = new OTLPTraceExporter({ url, timeoutMillis: exportTimeoutMillis });
  const { clock, randomBytes, log } = parts;
  const ids = new Ids(randomBytes);
  const resource = resourceFromAttributes({ ...parts.resource });
  const queue = new ExportQueue((spans) => exportSpans(exporter, spans), log);
  return {
    begin: (parent) => {
      const traceId = parent?.traceId ?? ids.next(traceIdBytes);
      const isSampled =
        parent !== undefined && sampling.isParentBased
          ? parent.isSampled
          : isWithinRatio(traceId, sampling.ratio);
      return { traceId, spanId: ids.next(spanIdBytes), parentId: parent?.parentId, isSampled };
    },
    finish: (span) => {
      if (span.step.isSampled)
        queue.add(() => readableSpan(span, { resource, endSeconds: clock.nowSeconds() }));
    },
    counts: queue.counts,
    [Symbol.asyncDispose]: async () => {
      await queue[Symbol.asyncDispose]();
      await exporter.shutdown();
    },
  };
}

/** Whether a trace id is among the share that is recorded, by its last 48 bits as OpenTelemetry counts them. */
function isWithinRatio(traceId: string, ratio: number): boolean {
  return Number.parseInt(traceId.slice(-12), 16) >= (1 - ratio) * 2 ** 48;
}

/** Identifiers from randomness that is drawn in stock. */
class Ids {
  readonly #randomBytes: RandomBytes;
  #stock = Buffer.alloc(0);
  #at = 0;

  constructor(randomBytes: RandomBytes) {
    this.#randomBytes = randomBytes;
  }

  /** Hexadecimal, and not all zero, which is no id. */
  next(length: number): string {
    if (this.#at + length > this.#stock.length) {
      this.#stock = Buffer.from(this.#randomBytes(drawnBytes));
      this.#at = 0;
    }
    const id = this.#stock.toString("hex", this.#at, this.#at + length);
    this.#at += length;
    return id.startsWith(zeros) && Number.parseInt(id, 16) === 0 ? this.next(length) : id;
  }
}

/** Spans on their way to the collector: one export at a time, no second attempt, and never more than the queue holds. */
class ExportQueue implements AsyncDisposable {
  readonly counts = { exported: 0, dropped: 0 };
  readonly #export: (spans: ReadableSpan[]) => Promise<string | undefined>;
  readonly #log: Log;
  readonly #timer: NodeJS.Timeout;
  #spans: ReadableSpan[] = [];
  #exporting: Promise<void> | undefined;
  #hasFailed = false;

  /** `exportSpans` resolves to what went wrong, or undefined. */
  constructor(exportSpans: (spans: ReadableSpan[]) => Promise<string | undefined>, log: Log) {
    this.#export = exportSpans;
    this.#log = log;
    this.#timer = setInterval(() => void this.#exportAll(), exportIntervalMillis).unref();
  }

  add(make: () => ReadableSpan): void {
    if (this.#spans.length >= queuedSpansMax) {
      this.counts.dropped += 1;
      return;
    }
    this.#spans.push(make());
    if (this.#spans.length === batchSpansMax) void this.#exportAll();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    clearInterval(this.#timer);
    await this.#exportAll();
  }

  #exportAll(): Promise<void> {
    this.#exporting ??= this.#exportBatches().finally(() => {
      this.#exporting = undefined;
    });
    return this.#exporting;
  }

  async #exportBatches(): Promise<void> {
    while (this.#spans.length > 0) {
      const batch = this.#spans.slice(0, batchSpansMax);
      this.#spans = this.#spans.slice(batchSpansMax);
      const error = await this.#export(batch);
      if (error === undefined) this.counts.exported += batch.length;
      else this.counts.dropped += batch.length;
      // Said when it begins and when it ends; what lies between is in the metric.
      if (error !== undefined && !this.#hasFailed) this.#log.warn("spans not exported", { error });
      if (error === undefined && this.#hasFailed) this.#log.info("spans exported again");
      this.#hasFailed = error !== undefined;
      // The rest waits for the next interval: the collector is not there, or does not keep up.
      if (error !== undefined) return;
    }
  }
}
