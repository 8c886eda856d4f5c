import type { HealthCheck } from "../data-plane/index.ts";
import { CliError, exitCode } from "./exit-codes.ts";

const intervalMillisMin = 50;
const intervalMillisMax = 60_000;
const countMax = 100;

/** `--health` and what goes with it, as commander gives them. */
export interface HealthOptions {
  readonly health?: string;
  readonly healthInterval?: number;
  readonly healthTimeout?: number;
  readonly healthFailures?: number;
  readonly healthSuccesses?: number;
}

/** The health check that was asked for; undefined where none was. Throws where it cannot be made. */
export function healthCheckOf(options: HealthOptions): HealthCheck | undefined {
  const { health: path } = options;
  if (path === undefined) return undefined;
  const { healthInterval = 500, healthTimeout = 500, healthFailures = 2, healthSuccesses = 2 } = options;
  if (!/^\/[!-~]{0,1023}$/.test(path))
    throw new CliError(exitCode.usage, `--health ${path}: expected a path such as /healthz`);
  requireWithin("--health-interval", healthInterval, [intervalMillisMin, intervalMillisMax]);
  requireWithin("--health-timeout", healthTimeout, [1, intervalMillisMax]);
  requireWithin("--health-failures", healthFailures, [1, countMax]);
  requireWithin("--health-successes", healthSuccesses, [1, countMax]);
  return {
    path,
    intervalMillis: healthInterval,
    timeoutMillis: healthTimeout,
    failuresMax: healthFailures,
    successesMin: healthSuccesses,
  };
}

/** The same as arguments of a sidecar. */
export function healthArguments(options: HealthOptions): string[] {
  const check = healthCheckOf(options);
  if (check === undefined) return [];
  return [
    ["--health", check.path ?? ""],
    ["--health-interval", String(check.intervalMillis)],
    ["--health-timeout", String(check.timeoutMillis)],
    ["--health-failures", String(check.failuresMax)],
    ["--health-successes", String(check.successesMin)],
  ].flat();
}

function requireWithin(name: string, value: number, [min, max]: readonly [number, number]): void {
  if (value < min || value > max)
    throw new CliError(exitCode.usage, `${name} ${value}: expected ${min} to ${max}`);
}
