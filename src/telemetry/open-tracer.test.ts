import { randomBytes } from "node:crypto";
import { expect, it } from "vitest";
import { openCollector } from "../../test/apparatus/otlp-collector.ts";
import { fakeClock } from "../../test/fakes/fake-clock.ts";
import { silentLog } from "../../test/fakes/silent-log.ts";
import { openTracer, type Sampling, type Tracer, type TraceStep } from "./open-tracer.ts";

const always = { isParentBased: true, ratio: 1 };
const parent = { traceId: "4bf92f3577b34da6a3ce929d0e0e4736", parentId: "00f067aa0ba902b7" };

function tracerTo(url: string, sampling: Sampling = always): Promise<Tracer> {
  const resource = { "service.name": "web" };
  return openTracer(
    { url, sampling },
    { resource, clock: fakeClock(), randomBytes: (length) => randomBytes(length), log: silentLog },
  );
}

function finish(tracer: Tracer, step: TraceStep = tracer.begin(undefined)): void {
  const span = { side: "server", name: "GET", durationMicros: 5, isError: false } as const;
  tracer.finish({ ...span, step, attributes: { "url.path": "/only-here" } });
}

it("continues a trace, and begins one where there is none", async () => {
  await using tracer = await tracerTo("http://127.0.0.1:9/v1/traces");

  const continued = tracer.begin({ ...parent, isSampled: false });
  const begun = tracer.begin(undefined);

  expect(continued).toEqual({
    traceId: parent.traceId,
    parentId: parent.parentId,
    spanId: expect.stringMatching(/^[0-9a-f]{16}$/),
    isSampled: false,
  });
  expect(begun).toMatchObject({ traceId: expect.stringMatching(/^[0-9a-f]{32}$/), isSampled: true });
  expect(begun.parentId).toBeUndefined();
});

it.each([
  [{ isParentBased: true, ratio: 0 }, true, true],
  [{ isParentBased: true, ratio: 1 }, false, false],
  [{ isParentBased: false, ratio: 0 }, true, false],
  [{ isParentBased: false, ratio: 1 }, false, true],
])("samples by %o a trace whose beginning was sampled: %o", async (sampling, isSampled, expected) => {
  await using tracer = await tracerTo("http://127.0.0.1:9/v1/traces", sampling);

  expect(tracer.begin({ ...parent, isSampled }).isSampled).toBe(expected);
});

it("samples the same share of traces in every process", async () => {
  await using one = await tracerTo("http://127.0.0.1:9/v1/traces", { isParentBased: false, ratio: 0.25 });
  await using other = await tracerTo("http://127.0.0.1:9/v1/traces", { isParentBased: false, ratio: 0.25 });
  const ids = Array.from({ length: 4_000 }, () => randomBytes(16).toString("hex"));
  const sampledBy = (tracer: Tracer): string[] =>
    ids.filter((traceId) => tracer.begin({ ...parent, traceId, isSampled: false }).isSampled);

  const sampled = sampledBy(one);

  expect(sampledBy(other)).toEqual(sampled);
  expect(sampled.length).toBeGreaterThan(800);
  expect(sampled.length).toBeLessThan(1_200);
});

it("exports what is sampled and nothing else, at the latest when it closes", async () => {
  await using collector = await openCollector(200);
  const tracer = await tracerTo(collector.url);
  const unsampled = tracer.begin({ ...parent, isSampled: false });

  finish(tracer);
  finish(tracer, unsampled);
  await tracer[Symbol.asyncDispose]();

  expect(tracer.counts).toEqual({ exported: 1, dropped: 0 });
  expect(collector.bodies.map((body) => body.includes("/only-here"))).toEqual([true]);
  expect(collector.bodies[0]?.includes(Buffer.from(parent.traceId, "hex"))).toBe(false);
});

it("counts what a collector refuses as dropped", async () => {
  await using collector = await openCollector(400);
  const tracer = await tracerTo(collector.url);

  finish(tracer);
  await tracer[Symbol.asyncDispose]();

  expect(tracer.counts).toEqual({ exported: 0, dropped: 1 });
});

it("keeps no more than its queue holds, and counts the rest", async () => {
  await using collector = await openCollector(200);
  const tracer = await tracerTo(collector.url);

  for (let count = 0; count < 10_000; count += 1) finish(tracer);
  const dropped = tracer.counts.dropped;
  await tracer[Symbol.asyncDispose]();

  // One batch is on its way and the queue is full.
  expect(dropped).toBe(10_000 - 2_048 - 512);
  expect(tracer.counts).toEqual({ exported: 2_560, dropped });
});
