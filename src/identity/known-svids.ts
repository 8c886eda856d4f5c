import { hexOf } from "../base/bytes.ts";
import { ok, type Result } from "../base/result.ts";
import { sha256 } from "../crypto/index.ts";
import { type CheckedSvid, checkSvid, type SvidRefusal } from "./check-svid.ts";
import type { TrustBundles } from "./trust-bundle.ts";

/** How many SVIDs are remembered; each is some kilobytes, and the one that came first makes room for a new one. */
export const knownSvidsMax = 1_024;

/** What a peer presented; the chain is read only when the leaf is not known. */
export interface PresentedSvid {
  /** DER; undefined where nothing was presented. */
  readonly leaf: Uint8Array | undefined;
  /** DER, the leaf first. */
  readonly chain: () => readonly Uint8Array[];
}

/**
 * Remembers which leaf certificates have passed {@link checkSvid}, so that a peer that comes back costs no signature
 * check. Refusals are not remembered. What is remembered holds under the very bundles that it was checked against, and
 * in no second in which a certificate of its path does not: it is checked anew otherwise, and so refused for its reason.
 * Neither registration nor revocation is judged here, nor whether the peer holds the key: TLS says that each time.
 */
export class KnownSvids {
  readonly #known = new Map<string, CheckedSvid>();
  #bundles: TrustBundles | undefined;

  /** As {@link checkSvid}. Other bundles than last time, by identity, make it forget everything. */
  check(
    { leaf, chain }: PresentedSvid,
    bundles: TrustBundles,
    nowSeconds: number,
  ): Result<CheckedSvid, SvidRefusal> {
    if (bundles !== this.#bundles) this.#known.clear();
    this.#bundles = bundles;
    const known = leaf === undefined ? undefined : this.#known.get(hexOf(sha256(leaf)));
    if (known !== undefined && isWithin(known, nowSeconds)) return ok(known);
    const checked = checkSvid(chain(), bundles, nowSeconds);
    if (checked.ok) this.#remember(checked.value);
    return checked;
  }

  #remember(svid: CheckedSvid): void {
    this.#known.delete(svid.sha256);
    this.#known.set(svid.sha256, svid);
    const [oldest] = this.#known.keys();
    if (this.#known.size > knownSvidsMax && oldest !== undefined) this.#known.delete(oldest);
  }
}

/** Whether each certificate of the path is within its times; the last second counts as a whole (RFC 5280 section 4.1.2.5). */
function isWithin({ pathNotBeforeSeconds, pathNotAfterSeconds }: CheckedSvid, nowSeconds: number): boolean {
  return nowSeconds >= pathNotBeforeSeconds && nowSeconds < pathNotAfterSeconds + 1;
}
