export { HttpDurations, type HttpRequestSample } from "./http-metrics.ts";
export { makeRoom } from "./make-room.ts";
export {
  type AdminListener,
  type AdminOptions,
  openAdminListener,
  type ReadinessCheck,
} from "./open-admin-listener.ts";
export {
  type FinishedSpan,
  openTracer,
  type Sampling,
  type TraceResource,
  type Tracer,
  type TraceStep,
  type TracingOptions,
} from "./open-tracer.ts";
export { addGauge, addProcessMetrics } from "./process-metrics.ts";
export {
  judgeTracestate,
  readTraceparent,
  type TraceParent,
  type Tracestate,
} from "./trace-context.ts";
