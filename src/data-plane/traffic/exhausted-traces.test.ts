import { expect, test } from "vitest";
import { fakeClock } from "../../../test/fakes/fake-clock.ts";
import { fieldsOf } from "../../../test/fuzz/http2-peers.ts";
import type { RequestHead } from "../forwarding/index.ts";
import { judgeFields } from "../forwarding/judge-fields.ts";
import { defaultHttp1Limits } from "../http1/index.ts";
import { readRequestHead } from "../http2/message-head.ts";
import { ExhaustedTraces } from "./exhausted-traces.ts";

function requestOf(...traceparents: string[]): RequestHead {
  const head = readRequestHead(
    fieldsOf(
      [":method", "GET"],
      [":scheme", "http"],
      [":path", "/"],
      [":authority", "a"],
      ...traceparents.map((value) => ["traceparent", value] as const),
    ),
  );
  if (typeof head === "string") throw new Error(head);
  const request = judgeFields(head, false, defaultHttp1Limits);
  if (request.kind === "refused") throw new Error(request.reason);
  return request;
}

const trace = (number: number, span = "1"): string =>
  `00-${number.toString(16).padStart(32, "0")}-${span.repeat(16)}-01`;

test("a request is covered by its trace, whatever its span, for a minute", () => {
  const clock = fakeClock();
  const traces = new ExhaustedTraces(clock);
  expect(traces.isEmpty).toBe(true);
  traces.add(requestOf(trace(1)));

  expect([trace(1, "2"), trace(2)].map((one) => traces.covers(requestOf(one)))).toEqual([true, false]);
  expect(traces.isEmpty).toBe(false);
  clock.advanceSeconds(60);
  expect(traces.covers(requestOf(trace(1)))).toBe(false);
});

test("a request without one trace is not remembered", () => {
  const traces = new ExhaustedTraces(fakeClock());
  for (const request of [requestOf(), requestOf(trace(1), trace(1)), requestOf("00-zz-11-01")])
    traces.add(request);

  expect(traces.isEmpty).toBe(true);
  expect(traces.covers(requestOf())).toBe(false);
});

test("the oldest of more than a thousand are forgotten", () => {
  const traces = new ExhaustedTraces(fakeClock());
  for (let number = 0; number < 1_001; number += 1) traces.add(requestOf(trace(number)));
  expect([0, 1, 1_000].map((number) => traces.covers(requestOf(trace(number))))).toEqual([false, true, true]);
});
