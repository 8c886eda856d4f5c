import { expect, it } from "vitest";
import { silentLog } from "../../test/fakes/silent-log.ts";
import { tracingFromEnvironment } from "./tracing-settings.ts";

const endpoint = { OTEL_EXPORTER_OTLP_ENDPOINT: "http://collector:4318/" };

it.each([
  ["the shared endpoint", endpoint, "http://collector:4318/v1/traces"],
  ["an endpoint below a path", { OTEL_EXPORTER_OTLP_ENDPOINT: "https://x/otlp" }, "https://x/otlp/v1/traces"],
  [
    "its own endpoint first",
    { ...endpoint, OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: "http://t/in" },
    "http://t/in",
  ],
])("sends spans to %s", (_, env, url) => {
  expect(tracingFromEnvironment(env, silentLog)?.url).toBe(url);
});

it.each([
  ["no endpoint", {}],
  ["empty ones", { OTEL_EXPORTER_OTLP_ENDPOINT: "", OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: "" }],
  ["no URL", { OTEL_EXPORTER_OTLP_ENDPOINT: "collector:4318" }],
  ["a disabled SDK", { ...endpoint, OTEL_SDK_DISABLED: "true" }],
])("sends none with %s", (_, env) => {
  expect(tracingFromEnvironment(env, silentLog)).toBeUndefined();
});

it.each([
  [undefined, undefined, { isParentBased: true, ratio: 1 }],
  ["always_on", undefined, { isParentBased: false, ratio: 1 }],
  ["always_off", "1", { isParentBased: false, ratio: 0 }],
  ["traceidratio", "0.25", { isParentBased: false, ratio: 0.25 }],
  ["parentbased_always_off", undefined, { isParentBased: true, ratio: 0 }],
  ["parentbased_traceidratio", "0.01", { isParentBased: true, ratio: 0.01 }],
  ["parentbased_traceidratio", "many", { isParentBased: true, ratio: 1 }],
  ["parentbased_traceidratio", "2", { isParentBased: true, ratio: 1 }],
  ["toString", undefined, { isParentBased: true, ratio: 1 }],
])("samples as %s with %s says", (sampler, argument, sampling) => {
  const env = { ...endpoint, OTEL_TRACES_SAMPLER: sampler, OTEL_TRACES_SAMPLER_ARG: argument };

  expect(tracingFromEnvironment(env, silentLog)?.sampling).toEqual(sampling);
});

it("says in the log what it could not follow", () => {
  const said: string[] = [];
  const log = { ...silentLog, warn: (message: string) => said.push(message) };

  tracingFromEnvironment({ ...endpoint, OTEL_TRACES_SAMPLER: "xray" }, log);

  expect(said).toEqual(["unknown OTEL_TRACES_SAMPLER; the default is used"]);
});
