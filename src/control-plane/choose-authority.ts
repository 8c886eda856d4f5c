import {
  authoritiesUnder,
  certificateAuthoritiesOf,
  type KnownAuthority,
  type TrustState,
} from "../trust-log/index.ts";

/** From this share of its life on, an intermediate gives way to another one. */
const freshShare = 2 / 3;

/**
 * The authorities of a kind that may sign now, the one that should first: the active one while it is in the first two
 * thirds of its life, else the longest known that is, else what is left, the longest valid first. Tainted and revoked
 * ones may not, nor those below them, nor roots out of the trust bundle.
 */
export function authoritiesToSign(
  state: TrustState,
  kind: KnownAuthority["kind"],
  nowSeconds: number,
): readonly KnownAuthority[] {
  const ended = new Set(
    (["tainted", "revoked"] as const)
      .flatMap((status) => authoritiesUnder(state, status))
      .map(({ id }) => id),
  );
  const rank = (one: KnownAuthority): number => {
    const isFresh = isFreshAuthority(one, nowSeconds);
    if (one.status === "active") return isFresh ? 0 : 2;
    if (one.status === "prepared") return isFresh ? 1 : 3;
    return 4;
  };
  return certificateAuthoritiesOf(state)
    .filter(
      (one) =>
        one.kind === kind &&
        !ended.has(one.id) &&
        (kind === "intermediate" || one.isTrusted) &&
        nowSeconds >= one.certificate.notBeforeSeconds &&
        nowSeconds <= one.certificate.notAfterSeconds,
    )
    .toSorted(
      (left, right) =>
        rank(left) - rank(right) ||
        (rank(left) === 1
          ? left.certificate.notBeforeSeconds - right.certificate.notBeforeSeconds
          : right.certificate.notAfterSeconds - left.certificate.notAfterSeconds),
    );
}

/** Whether an authority is in the first two thirds of its life. */
export function isFreshAuthority({ certificate }: KnownAuthority, nowSeconds: number): boolean {
  const { notBeforeSeconds, notAfterSeconds } = certificate;
  return nowSeconds < notBeforeSeconds + (notAfterSeconds - notBeforeSeconds) * freshShare;
}
