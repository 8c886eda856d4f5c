import { expect, it, test } from "vitest";
import type { JsonObject } from "../base/canonical-json.ts";
import { entryInWords, waitsFor } from "./proposed-entry.ts";
import { reachedInWords, reachedOf } from "./proxy-progress.ts";

test.each<[string, JsonObject, string]>([
  [
    "rule.put",
    { from: "/a", to: "/b", effect: "allow", methods: ["GET"], paths: ["/x"] },
    "let /a call /b (only GET /x)",
  ],
  ["rule.put", { from: "/a", to: "/b", effect: "deny", methods: [], paths: [] }, "forbid /a to call /b"],
  ["rule.remove", { from: "/a", to: "/b" }, "remove the rule from /a to /b"],
  [
    "service.put",
    { name: "/a", nodes: ["*"], dataClass: "internal" },
    "register service /a (data class internal, on nodes *)",
  ],
  [
    "key.put",
    { name: "d/operator/x", role: "operator", publicKey: "AA==" },
    "add d/operator/x as operator with key AA==",
  ],
  [
    "authority.put",
    { kinds: ["rule.put"], grant: { role: "operator", signatures: 2, approvals: 1 } },
    "from now on rule.put takes 2 signatures of role operator and 1 approval",
  ],
  ["some.kind", { a: 1 }, 'some.kind {"a":1}'],
])("says what %s does", (kind, body, words) => {
  expect(entryInWords(kind, body)).toBe(words);
});

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

  expect(summary).toEqual({ known: 6, reached: 5, millis: 410, millisP50: 200, millisP99: 400, behind: [] });
  expect(reachedInWords(summary)).toBe("in force in 5 of 6 proxies (p50 200 ms, p99 400 ms)");
  expect(reachedInWords(reachedOf({ known: 0, reached: 0, millis: 1, byFollower: [] }, []))).toBe(
    "no proxy runs now",
  );
});
