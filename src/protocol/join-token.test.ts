import fc from "fast-check";
import { expect, it, test } from "vitest";
import { formatJoinToken, type JoinToken, parseJoinToken } from "./join-token.ts";

const token: JoinToken = {
  node: "edge-1",
  address: "127.0.0.1:7443",
  genesis: "AAAA",
  logKey: "example.org/trust-log+00000000+AAAA",
  inviteKey: "MC4CAQAwBQYDK2VwBCIEIA==",
};

it("reads what it wrote, from one word", () => {
  const text = formatJoinToken(token);

  expect(text).toMatch(/^troth-join-1\.[A-Za-z0-9_-]+$/);
  expect(parseJoinToken(text)).toEqual({ ok: true, value: token });
});

it("refuses a token that lost any of its characters at either end", () => {
  const text = formatJoinToken(token);

  for (let cut = 1; cut < text.length; cut += 1) {
    expect([cut, parseJoinToken(text.slice(0, -cut)).ok]).toEqual([cut, false]);
    expect([cut, parseJoinToken(text.slice(cut)).ok]).toEqual([cut, false]);
  }
});

test.each([
  ["another version", formatJoinToken(token).replace("join-1", "join-2")],
  ["nothing", ""],
  ["the prefix alone", "troth-join-1."],
  ["too much", `troth-join-1.${"A".repeat(2_100)}`],
  ["a field missing", word('{"address":"a:1","genesis":"","logKey":"","node":"n"}')],
  ["a number for a field", word('{"address":"a:1","genesis":"","inviteKey":"","logKey":"","node":1}')],
  ["a key in no base64", word('{"address":"a:1","genesis":"","inviteKey":"*","logKey":"","node":"n"}')],
  ["JSON of another spelling", word('{ "node": "n" }')],
  ["no object", word("[]")],
])("refuses %s", (_what, text) => {
  expect(parseJoinToken(text)).toMatchObject({ ok: false, reason: "malformed-join-token" });
});

it("never throws, whatever it is given, and never shows it", () => {
  fc.assert(
    fc.property(fc.string(), fc.json(), (text, json) => {
      for (const presented of [text, word(text), word(json)]) {
        const parsed = parseJoinToken(presented);
        if (!parsed.ok && text.length > 12) expect(parsed.detail).not.toContain(text);
      }
    }),
  );
});

function word(text: string): string {
  return `troth-join-1.${Buffer.from(text).toString("base64url")}`;
}
