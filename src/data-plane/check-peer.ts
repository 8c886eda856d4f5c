import type { TLSSocket } from "node:tls";
import { bytesOfBase64 } from "../base/bytes.ts";
import type { Clock } from "../base/clock.ts";
import { fail, ok, type Refusal, type Result } from "../base/result.ts";
import {
  type CheckedSvid,
  checkSvid,
  parseTrustBundle,
  parseTrustDomain,
  presentedCertificatesMax,
  type SvidRefusal,
  type TrustBundles,
  trustBundlesOf,
} from "../identity/index.ts";
import type { LogView } from "../transport/index.ts";
import { type Freshness, freshnessOf, type StalenessBound, type TrustState } from "../trust-log/index.ts";
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

/** Judges the other end of a TLS connection, the same way on both sides. */
export class PeerChecker {
  readonly #view: LogView;
  readonly #clock: Clock;
  readonly #ownService: string;
  #bundles: { readonly state: TrustState; readonly size: number; readonly value: TrustBundles } | undefined;
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
    const svid = checkSvid(presentedChain(socket), this.#trustBundles(), this.#clock.nowSeconds());
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
      metadata?.instance === certificate.instance &&
      metadata.node === instance.node &&
      serviceName === instance.service;
    if (!doesAgree) return fail("log-disagrees", svid.spiffeId);
    const peer = { svid, service: instance.service, instance: certificate.instance };
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- the one place where every check has passed
    return ok(peer as CheckedPeer);
  }

  #trustBundles(): TrustBundles {
    const { follower } = this.#view;
    if (this.#bundles?.state === follower.state && this.#bundles.size === follower.size)
      return this.#bundles.value;
    const value = bundlesOf(follower.state);
    this.#bundles = { state: follower.state, size: follower.size, value };
    return value;
  }
}

/** The trust bundle of the domain itself: the roots that its operators put into the log. */
function bundlesOf(state: TrustState): TrustBundles {
  const trustDomain = parseTrustDomain(state.genesis?.trustDomain ?? "");
  if (!trustDomain.ok) return trustBundlesOf();
  const roots: Uint8Array[] = [];
  for (const [, { certificate, isTrusted }] of state.certificateAuthorities.entries()) {
    const der = bytesOfBase64(certificate);
    if (isTrusted && der !== undefined) roots.push(der);
  }
  const bundle = parseTrustBundle(trustDomain.value, roots);
  return bundle.ok ? trustBundlesOf(bundle.value) : trustBundlesOf();
}

/** The certificates that the peer sent, leaf first; one more than allowed at most, so that too many can be refused. */
function presentedChain(socket: TLSSocket): Uint8Array[] {
  const chain: Uint8Array[] = [];
  let certificate: { raw?: Buffer; issuerCertificate?: unknown } | undefined =
    socket.getPeerCertificate(true);
  while (certificate?.raw !== undefined && chain.length <= presentedCertificatesMax) {
    chain.push(new Uint8Array(certificate.raw));
    const issuer: unknown = certificate.issuerCertificate;
    // A self-signed certificate names itself as its issuer.
    if (issuer === certificate || typeof issuer !== "object" || issuer === null) break;
    certificate = issuer;
  }
  return chain;
}
