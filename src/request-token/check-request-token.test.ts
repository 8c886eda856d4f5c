import { randomBytes } from "node:crypto";
import { expect, it } from "vitest";
import {
  defaultReplayWindow,
  deriveAudienceKey,
  deriveClientKey,
  importRequestTokenKey,
  keyPeriodAt,
  nonceSource,
  nonceWheel,
  requestTokenChecker,
  requestTokenMinter,
} from "./index.ts";

const audience = "0197f3a0-1111-7222-8333-444455556666/0011223344556677";
const context = {
  audience,
  spiffeId: "spiffe://shop.example/shop/cart",
  source: "/shop/cart",
  channelBinding: new Uint8Array(32).fill(0xcb),
  certificateFingerprint: new Uint8Array(32).fill(0xf1),
};
const request = { method: "POST", destination: "/shop/pay", path: "/charge?x=1", contentDigest: "" };

it("accepts a token once", () => {
  const now = 1_800_000_000_000;
  const root = importRequestTokenKey(new Uint8Array(32).fill(7));
  const audienceKey = deriveAudienceKey(root, keyPeriodAt(now), audience);
  const mint = requestTokenMinter({ ...context, mode: "granted", nonces: nonceSource(randomBytes) });
  const check = requestTokenChecker(
    {
      audience,
      keyOf: () => audienceKey,
      issuerMillis: () => now,
      window: defaultReplayWindow,
      nonces: nonceWheel({ window: defaultReplayWindow, randomBytes }),
    },
    { ...context, isRevoked: () => false },
  );
  const clientKey = deriveClientKey(audienceKey, { ...context, ...request, mode: "granted" });

  const token = mint(clientKey, request, now);

  expect(check(token, request, "granted").ok).toBe(true);
  expect(check(token, request, "granted")).toMatchObject({ ok: false, reason: "request-token-replayed" });
});
