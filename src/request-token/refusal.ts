/** Why a request token was not accepted, in the order of the check. */
export type RequestTokenRefusal = keyof typeof requestTokenStatus;

/** The HTTP status of each refusal. Not 401, which would have to name a way to authenticate (RFC 9110, section 15.5.2). */
export const requestTokenStatus = {
  "request-token-missing": 403,
  "request-token-malformed": 400,
  "request-token-version": 400,
  "request-token-mode": 403,
  "request-token-key-unknown": 400,
  "request-token-expired": 400,
  "request-token-future": 400,
  "request-token-certificate-mismatch": 403,
  "request-token-certificate-revoked": 403,
  "request-token-mismatch": 400,
  "request-token-invalid": 403,
  "request-token-replayed": 409,
  "nonce-store-full": 503,
} as const;

/**
 * The reason as the caller hears it. Whether it was the certificate or the tag that did not fit is for the audience's own
 * records: a thief who tries keys and certificates learns nothing from the difference.
 */
export function shownRefusal(reason: RequestTokenRefusal): RequestTokenRefusal {
  return reason === "request-token-certificate-mismatch" ? "request-token-invalid" : reason;
}

/** Whether another token, with another time or another key, may be accepted: the caller asks once more, and mints anew. */
export function isWorthAnotherToken(reason: RequestTokenRefusal): boolean {
  return mendable.has(reason);
}

const mendable: ReadonlySet<RequestTokenRefusal> = new Set<RequestTokenRefusal>([
  "request-token-mode",
  "request-token-missing",
  "request-token-key-unknown",
  "request-token-expired",
  "request-token-future",
  "request-token-invalid",
]);
