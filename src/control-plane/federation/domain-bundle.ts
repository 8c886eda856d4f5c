import type { KeyObject } from "node:crypto";
import { bytesOfBase64 } from "../../base/bytes.ts";
import { p256PublicKey } from "../../crypto/index.ts";
import {
  parseSpiffeBundle,
  parseTrustBundle,
  type SpiffeBundle,
  type TrustBundle,
  type TrustDomain,
  writeSpiffeBundle,
} from "../../identity/index.ts";
import { isRevokedAuthority, type TrustState } from "../../trust-log/index.ts";

/** How soon others are asked to look again, in seconds; SPIFFE Federation section 5.2.7 has keys out several times as early. */
export const refreshHintSeconds = 60;
/** Room for the sizes of one generation of a log, so that the next one's sequence is above all of them. */
const sizesPerGeneration = 2n ** 32n;

/**
 * What a trust domain says of its keys by its log: the roots that are trusted, and the keys for tokens that have neither
 * expired nor been revoked.
 */
export function domainBundle(
  state: TrustState,
  trustDomain: TrustDomain,
  sequence: bigint | undefined,
): SpiffeBundle {
  const tokenKeys = { "jwt-svid": new Map<string, KeyObject>(), "wit-svid": new Map<string, KeyObject>() };
  const nowSeconds = state.genesis?.epochTimeSeconds ?? 0;
  for (const [kid, { use, publicKey, notAfterSeconds }] of state.tokenKeys.entries()) {
    const key = p256PublicKey(bytesOfBase64(publicKey) ?? new Uint8Array(0));
    const isGood = notAfterSeconds >= nowSeconds && !isRevokedAuthority(state, kid);
    if (key !== undefined && isGood) tokenKeys[use].set(kid, key);
  }
  return {
    trustDomain,
    x509: ownTrustBundle(state, trustDomain),
    jwtKeys: tokenKeys["jwt-svid"],
    witKeys: tokenKeys["wit-svid"],
    sequence,
    refreshHintSeconds,
  };
}

/** The bundle under which SVIDs of a trust domain verify now: our own, or one of a federated trust domain. */
export function trustBundleOf(state: TrustState, trustDomain: TrustDomain): TrustBundle {
  if (trustDomain === state.genesis?.trustDomain) return ownTrustBundle(state, trustDomain);
  const text = state.federation.get(trustDomain)?.bundle;
  const bundle = text === undefined ? undefined : parseSpiffeBundle(trustDomain, text);
  return bundle?.ok === true ? bundle.value.x509 : { trustDomain, authorities: [] };
}

function ownTrustBundle(state: TrustState, trustDomain: TrustDomain): TrustBundle {
  const certificates: Uint8Array[] = [];
  for (const [, { certificate, isTrusted }] of state.certificateAuthorities.entries()) {
    const der = isTrusted ? bytesOfBase64(certificate) : undefined;
    if (der !== undefined) certificates.push(der);
  }
  const bundle = parseTrustBundle(trustDomain, certificates);
  return bundle.ok ? bundle.value : { trustDomain, authorities: [] };
}

/** What a published bundle is made from. */
interface BundleSource {
  readonly trustDomain: TrustDomain;
  readonly state: () => TrustState;
  /** The log's size. */
  readonly size: () => number;
}

/**
 * The trust domain's bundle as it is published: its sequence is the size of the log when the content last changed, or
 * when this process began, above what any earlier generation of the log had.
 */
export class PublishedBundle {
  readonly #source: BundleSource;
  #size = -1;
  #content = "";
  #text = "";

  constructor(source: BundleSource) {
    this.#source = source;
  }

  /** The JSON of now. */
  get text(): string {
    const { trustDomain, state: stateOf, size: sizeOf } = this.#source;
    const size = sizeOf();
    if (size === this.#size) return this.#text;
    const state = stateOf();
    const bundle = domainBundle(state, trustDomain, undefined);
    const content = writeSpiffeBundle(bundle);
    if (content !== this.#content) {
      const generations = BigInt(state.genesis?.recoveredSizes.length ?? 0);
      const sequence = generations * sizesPerGeneration + BigInt(size);
      this.#text = writeSpiffeBundle({ ...bundle, sequence });
    }
    this.#content = content;
    this.#size = size;
    return this.#text;
  }
}
