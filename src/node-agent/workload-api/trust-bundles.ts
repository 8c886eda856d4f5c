import { bytesOfBase64 } from "../../base/bytes.ts";
import type { TrustState } from "../../trust-log/index.ts";

/** What a trust domain's credentials are checked by. */
export interface DomainBundle {
  readonly trustDomain: string;
  /** Certificates of its authorities, DER. */
  readonly authorities: readonly Uint8Array[];
}

/** The bundle of the trust domain itself: the roots that the operators trust. */
export function ownBundle({ genesis, certificateAuthorities }: TrustState): DomainBundle {
  const authorities = [...certificateAuthorities.entries()].flatMap(([, { isTrusted, certificate }]) =>
    isTrusted ? (bytesOfBase64(certificate) ?? []) : [],
  );
  return { trustDomain: genesis?.trustDomain ?? "", authorities };
}

/** The bundles of the trust domains that are federated with. */
export function federatedBundles(_state: TrustState): DomainBundle[] {
  return [];
}
