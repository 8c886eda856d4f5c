import { create } from "@bufbuild/protobuf";
import { concatBytes } from "../../base/bytes.ts";
import {
  type X509BundlesResponse,
  X509BundlesResponseSchema,
  type X509SVIDResponse,
  X509SVIDResponseSchema,
} from "../../protocol/index.ts";
import type { TrustState } from "../../trust-log/index.ts";
import { derOfPem } from "./pem-blocks.ts";
import { type DomainBundle, federatedBundles, ownBundle } from "./trust-bundles.ts";
import type { Grant } from "./workload-grants.ts";

/** All X.509-SVIDs of a caller, as FetchX509SVID says them. */
export function x509SvidResponse(
  grants: readonly Grant[],
  state: TrustState,
  crl: readonly Uint8Array[],
): X509SVIDResponse {
  const bundle = concatBytes(...ownBundle(state).authorities);
  const hints = new Set<string>();
  const svids = grants.map(({ spiffeId, svid, entry }) => ({
    spiffeId,
    x509Svid: concatBytes(...derOfPem(svid.chainPem)),
    x509SvidKey: concatBytes(...derOfPem(svid.privateKeyPem)),
    bundle,
    hint: onceOnly(entry.hint, hints),
  }));
  return create(X509SVIDResponseSchema, {
    svids,
    crl: [...crl],
    federatedBundles: byTrustDomain(federatedBundles(state)),
  });
}

/** All bundles by which X.509-SVIDs are checked, as FetchX509Bundles says them. */
export function x509BundlesResponse(state: TrustState, crl: readonly Uint8Array[]): X509BundlesResponse {
  const bundles = byTrustDomain([ownBundle(state), ...federatedBundles(state)]);
  return create(X509BundlesResponseSchema, { crl: [...crl], bundles });
}

/** A hint is of one SVID alone; who reads two of the same takes the first. */
export function onceOnly(hint: string, taken: Set<string>): string {
  if (hint === "" || taken.has(hint)) return "";
  taken.add(hint);
  return hint;
}

function byTrustDomain(bundles: readonly DomainBundle[]): Record<string, Uint8Array> {
  return Object.fromEntries(
    bundles.map(({ trustDomain, authorities }) => [`spiffe://${trustDomain}`, concatBytes(...authorities)]),
  );
}
