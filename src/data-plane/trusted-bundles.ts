import { bytesOfBase64, hexOf } from "../base/bytes.ts";
import { sha256 } from "../crypto/index.ts";
import {
  parseSpiffeBundle,
  parseTrustBundle,
  parseTrustDomain,
  type TrustBundle,
  type TrustBundles,
  trustBundlesOf,
} from "../identity/index.ts";
import { authoritiesUnder, type TrustState } from "../trust-log/index.ts";

/** What bundles were made from, one text after the other, and what came of them. */
interface MadeBundles {
  readonly state: TrustState;
  readonly size: number;
  readonly texts: readonly string[];
  readonly value: TrustBundles;
}

/** Whose certificates are believed, by the trust log: the trust domain's own roots, and what federated domains say of theirs. */
export class TrustedBundles {
  #made: MadeBundles | undefined;

  /** The same object as long as the same is trusted: what is remembered of SVIDs holds under it alone. */
  of(state: TrustState, size: number): TrustBundles {
    const last = this.#made;
    if (last?.state === state && last.size === size) return last.value;
    const texts = [...rootsOf(state), ...revokedKeysOf(state), ...federatedOf(state)];
    const isSame = last !== undefined && sameTexts(last.texts, texts);
    const value = isSame ? last.value : bundlesOf(state);
    this.#made = { state, size, texts, value };
    return value;
  }
}

/** What federated trust domains say of their authorities, each for itself; a bundle that cannot be read is none. */
export function federatedBundlesOf(state: TrustState): readonly TrustBundle[] {
  const bundles: TrustBundle[] = [];
  const federated = federatedOf(state);
  for (let place = 0; place < federated.length; place += 2) {
    const trustDomain = parseTrustDomain(federated[place] ?? "");
    const bundle = trustDomain.ok
      ? parseSpiffeBundle(trustDomain.value, federated[place + 1] ?? "")
      : undefined;
    // Without one nothing of a trust domain verifies.
    if (bundle?.ok === true) bundles.push(bundle.value.x509);
  }
  return bundles;
}

function bundlesOf(state: TrustState): TrustBundles {
  const own = ownBundle(rootsOf(state), revokedKeysOf(state));
  // Last, so that nobody else's word counts for this trust domain.
  return trustBundlesOf(...federatedBundlesOf(state), ...(own === undefined ? [] : [own]));
}

/** The trust domain, and the roots that its operators put into the log, in base64. */
function rootsOf(state: TrustState): readonly string[] {
  const roots = [...state.certificateAuthorities.entries()].filter(([, { isTrusted }]) => isTrusted);
  return [state.genesis?.trustDomain ?? "", ...roots.map(([, { certificate }]) => certificate)];
}

/** The keys of CAs that were revoked: what they signed counts no more, whatever the log says of it. */
function revokedKeysOf(state: TrustState): readonly string[] {
  return authoritiesUnder(state, "revoked").map(({ certificate }) =>
    hexOf(sha256(certificate.publicKeyInfo)),
  );
}

/** Each federated trust domain, followed by its bundle. */
function federatedOf(state: TrustState): readonly string[] {
  return [...state.federation.entries()].flatMap(([domain, { bundle }]) => [domain, bundle ?? ""]);
}

function sameTexts(left: readonly string[], right: readonly string[]): boolean {
  return left.length === right.length && left.every((text, place) => text === right[place]);
}

function ownBundle(
  [domain = "", ...roots]: readonly string[],
  revokedKeys: readonly string[],
): TrustBundle | undefined {
  const trustDomain = parseTrustDomain(domain);
  if (!trustDomain.ok) return undefined;
  const certificates = roots.map(bytesOfBase64).filter((der) => der !== undefined);
  const bundle = parseTrustBundle(trustDomain.value, certificates, new Set(revokedKeys));
  return bundle.ok ? bundle.value : undefined;
}
