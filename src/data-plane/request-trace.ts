import {
  formatTraceparent,
  judgeTracestate,
  readTraceparent,
  type TraceParent,
  type Tracer,
  type TraceStep,
} from "../telemetry/index.ts";
import { type HeadEdits, headerLines, type RequestHead } from "./http1/index.ts";

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

/** The trace of one connection's requests, one after the other. Without a tracer the headers pass as they came. */
export class RequestTrace {
  readonly #tracer: Tracer | undefined;
  readonly #fixed: Uint8Array;
  readonly #untraced: HeadEdits;
  #step: TraceStep | undefined;

  /** `fixed` are header lines that every request on the connection gets. */
  constructor(tracer: Tracer | undefined, fixed: Uint8Array) {
    this.#tracer = tracer;
    this.#fixed = fixed;
    this.#untraced = { remove: [], add: fixed };
  }

  /** Gives a request its place in a trace; answers with the edits that tell the next one. */
  begin(request: RequestHead): HeadEdits {
    if (this.#tracer === undefined) return this.#untraced;
    const { parent, remove, tracestate } = readTrace(request);
    const step = this.#tracer.begin(parent);
    this.#step = step;
    const { traceId, spanId: parentId, isSampled } = step;
    const lines: (readonly [string, string])[] = [
      ["traceparent", formatTraceparent({ traceId, parentId, isSampled })],
    ];
    if (tracestate !== undefined) lines.push(["tracestate", tracestate]);
    return { remove, add: Buffer.concat([this.#fixed, headerLines(lines)]) };
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
        "network.protocol.version": `1.${request.minorVersion}`,
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
  const { section } = request;
  let parent: TraceParent | undefined;
  let parents = 0;
  let hasState = false;
  for (let line = 0; line < section.lines; line += 1) {
    if (section.isNamed(line, "tracestate")) hasState = true;
    if (!section.isNamed(line, "traceparent")) continue;
    parents += 1;
    parent = readTraceparent(section.window, section.valueStart(line), section.valueEnd(line));
  }
  // Two lines are as good as none: nobody can say which is meant (section 3.2.1: one header).
  if (parents !== 1 || parent === undefined) return { parent: undefined, remove: both };
  if (!hasState) return { parent, remove: onlyParent };
  const state = judgeTracestate(request.valuesOf("tracestate"));
  switch (state.kind) {
    case "kept":
      return { parent, remove: onlyParent };
    case "dropped":
      return { parent, remove: both };
    case "shortened":
      return { parent, remove: both, tracestate: state.value };
  }
}
