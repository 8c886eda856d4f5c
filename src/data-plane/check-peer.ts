import type { X509Certificate } from "node:crypto";
import type { TLSSocket } from "node:tls";
import { bytesOfBase64, hexOf } from "../base/bytes.ts";
import type { Clock } from "../base/clock.ts";
import { fail, ok, type Refusal, type Result } from "../base/result.ts";
import { sha256 } from "../crypto/index.ts";
import {
  type CheckedSvid,
  KnownSvids,
  type PresentedSvid,
  parseTrustBundle,
  parseTrustDomain,
  presentedCertificatesMax,
  type SvidRefusal,
  type TrustBundles,
  trustBundlesOf,
} from "../identity/index.ts";
import type { LogView } from "../transport/index.ts";
import {
  authoritiesUnder,
  type Freshness,
  freshnessOf,
  type StalenessBound,
  type TrustState,
} from "../trust-log/index.ts";
import { clockNote } from "./clock-note.ts";

/**
 * How long a certificate that the log does not name yet may wait for its entry: it may have been issued a moment ago.
 */
const unknownCertificateWaitMillis = 2_000;
/** How many handshakes may wait like that at once, and how many of one instance: a single peer must not fill the room. */
const waitingHandshakesMax = 1_024;
const waitingPerInstanceMax = 64;

/** Why a peer is not talked to. */
export type PeerRefusal =
  | SvidRefusal
  | "resumed-session"
  | "not-in-log"
  | "log-disagrees"
  | "view-stale"
  | "too-many-unknown"
  | "other-instance";

declare const checked: unique symbol;

/** A peer whose SVID passed every check and is in the trust log; only {@link PeerChecker} makes one. */
export type CheckedPeer = {
  readonly svid: CheckedSvid;
  readonly service: string;
  readonly instance: string;
  readonly [checked]: true;
};

/** The trust bundle as of a size of the log, and what it was made from. */
interface TrustedRoots {
  readonly state: TrustState;
  readonly size: number;
  readonly roots: readonly string[];
  readonly revokedKeys: readonly string[];
  readonly value: TrustBundles;
}

/** Judges the other end of a TLS connection, the same way on both sides. */
export class PeerChecker {
  readonly #view: LogView;
  readonly #clock: Clock;
  readonly #ownService: string;
  readonly #known = new KnownSvids();
  #bundles: TrustedRoots | undefined;
  readonly #waiting = new Map<string, number>();
  #waitingCount = 0;

  constructor(options: { readonly view: LogView; readonly clock: Clock; readonly ownService: string }) {
    this.#view = options.view;
    this.#clock = options.clock;
    this.#ownService = options.ownService;
  }

  /**
   * Checks a socket after its handshake. Node's own verdict is not asked: it accepts SVIDs that SPIFFE says must be
   * refused, and it pools the roots of all trust domains. Nothing may be written to the socket, nor read from it,
   * before this has answered.
   */
  async check(socket: TLSSocket): Promise<Result<CheckedPeer, PeerRefusal>> {
    if (socket.isSessionReused()) return fail("resumed-session");
    const svid = this.#known.check(presentedBy(socket), this.#trustBundles(), this.#clock.nowSeconds());
    if (!svid.ok) return this.#explained(svid);
    if (this.freshness("newHandshake") === "stale")
      return fail("view-stale", `${Math.floor(this.#view.stalenessSeconds)} s`);
    const isKnown = (): boolean => this.#view.follower.state.certificates.has(svid.value.sha256);
    const refusal = isKnown() ? undefined : await this.#waitUntil(isKnown, svid.value);
    return refusal ?? this.#agree(svid.value);
  }

  /** A refusal for the time of day says by whose clock, and whether that one can be believed. */
  #explained(refusal: Refusal<SvidRefusal>): Refusal<SvidRefusal> {
    if (refusal.reason !== "expired" && refusal.reason !== "not-yet-valid") return refusal;
    const note = clockNote(this.#view.clockAheadSeconds);
    const detail = `${refusal.detail} by this machine's clock${note === "" ? "" : `, ${note}`}`;
    return fail(refusal.reason, detail);
  }

  /** How far the view of the trust log may be relied on, by the data class of the service that this proxy is for. */
  freshness(kind: "newHandshake" | "openConnection"): Freshness {
    const { state } = this.#view.follower;
    const dataClass = state.services.get(this.#ownService)?.dataClass ?? "restricted";
    const bound: StalenessBound | undefined = state.genesis?.staleness[dataClass][kind];
    return bound === undefined ? "stale" : freshnessOf(this.#view.stalenessSeconds, bound);
  }

  async #waitUntil(
    isKnown: () => boolean,
    svid: CheckedSvid,
  ): Promise<Refusal<"too-many-unknown" | "not-in-log"> | undefined> {
    const detail = `${svid.spiffeId} serial ${svid.serial}`;
    // The CA has signed the instance, so a peer cannot be many here; but it can write a twin of its own certificate.
    const who = svid.metadata?.instance ?? svid.spiffeId;
    const waiting = this.#waiting.get(who) ?? 0;
    if (this.#waitingCount >= waitingHandshakesMax || waiting >= waitingPerInstanceMax)
      return fail("too-many-unknown", detail);
    this.#waitingCount += 1;
    this.#waiting.set(who, waiting + 1);
    const hasCome = await this.#view.waitUntil(isKnown, unknownCertificateWaitMillis);
    this.#waitingCount -= 1;
    const left = (this.#waiting.get(who) ?? 1) - 1;
    if (left > 0) this.#waiting.set(who, left);
    else this.#waiting.delete(who);
    return hasCome ? undefined : fail("not-in-log", detail);
  }

  /** What the certificate says of the instance must be what the log has registered it as (S1, strict registration). */
  #agree(svid: CheckedSvid): Result<CheckedPeer, PeerRefusal> {
    const { state } = this.#view.follower;
    const certificate = state.certificates.get(svid.sha256);
    const instance = certificate === undefined ? undefined : state.instances.get(certificate.instance);
    const { metadata, serviceName } = svid;
    if (certificate === undefined || instance === undefined) return fail("not-in-log", svid.spiffeId);
    const doesAgree =
      certificate.spiffeId === svid.spiffeId &&
      certificate.serial === svid.serial &&
      (certificate.authorityKeyId ?? svid.authorityKeyId) === svid.authorityKeyId &&
      metadata?.instance === certificate.instance &&
      metadata.node === instance.node &&
      serviceName === instance.service;
    if (!doesAgree) return fail("log-disagrees", svid.spiffeId);
    const peer = { svid, service: instance.service, instance: certificate.instance };
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- the one place where every check has passed
    return ok(peer as CheckedPeer);
  }

  /** The same object as long as the same roots are trusted: what is remembered of SVIDs holds under it alone. */
  #trustBundles(): TrustBundles {
    const { state, size } = this.#view.follower;
    const last = this.#bundles;
    if (last?.state === state && last.size === size) return last.value;
    const roots = trustedRoots(state);
    const revokedKeys = revokedKeysOf(state);
    const isSame =
      last !== undefined && sameTexts(last.roots, roots) && sameTexts(last.revokedKeys, revokedKeys);
    const value = isSame ? last.value : bundlesOf(roots, revokedKeys);
    this.#bundles = { state, size, roots, revokedKeys, value };
    return value;
  }
}

/** The trust domain, and the roots that its operators put into the log, in base64. */
function trustedRoots(state: TrustState): readonly string[] {
  const roots = [...state.certificateAuthorities.entries()].filter(([, { isTrusted }]) => isTrusted);
  return [state.genesis?.trustDomain ?? "", ...roots.map(([, { certificate }]) => certificate)];
}

/** The keys of CAs that were revoked: what they signed counts no more, whatever the log says of it. */
function revokedKeysOf(state: TrustState): readonly string[] {
  return authoritiesUnder(state, "revoked").map(({ certificate }) =>
    hexOf(sha256(certificate.publicKeyInfo)),
  );
}

function sameTexts(left: readonly string[], right: readonly string[]): boolean {
  return left.length === right.length && left.every((text, place) => text === right[place]);
}

/** The trust bundle of the domain itself. */
function bundlesOf([domain = "", ...roots]: readonly string[], revokedKeys: readonly string[]): TrustBundles {
  const trustDomain = parseTrustDomain(domain);
  if (!trustDomain.ok) return trustBundlesOf();
  const certificates = roots.map(bytesOfBase64).filter((der) => der !== undefined);
  const bundle = parseTrustBundle(trustDomain.value, certificates, new Set(revokedKeys));
  return bundle.ok ? trustBundlesOf(bundle.value) : trustBundlesOf();
}

/**
 * What the peer sent. Asked of the socket once: on Node 24 a second answer would lack what the first one gave. The chain
 * has one certificate more than allowed at most, so that too many can be refused.
 */
function presentedBy(socket: TLSSocket): PresentedSvid {
  const leaf = socket.getPeerX509Certificate();
  return { leaf: leaf?.raw, chain: () => chainOf(leaf) };
}

function chainOf(leaf: X509Certificate | undefined): readonly Uint8Array[] {
  const chain: Uint8Array[] = [];
  for (
    let certificate = leaf;
    certificate !== undefined && chain.length <= presentedCertificatesMax;
    certificate = certificate.issuerCertificate
  )
    chain.push(certificate.raw);
  return chain;
}
