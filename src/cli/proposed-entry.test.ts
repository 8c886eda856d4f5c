import { expect, it, test } from "vitest";
import { waitsFor } from "./proposed-entry.ts";
import { reachedInWords, reachedOf } from "./proxy-progress.ts";

test.each([
  [
    { signatures: 1, approvals: 1 },
    "waits for 1 more signature of an operator and 1 approval: troth approve 0123456789ab",
  ],
  [{ signatures: 0, approvals: 2 }, "waits for 2 approvals: troth approve 0123456789ab"],
  [{ signatures: 2, approvals: 0 }, "waits for 2 more signatures of an operator: troth approve 0123456789ab"],
])("says what an entry waits for", (missing, words) => {
  expect(waitsFor({ id: "0123456789abcdef", kind: "rule.put", what: "", role: "operator", missing })).toBe(
    words,
  );
});

it("tells the median and the 99th percentile of the acknowledgements whose time is known", () => {
  const byFollower = [400, 100, 0, 300, 200].map((millis, place) => ({
    service: "/a",
    instance: `${place}`,
    millis,
  }));

  const summary = reachedOf({ known: 6, reached: 5, millis: 410, byFollower }, []);

  expect(summary).toEqual({
    known: 6,
    reached: 5,
    millis: 410,
    millisP50: 200,
    millisP99: 400,
    millisLast: 400,
    behind: [],
  });
  expect(reachedInWords(summary)).toBe("in force in 5 of 6 proxies (p50 200 ms, p99 400 ms)");
  expect(reachedInWords(reachedOf({ known: 0, reached: 0, millis: 1, byFollower: [] }, []))).toBe(
    "no proxy runs now",
  );
});
