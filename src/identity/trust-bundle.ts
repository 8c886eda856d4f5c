import { fail, ok, type Result } from "../base/result.ts";
import { type ParsedCertificate, parseCertificate } from "../crypto/index.ts";
import type { TrustDomain } from "./spiffe-id.ts";

/** The CA certificates under which the SVIDs of one trust domain verify; none of them means that none verifies. */
export interface TrustBundle {
  readonly trustDomain: TrustDomain;
  readonly authorities: readonly ParsedCertificate[];
  /** No path goes through a certificate with one of these keys (SHA-256 of the SubjectPublicKeyInfo, hex). */
  readonly revokedKeys?: ReadonlySet<string>;
}

/** The bundles of all trust domains that are accepted, each used for its own domain alone. */
export type TrustBundles = ReadonlyMap<TrustDomain, TrustBundle>;

/** Why certificates are not a trust bundle. */
export type TrustBundleRefusal = "malformed-certificate" | "not-an-authority" | "too-many-authorities";

/** How many CA certificates a bundle may hold. */
export const bundleAuthoritiesMax = 32;

/**
 * Reads the CA certificates of a trust domain (DER); all must be CAs that may sign certificates. `revokedKeys` are those
 * of CAs that count no more, whoever vouches for them. Never throws.
 */
export function parseTrustBundle(
  trustDomain: TrustDomain,
  certificates: readonly Uint8Array[],
  revokedKeys: ReadonlySet<string> = new Set(),
): Result<TrustBundle, TrustBundleRefusal> {
  if (certificates.length > bundleAuthoritiesMax) {
    return fail("too-many-authorities", `${certificates.length} certificates`);
  }
  const authorities: ParsedCertificate[] = [];
  for (const der of certificates) {
    const parsed = parseCertificate(der);
    if (!parsed.ok) return fail("malformed-certificate", `${parsed.reason}: ${parsed.detail}`);
    if (!isAuthority(parsed.value)) return fail("not-an-authority", parsed.value.subject.text);
    authorities.push(parsed.value);
  }
  return ok({ trustDomain, authorities, revokedKeys });
}

/** Several bundles under their own trust domains; of two for one domain the later counts. */
export function trustBundlesOf(...bundles: readonly TrustBundle[]): TrustBundles {
  return new Map(bundles.map((bundle) => [bundle.trustDomain, bundle]));
}

/** Whether a certificate is a CA's and may sign certificates (RFC 5280 sections 4.2.1.3 and 4.2.1.9). */
export function isAuthority({ basicConstraints, keyUsage }: ParsedCertificate): boolean {
  return basicConstraints?.isCa === true && keyUsage?.has("keyCertSign") === true;
}
