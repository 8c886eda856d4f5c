import { expect, it } from "vitest";
import { fakeClock } from "../../test/fakes/fake-clock.ts";
import { HttpDurations, type HttpRequestSample } from "./http-metrics.ts";

const sample: HttpRequestSample = {
  service: "/shop/web",
  method: "GET",
  status: 200,
  error: undefined,
  durationMicros: 6_000,
};

function linesOf(durations: HttpDurations, ending: string): string[] {
  return durations
    .text()
    .split("\n")
    .filter((line) => line.includes(ending));
}

it("counts a request in every bucket that its duration fits in", () => {
  const durations = new HttpDurations("server", fakeClock());

  durations.observe(sample);
  durations.observe({ ...sample, durationMicros: 10_000_001 });

  const labels = 'server_address="/shop/web",http_request_method="GET",http_response_status_code="200"';
  const name = "http_server_request_duration_seconds";
  expect(linesOf(durations, 'le="0.005"')).toEqual([`${name}_bucket{${labels},le="0.005"} 0`]);
  expect(linesOf(durations, 'le="0.01"')).toEqual([`${name}_bucket{${labels},le="0.01"} 1`]);
  expect(linesOf(durations, 'le="10"')).toEqual([`${name}_bucket{${labels},le="10"} 1`]);
  expect(linesOf(durations, 'le="+Inf"')).toEqual([`${name}_bucket{${labels},le="+Inf"} 2`]);
  expect(linesOf(durations, "_sum")).toEqual([`${name}_sum{${labels}} 10.006001`]);
  expect(linesOf(durations, "_count")).toEqual([`${name}_count{${labels}} 2`]);
});

it("puts a duration on a bound into the bucket of that bound", () => {
  const durations = new HttpDurations("server", fakeClock());

  durations.observe({ ...sample, durationMicros: 5_000 });

  expect(linesOf(durations, 'le="0.005"')[0]).toMatch(/ 1$/);
});

it.each([
  ["server", 404, ""],
  ["server", 500, ',error_type="500"'],
  ["client", 404, ',error_type="404"'],
  ["client", 302, ""],
] as const)("says of a %s's %d what its error type is", (side, status, error) => {
  const durations = new HttpDurations(side, fakeClock());

  durations.observe({ ...sample, status });

  expect(linesOf(durations, "_count")).toEqual([
    `http_${side}_request_duration_seconds_count{server_address="/shop/web",http_request_method="GET",http_response_status_code="${status}"${error}} 1`,
  ]);
});

it("keeps methods, statuses and services few, whoever sends them", () => {
  const durations = new HttpDurations("client", fakeClock());

  for (let number = 0; number < 2_000; number += 1)
    durations.observe({ ...sample, method: `M${number}`, service: `/a/${number}`, status: 600 + number });
  const counts = linesOf(durations, "_count");

  expect(counts.length).toBe(65);
  expect(counts.every((line) => line.includes('http_request_method="_OTHER"'))).toBe(true);
  expect(counts.at(-1)).toMatch(/server_address="_OTHER".* 1936$/);
});

it("counts what is beyond the last label set under _OTHER, and loses nothing", () => {
  const durations = new HttpDurations("client", fakeClock());

  for (let number = 0; number < 10_000; number += 1)
    durations.observe({ ...sample, service: `/a/${number % 60}`, status: 100 + (number % 497) });
  const counts = linesOf(durations, "_count").map((line) => Number(line.split(" ").at(-1)));

  expect(counts.length).toBeLessThanOrEqual(257);
  expect(counts.reduce((sum, count) => sum + count, 0)).toBe(10_000);
});

it("forgets label sets that nobody has used for ten minutes, and makes room", () => {
  const clock = fakeClock();
  const durations = new HttpDurations("client", clock);
  for (let number = 0; number < 64; number += 1) durations.observe({ ...sample, service: `/old/${number}` });
  clock.advanceSeconds(599);
  durations.observe({ ...sample, service: "/old/0" });
  clock.advanceSeconds(1);

  const kept = linesOf(durations, "_count");
  durations.observe({ ...sample, service: "/new" });

  expect(kept).toHaveLength(1);
  expect(linesOf(durations, "_count").map((line) => /address="([^"]*)"/.exec(line)?.[1])).toEqual([
    "/old/0",
    "/new",
  ]);
});
