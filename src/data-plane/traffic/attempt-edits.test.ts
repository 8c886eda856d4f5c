import { expect, test } from "vitest";
import { fieldsOf } from "../../../test/fuzz/http2-peers.ts";
import { judgeFields } from "../forwarding/judge-fields.ts";
import { defaultHttp1Limits, headerLines } from "../http1/index.ts";
import { readRequestHead } from "../http2/message-head.ts";
import { editsOfAttempt } from "./attempt-edits.ts";
import { grpcTimeoutMillis } from "./grpc-timeout.ts";

const edits = { remove: ["x-removed"], add: headerLines([["X-Added", "1"]]) };

test.each([
  [1, undefined, ["x-removed"], "X-Added: 1\r\n"],
  [2, undefined, ["x-removed"], "X-Added: 1\r\nTroth-Attempt: 2\r\n"],
  [3, 812.7, ["x-removed", "grpc-timeout"], "X-Added: 1\r\nTroth-Attempt: 3\r\ngrpc-timeout: 812m\r\n"],
])("attempt %i says so, and how much of a call's time is left", (attempt, left, remove, add) => {
  const made = editsOfAttempt(edits, attempt, left);

  expect([made.remove, Buffer.from(made.add).toString()]).toEqual([remove, add]);
});

test.each([
  ["5S", 5_000],
  ["100m", 100],
  ["2M", 120_000],
  ["1H", 3_600_000],
  ["500u", 0.5],
  ["1n", 0.000_001],
  ["123456789m", Number.POSITIVE_INFINITY],
  ["5", Number.POSITIVE_INFINITY],
  ["-1S", Number.POSITIVE_INFINITY],
  ["", Number.POSITIVE_INFINITY],
])("grpc-timeout: %j is %d ms", (value, millis) => {
  const head = readRequestHead(
    fieldsOf(
      [":method", "POST"],
      [":scheme", "http"],
      [":path", "/"],
      [":authority", "a"],
      ["grpc-timeout", value],
    ),
  );
  if (typeof head === "string") throw new Error(head);
  const request = judgeFields(head, false, defaultHttp1Limits);
  if (request.kind === "refused") throw new Error(request.reason);

  expect(grpcTimeoutMillis(request)).toBe(millis);
});
