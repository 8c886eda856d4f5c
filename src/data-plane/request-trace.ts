import {
  judgeTracestate,
  readTraceparent,
  type TraceParent,
  type Tracer,
  type TraceStep,
} from "../telemetry/index.ts";
import type { RequestHead } from "./forwarding/index.ts";
import { type HeadEdits, headerLines, noEdits } from "./http1/index.ts";

/** A finished request, as far as its span tells. */
export interface TracedRequest {
  readonly side: "server" | "client";
  readonly request: RequestHead;
  /** The service that answers; empty where the request named none. */
  readonly service: string;
  readonly status: number;
  readonly error: string | undefined;
  readonly durationMicros: number;
  readonly attributes: Readonly<Record<`troth.${string}`, string | number>>;
}

const blankTraceparent = Buffer.from(`traceparent: 00-${"0".repeat(32)}-${"0".repeat(16)}-00\r\n`, "latin1");
const fromEndToTraceId = 54;
const fromEndToSpanId = 21;
const fromEndToFlag = 3;

/** What carries requests. */
export type HttpVersion = "1" | "2";

/** The trace of one connection's requests, one after the other. Without a tracer the headers pass as they came. */
export class RequestTrace {
  readonly #tracer: Tracer | undefined;
  readonly #version: HttpVersion;
  readonly #fixed: (host: string) => Uint8Array;
  #untraced: HeadEdits = noEdits;
  /** The added lines with a place for the ids: written again for each request, and copied into its head at once. */
  #lines: Buffer | undefined;
  #step: TraceStep | undefined;

  /**
   * `fixed` are header lines that every request with a host gets, best the same bytes each time; `version` is what the
   * requests come over.
   */
  constructor(tracer: Tracer | undefined, fixed: (host: string) => Uint8Array, version: HttpVersion) {
    this.#tracer = tracer;
    this.#fixed = fixed;
    this.#version = version;
  }

  /** Gives a request its place in a trace; answers with the edits that tell the next one. */
  begin(request: RequestHead): HeadEdits {
    const fixed = this.#fixed(request.host);
    if (fixed !== this.#untraced.add) {
      this.#untraced = { remove: [], add: fixed };
      this.#lines = undefined;
    }
    if (this.#tracer === undefined) return this.#untraced;
    const { parent, remove, tracestate } = readTrace(request);
    const step = this.#tracer.begin(parent);
    this.#step = step;
    const { traceId, spanId, isSampled } = step;
    this.#lines ??= Buffer.concat([fixed, blankTraceparent]);
    const lines = this.#lines;
    lines.write(traceId, lines.length - fromEndToTraceId, "latin1");
    lines.write(spanId, lines.length - fromEndToSpanId, "latin1");
    lines.write(isSampled ? "1" : "0", lines.length - fromEndToFlag, "latin1");
    if (tracestate === undefined) return { remove, add: lines };
    return { remove, add: Buffer.concat([lines, headerLines([["tracestate", tracestate]])]) };
  }

  /** Whether the request that began last will have a span. */
  get isRecording(): boolean {
    return this.#step?.isSampled === true;
  }

  /** Hands on the span of the request that began last, if its trace is recorded. */
  finish({ side, request, service, status, error, durationMicros, attributes }: TracedRequest): void {
    const step = this.#step;
    this.#step = undefined;
    if (this.#tracer === undefined || step?.isSampled !== true) return;
    const isError = error !== undefined || status >= (side === "server" ? 500 : 400);
    this.#tracer.finish({
      step,
      side,
      name: request.method,
      durationMicros,
      isError,
      attributes: {
        "http.request.method": request.method,
        "url.scheme": "http",
        "url.path": pathOf(request.target),
        "network.protocol.version": this.#version === "2" ? "2" : `1.${request.minorVersion}`,
        ...(service === "" ? {} : { "server.address": service }),
        ...(status === 0 ? {} : { "http.response.status_code": status }),
        ...(isError ? { "error.type": error ?? String(status) } : {}),
        ...attributes,
      },
    });
  }
}

/** The path of a request target, without the query. */
export function pathOf(target: string): string {
  const query = target.indexOf("?");
  return query < 0 ? target : target.slice(0, query);
}

const onlyParent = ["traceparent"];
const both = ["traceparent", "tracestate"];

/** What a request says of its trace, and which of its lines do not go on (W3C Trace Context, level 1). */
function readTrace(request: RequestHead): {
  readonly parent: TraceParent | undefined;
  readonly remove: readonly string[];
  readonly tracestate?: string;
} {
  const [first, second] = request.valuesOf("traceparent");
  // Two lines are as good as none: nobody can say which is meant (section 3.2.1: one header).
  if (first === undefined || second !== undefined) return { parent: undefined, remove: both };
  const bytes = Buffer.from(first, "latin1");
  const parent = readTraceparent(bytes, 0, bytes.length);
  if (parent === undefined) return { parent, remove: both };
  const states = request.valuesOf("tracestate");
  if (states.length === 0) return { parent, remove: onlyParent };
  const state = judgeTracestate(states);
  switch (state.kind) {
    case "kept":
      return { parent, remove: onlyParent };
    case "dropped":
      return { parent, remove: both };
    case "shortened":
      return { parent, remove: both, tracestate: state.value };
  }
}
