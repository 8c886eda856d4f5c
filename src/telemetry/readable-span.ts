import { type HrTime, SpanKind, SpanStatusCode } from "@opentelemetry/api";
import { ExportResultCode } from "@opentelemetry/core";
import type { Resource } from "@opentelemetry/resources";
import type { ReadableSpan, SpanExporter } from "@opentelemetry/sdk-trace";
import { messageOf } from "../base/mesh-error.ts";
import type { FinishedSpan } from "./open-tracer.ts";

// One object, since exporters group spans by it.
const instrumentationScope = { name: "troth" };

/** A finished span in the form that OpenTelemetry's exporters take; it ended at `endSeconds` since 1970. */
export function readableSpan(
  { step, side, name, durationMicros, isError, attributes }: FinishedSpan,
  { resource, endSeconds }: { readonly resource: Resource; readonly endSeconds: number },
): ReadableSpan {
  const context = contextOf(step.traceId, step.spanId);
  return {
    name,
    kind: side === "server" ? SpanKind.SERVER : SpanKind.CLIENT,
    spanContext: () => context,
    ...(step.parentId === undefined
      ? {}
      : { parentSpanContext: { ...contextOf(step.traceId, step.parentId), isRemote: true } }),
    startTime: hrTime(endSeconds - durationMicros / 1e6),
    endTime: hrTime(endSeconds),
    duration: hrTime(durationMicros / 1e6),
    status: { code: isError ? SpanStatusCode.ERROR : SpanStatusCode.UNSET },
    attributes,
    links: [],
    events: [],
    ended: true,
    resource,
    instrumentationScope,
    droppedAttributesCount: 0,
    droppedEventsCount: 0,
    droppedLinksCount: 0,
  };
}

function contextOf(traceId: string, spanId: string): ReturnType<ReadableSpan["spanContext"]> {
  return { traceId, spanId, traceFlags: 1 };
}

function hrTime(seconds: number): HrTime {
  const whole = Math.floor(seconds);
  return [whole, Math.round((seconds - whole) * 1e9)];
}

/** Exports spans once; resolves to what went wrong, or undefined. */
export function exportSpans(exporter: SpanExporter, spans: ReadableSpan[]): Promise<string | undefined> {
  return new Promise((resolve) => {
    exporter.export(spans, ({ code, error }) =>
      resolve(code === ExportResultCode.SUCCESS ? undefined : messageOf(error ?? "refused")),
    );
  });
}
