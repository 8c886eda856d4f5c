import { expect, it } from "vitest";
import { checkTokenReview } from "./token-review.ts";

const podKeys = {
  "authentication.kubernetes.io/pod-name": ["payments-7d9f"],
  "authentication.kubernetes.io/pod-uid": ["4a1d3a6e-0000-4000-8000-000000000002"],
};
const user = { username: "system:serviceaccount:shop:payments", uid: "1", extra: podKeys };

function review(status: unknown, more: object = {}): string {
  return JSON.stringify({ apiVersion: "authentication.k8s.io/v1", kind: "TokenReview", status, ...more });
}

it("says whose a token is that the cluster takes", () => {
  const text = review({ authenticated: true, user, audiences: ["troth", "other"] });

  expect(checkTokenReview(text, { audience: "troth" })).toEqual({
    ok: true,
    value: {
      namespace: "shop",
      serviceAccount: "payments",
      podName: "payments-7d9f",
      podUid: "4a1d3a6e-0000-4000-8000-000000000002",
    },
  });
  expect(checkTokenReview(review({ authenticated: true, user }), { audience: undefined }).ok).toBe(true);
});

const refused: readonly (readonly [reason: string, text: string])[] = [
  ["malformed-json", "{"],
  ["duplicate-key", '{"kind":"TokenReview","kind":"TokenReview"}'],
  ["not-a-review", "[]"],
  ["not-a-review", review({ authenticated: true, user }, { kind: "Status" })],
  ["not-a-review", review({ authenticated: true, user }, { apiVersion: "authentication.k8s.io/v1beta1" })],
  ["not-authenticated", review(undefined)],
  ["not-authenticated", review({ authenticated: false, error: "expired", user })],
  ["not-authenticated", review({ authenticated: "true", user, audiences: ["troth"] })],
  ["wrong-audience", review({ authenticated: true, user })],
  ["wrong-audience", review({ authenticated: true, user, audiences: ["other"] })],
  ["wrong-audience", review({ authenticated: true, user, audiences: "troth" })],
  ["no-service-account", review({ authenticated: true, audiences: ["troth"] })],
  ...["system:node:edge", "system:serviceaccount:shop", "system:serviceaccount:shop:a:b", "admin"].map(
    (username) =>
      [
        "no-service-account",
        review({ authenticated: true, user: { ...user, username }, audiences: ["troth"] }),
      ] as const,
  ),
  [
    "no-service-account",
    review({
      authenticated: true,
      user: { ...user, username: "system:serviceaccount:shop:P A" },
      audiences: ["troth"],
    }),
  ],
  ["no-pod", review({ authenticated: true, user: { ...user, extra: {} }, audiences: ["troth"] })],
  [
    "malformed-claim",
    review({
      authenticated: true,
      user: {
        ...user,
        extra: { ...podKeys, "authentication.kubernetes.io/pod-uid": ["one", "two"] },
      },
      audiences: ["troth"],
    }),
  ],
];

it.each(refused)("refuses as %s: %s", (reason, text) => {
  expect(checkTokenReview(text, { audience: "troth" })).toMatchObject({ ok: false, reason });
});
