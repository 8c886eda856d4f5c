import type { Log } from "../base/log.ts";
import type { Sampling, TracingOptions } from "../telemetry/index.ts";

/** OpenTelemetry's samplers that are a share of traces; `undefined` stands for the share of OTEL_TRACES_SAMPLER_ARG. */
const samplers: Readonly<
  Record<string, { readonly isParentBased: boolean; readonly ratio: number | undefined }>
> = {
  always_on: { isParentBased: false, ratio: 1 },
  always_off: { isParentBased: false, ratio: 0 },
  traceidratio: { isParentBased: false, ratio: undefined },
  parentbased_always_on: { isParentBased: true, ratio: 1 },
  parentbased_always_off: { isParentBased: true, ratio: 0 },
  parentbased_traceidratio: { isParentBased: true, ratio: undefined },
};
const samplerDefault = "parentbased_always_on";

/**
 * Where spans go, from OpenTelemetry's environment variables; undefined where no endpoint is set, or the SDK is
 * disabled. Like every SDK, it goes on with the default where a value makes no sense, and says so.
 */
export function tracingFromEnvironment(
  env: Readonly<Record<string, string | undefined>>,
  log: Log,
): TracingOptions | undefined {
  if (env["OTEL_SDK_DISABLED"]?.toLowerCase() === "true") return undefined;
  const own = env["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"] ?? "";
  const shared = env["OTEL_EXPORTER_OTLP_ENDPOINT"] ?? "";
  if (own === "" && shared === "") return undefined;
  // An endpoint for traces is used as it is; the shared one is where the signals' paths begin (OTLP exporter spec).
  const url = own === "" ? `${shared.replace(/\/+$/, "")}/v1/traces` : own;
  const protocol = URL.parse(url)?.protocol;
  if (protocol !== "http:" && protocol !== "https:") {
    log.warn("no tracing: the OTLP endpoint is no http:// or https:// URL");
    return undefined;
  }
  return { url, sampling: samplingFrom(env, log) };
}

function samplingFrom(env: Readonly<Record<string, string | undefined>>, log: Log): Sampling {
  const name = env["OTEL_TRACES_SAMPLER"] ?? samplerDefault;
  const sampler = Object.hasOwn(samplers, name) ? samplers[name] : undefined;
  if (sampler === undefined) {
    log.warn("unknown OTEL_TRACES_SAMPLER; the default is used", { sampler: name, default: samplerDefault });
    return { isParentBased: true, ratio: 1 };
  }
  const { isParentBased, ratio } = sampler;
  return { isParentBased, ratio: ratio ?? ratioFrom(env["OTEL_TRACES_SAMPLER_ARG"], log) };
}

function ratioFrom(text: string | undefined, log: Log): number {
  if (text === undefined || text === "") return 1;
  const ratio = Number(text);
  if (ratio >= 0 && ratio <= 1) return ratio;
  log.warn("OTEL_TRACES_SAMPLER_ARG is no number from 0 to 1; every trace is recorded", { value: text });
  return 1;
}
