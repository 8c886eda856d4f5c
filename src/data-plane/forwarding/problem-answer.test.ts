import { expect, it } from "vitest";
import { problemAnswer } from "./problem-answer.ts";

const problem = {
  status: 403,
  reason: "rule-denies",
  detail: 'the rule "/a /b" denies it',
  decisionId: "0123",
  rule: "/a /b",
  missing: 'the end of the rule "/a /b"',
};

function documentOf(answer: { readonly body: Uint8Array }): unknown {
  return JSON.parse(Buffer.from(answer.body).toString());
}

it("tells a member all that would help", () => {
  expect(documentOf(problemAnswer(problem))).toEqual({
    type: "urn:troth:problem:rule-denies",
    title: "Forbidden",
    ...problem,
  });
});

it("tells a stranger the status and the number to quote, and nothing else", () => {
  expect(documentOf(problemAnswer(problem, "stranger"))).toEqual({ status: 403, decisionId: "0123" });
  expect(documentOf(problemAnswer({ status: 502, reason: "upstream-reset" }, "stranger"))).toEqual({
    status: 502,
  });
});
