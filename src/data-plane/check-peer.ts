import type { X509Certificate } from "node:crypto";
import type { TLSSocket } from "node:tls";
import type { Clock } from "../base/clock.ts";
import { fail, ok, type Refusal, type Result } from "../base/result.ts";
import {
  type CheckedSvid,
  checkSvid,
  KnownSvids,
  type PresentedSvid,
  presentedCertificatesMax,
  type SvidRefusal,
  type TrustBundles,
} from "../identity/index.ts";
import type { LogView } from "../transport/index.ts";
import { type Freshness, freshnessOf, isQuarantined, type StalenessBound } from "../trust-log/index.ts";
import { clockNote } from "./clock-note.ts";
import { TrustedBundles } from "./trusted-bundles.ts";

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
  | "quarantined"
  | "other-instance";

declare const checked: unique symbol;

/**
 * A peer whose SVID passed every check and is in the trust log, or is one of a federated trust domain; only
 * {@link PeerChecker} makes one.
 */
export type CheckedPeer = {
  readonly svid: CheckedSvid;
  /**
   * What rules call it: its service, `/shop/front`, or, of another trust domain, its whole SPIFFE ID, so that it never
   * passes for a service of this one.
   */
  readonly service: string;
  /** Its instance; of another trust domain, whose instances nobody here knows, its SPIFFE ID. */
  readonly instance: string;
  readonly [checked]: true;
};

/** What a peer of another trust domain presented, and under which bundles that held last. */
interface ForeignPeer {
  readonly chain: readonly Uint8Array[];
  bundles: TrustBundles;
}

/** Judges the other end of a TLS connection, the same way on both sides. */
export class PeerChecker {
  readonly #view: LogView;
  readonly #clock: Clock;
  readonly #ownService: string;
  readonly #ownInstance: string;
  readonly #known = new KnownSvids();
  readonly #bundles = new TrustedBundles();
  readonly #foreign = new WeakMap<CheckedPeer, ForeignPeer>();
  readonly #waiting = new Map<string, number>();
  #waitingCount = 0;

  constructor(options: {
    readonly view: LogView;
    readonly clock: Clock;
    readonly ownService: string;
    readonly ownInstance: string;
  }) {
    this.#view = options.view;
    this.#clock = options.clock;
    this.#ownService = options.ownService;
    this.#ownInstance = options.ownInstance;
  }

  /**
   * Checks a socket after its handshake. Node's own verdict is not asked: it accepts SVIDs that SPIFFE says must be
   * refused, and it pools the roots of all trust domains. Nothing may be written to the socket, nor read from it,
   * before this has answered.
   */
  async check(socket: TLSSocket): Promise<Result<CheckedPeer, PeerRefusal>> {
    if (socket.isSessionReused()) return fail("resumed-session");
    const presented = presentedBy(socket);
    const svid = this.#known.check(presented, this.#trustBundles(), this.#clock.nowSeconds());
    if (!svid.ok) return this.#explained(svid);
    if (this.freshness("newHandshake") === "stale")
      return fail("view-stale", `${Math.floor(this.#view.stalenessSeconds)} s`);
    if (isQuarantined(this.#view.follower.state, this.#ownInstance))
      return fail("quarantined", `this instance, ${this.#ownInstance}`);
    if (svid.value.trustDomain !== this.#view.follower.state.genesis?.trustDomain)
      return ok(this.#foreignPeer(svid.value, presented.chain()));
    const isKnown = (): boolean => this.#view.follower.state.certificates.has(svid.value.sha256);
    const refusal = isKnown() ? undefined : await this.#waitUntil(isKnown, svid.value);
    return refusal ?? this.#agree(svid.value);
  }

  /**
   * Whether a peer that passed is still one: the log names its certificate and has it not in quarantine, or, of another trust domain, what that one
   * says of its keys now still bears it. When certificates end is not asked here.
   */
  stillHolds(peer: CheckedPeer): boolean {
    const foreign = this.#foreign.get(peer);
    const { state } = this.#view.follower;
    if (foreign === undefined)
      return state.certificates.has(peer.svid.sha256) && !isQuarantined(state, peer.instance);
    const bundles = this.#trustBundles();
    if (foreign.bundles === bundles) return true;
    if (!checkSvid(foreign.chain, bundles, this.#clock.nowSeconds()).ok) return false;
    foreign.bundles = bundles;
    return true;
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
    if (isQuarantined(state, certificate.instance))
      return fail("quarantined", `${svid.spiffeId} ${certificate.instance}`);
    const peer = { svid, service: instance.service, instance: certificate.instance };
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- of the two places, the one for this trust domain
    return ok(peer as CheckedPeer);
  }

  /** A peer that only its own trust domain can vouch for: its certificate stands in no log of this one. */
  #foreignPeer(svid: CheckedSvid, chain: readonly Uint8Array[]): CheckedPeer {
    const name: string = svid.spiffeId;
    const fields = { svid, service: name, instance: name };
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- of the two places, the one for other trust domains
    const peer = fields as CheckedPeer;
    this.#foreign.set(peer, { chain, bundles: this.#trustBundles() });
    return peer;
  }

  #trustBundles(): TrustBundles {
    const { state, size } = this.#view.follower;
    return this.#bundles.of(state, size);
  }
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
