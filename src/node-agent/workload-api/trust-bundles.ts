import { bytesOfBase64 } from "../../base/bytes.ts";
import { parseSpiffeBundle, parseTrustDomain, tokenKeysOf } from "../../identity/index.ts";
import { publishedTokenKeys, type TokenUse, type TrustState } from "../../trust-log/index.ts";

type TokenKeys = ReturnType<typeof tokenKeysOf>;

/** What a trust domain's credentials are checked by. */
export interface DomainBundle {
  readonly trustDomain: string;
  /** Certificates of its authorities, DER. */
  readonly authorities: readonly Uint8Array[];
  /** By which JWT-SVIDs and WIT-SVIDs are checked, by `kid`. */
  readonly jwtKeys: TokenKeys;
  readonly witKeys: TokenKeys;
}

/** The bundle of the trust domain itself: the roots that the operators trust and the keys that sign its tokens. */
export function ownBundle(state: TrustState): DomainBundle {
  const authorities = [...state.certificateAuthorities.entries()].flatMap(([, { isTrusted, certificate }]) =>
    isTrusted ? (bytesOfBase64(certificate) ?? []) : [],
  );
  return {
    trustDomain: state.genesis?.trustDomain ?? "",
    authorities,
    jwtKeys: ownKeys(state, "jwt-svid"),
    witKeys: ownKeys(state, "wit-svid"),
  };
}

/** The bundles of the trust domains that are federated with, in the order of their names. */
export function federatedBundles({ federation }: TrustState): DomainBundle[] {
  return [...federation.entries()]
    .flatMap(([name, { bundle }]) => {
      const trustDomain = parseTrustDomain(name);
      if (!trustDomain.ok || bundle === undefined) return [];
      const read = parseSpiffeBundle(trustDomain.value, bundle);
      if (!read.ok) return [];
      const { x509, jwtKeys, witKeys } = read.value;
      const authorities = x509.authorities.map(({ der }) => der);
      return [{ trustDomain: name, authorities, jwtKeys, witKeys }];
    })
    .sort((left, right) => (left.trustDomain < right.trustDomain ? -1 : 1));
}

function ownKeys(state: TrustState, use: TokenUse): TokenKeys {
  return tokenKeysOf(publishedTokenKeys(state, use).map(({ publicKey }) => publicKey));
}
