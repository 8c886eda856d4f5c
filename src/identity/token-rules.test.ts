import { expect, test } from "vitest";
import { tokenCases } from "../../test/apparatus/token-cases.ts";
import { checkJwtSvid, checkWitSvid, type TokenChecks } from "./index.ts";

const nowSeconds = 1_800_000_000;
const { cases, audience, keys } = tokenCases(nowSeconds);

function verdictOf(kind: "jwt" | "wit", token: string): string {
  const checks: TokenChecks = {
    keysOf: (trustDomain) => keys[kind].get(trustDomain),
    nowSeconds,
    isRevoked: () => false,
  };
  const checked = kind === "jwt" ? checkJwtSvid(token, { ...checks, audience }) : checkWitSvid(token, checks);
  return checked.ok ? "accepted" : checked.reason;
}

test.each(cases)("$kind: $name: $verdict", ({ kind, token, verdict }) => {
  expect(verdictOf(kind, token)).toBe(verdict);
});
