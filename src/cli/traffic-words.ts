import type { TrafficPolicyManifest } from "../configuration/index.ts";

type Spec = TrafficPolicyManifest["spec"];
type Route = Spec["routes"][number];
type Retries = NonNullable<Spec["retries"]>;

/** A traffic policy in words, under headings; a fault that it injects stands with the requests that it is done to. */
export function trafficPairs({
  metadata,
  spec,
}: TrafficPolicyManifest): [string, string | readonly string[]][] {
  const { protocol, timeoutMillis, retries, retryBudgetPercent, inFlightMax, outliers, routes } = spec;
  const pairs: [string, string | readonly string[]][] = [
    ["TrafficPolicy", metadata.name],
    ["Protocol", protocol],
    ["Timeout", timeoutMillis === undefined || timeoutMillis === 0 ? "none" : millisText(timeoutMillis)],
    ["Retries", retries === undefined ? "none" : retriesText(retries)],
    ["Retry budget", `${retryBudgetPercent ?? 20} % of the requests of each caller's proxy`],
    ["In flight", inFlightMax === undefined ? "no bound" : `${inFlightMax} from a caller at an instance`],
  ];
  if (outliers !== undefined) {
    const { consecutiveFailures, ejectSeconds, ejectSecondsMax, ejectPercentMax } = outliers;
    pairs.push([
      "Outliers",
      `left alone after ${consecutiveFailures} failures in a row for ${ejectSeconds} s, at most ${ejectSecondsMax} s, ` +
        `at most ${ejectPercentMax} % of the instances`,
    ]);
  }
  if (routes.length > 0) pairs.push(["Routes", routes.map(routeText)]);
  return pairs;
}

/** What a policy does on all requests and on some, in one line. */
export function trafficSummary({ spec }: TrafficPolicyManifest): string {
  const { protocol, timeoutMillis = 0, retries, routes } = spec;
  const mirrors = routes.filter(({ mirror }) => mirror !== undefined).length;
  const faults = routes.filter(({ fault }) => fault !== undefined).length;
  return [
    ...(protocol === "tcp" ? ["TCP"] : []),
    ...(timeoutMillis > 0 ? [`timeout ${millisText(timeoutMillis)}`] : []),
    ...(retries === undefined || retries.retriesMax === 0 ? [] : [`${retries.retriesMax} retries`]),
    ...(routes.length > 0 ? [counted(routes.length, "route")] : []),
    ...(mirrors > 0 ? [counted(mirrors, "mirror")] : []),
    ...(faults > 0 ? [`INJECTS FAULTS on ${counted(faults, "route")}`] : []),
  ].join(", ");
}

/** One route: which requests, and what is different for them. */
export function routeText({ methods, paths, timeoutMillis, retries, mirror, fault }: Route): string {
  const which = [...methods, ...paths].join(" ") || "all requests";
  const what = [
    ...(timeoutMillis === undefined
      ? []
      : [timeoutMillis === 0 ? "no timeout" : `timeout ${millisText(timeoutMillis)}`]),
    ...(retries === undefined ? [] : [`retries: ${retriesText(retries)}`]),
    ...(mirror === undefined ? [] : [`${mirror.percent} % copied to ${mirror.to}`]),
    ...(fault === undefined ? [] : [faultText(fault)]),
  ];
  return `${which}: ${what.length === 0 ? "as the rest" : what.join("; ")}`;
}

function faultText({ percent, delayMillis, status }: NonNullable<Route["fault"]>): string {
  const held = delayMillis === undefined ? [] : [`held up for ${millisText(delayMillis)}`];
  const answered = status === undefined ? [] : [`answered ${status}`];
  return `FAULT: ${percent} % ${[...held, ...answered].join(" and ")}`;
}

function retriesText({ retriesMax, attemptMillis, on, methods }: Retries): string {
  if (retriesMax === 0) return "none";
  const which = methods.length === 0 ? "idempotent methods" : methods.join(" ");
  const bound = attemptMillis === undefined ? "" : `, an attempt at most ${millisText(attemptMillis)}`;
  return `up to ${retriesMax} after ${on.join(", ")}, of ${which}${bound}`;
}

function millisText(millis: number): string {
  return millis % 1000 === 0 ? `${millis / 1000} s` : `${millis} ms`;
}

function counted(count: number, noun: string): string {
  return count === 1 ? `1 ${noun}` : `${count} ${noun}s`;
}
