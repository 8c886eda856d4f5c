import { publicJwkOf } from "../../crypto/index.ts";
import type { TokenUse, TrustState } from "../../trust-log/index.ts";
import { type DomainBundle, federatedBundles, ownBundle } from "./trust-bundles.ts";

/** The keys of all trust domains by which tokens of one use are checked: a JWK set each, by the trust domain's ID. */
export function tokenBundles(state: TrustState, use: TokenUse): ReadonlyMap<string, string> {
  return new Map(
    [ownBundle(state), ...federatedBundles(state)].map((bundle) => [
      `spiffe://${bundle.trustDomain}`,
      keySetOf(bundle, use),
    ]),
  );
}

/** The keys of one use, as RFC 7517 has a set of them. */
function keySetOf(bundle: DomainBundle, use: TokenUse): string {
  const keys = use === "jwt-svid" ? bundle.jwtKeys : bundle.witKeys;
  return JSON.stringify({ keys: [...keys].map(([kid, key]) => ({ ...publicJwkOf(key), use, kid })) });
}
