import type { Socket } from "node:net";
import { TLSSocket } from "node:tls";
import { MeshError } from "../base/mesh-error.ts";
import { fail, ok, type Result } from "../base/result.ts";
import { sha256 } from "../crypto/index.ts";
import type { Endpoint } from "../protocol/index.ts";
import {
  keyPeriodAt,
  type MintRequestToken,
  noChannelBinding,
  requestDigest,
  requestTokenExporterLabel,
  requestTokenMinter,
} from "../request-token/index.ts";
import { resolvesWithin, type SvidInUse } from "../transport/index.ts";
import { type RequestTokenMode, requestTokenPolicyOf, type TrustState } from "../trust-log/index.ts";
import type { AskRefusal } from "./ask-token-issuer.ts";
import { AskedDestination } from "./asked-destination.ts";
import type { ConnectionTokens, PeerTokens, RequestHead, ResponseHead } from "./forwarding/index.ts";
import type { HeadEdits } from "./http1/index.ts";
import type { ProxyContext } from "./proxy-context.ts";
import type { ProxyMetrics } from "./proxy-metrics.ts";
import type { RequestTokenGrant } from "./request-token-grants.ts";
import type { RequestTokenKeys } from "./request-token-keys.ts";
import { readTokenAnswer } from "./token-answer.ts";
import { tokenRequestOf } from "./token-request.ts";

/** How many requests to one instance may wait for a request token at once. */
export const awaitedTokensMax = 1_024;
/** How long a connection that is there waits for the first grant before requests are sent to it. */
export const firstGrantMillisMax = 2_000;

/**
 * How long tokens are still shown after a policy that asked for them has ended, since the callee may hear of that later;
 * and how long its word counts against our view of the log.
 */
export const policyLagMillisMax = 5_000;
/** Until an instance that has said who it is is believed that it is another process, or that the time is quite another. */
export const instanceNewsMillisMin = 2_000;

/** To how many prefixes of one instance a connection keeps what its tokens are minted by. */
export const boundDestinationsMax = 16;

/** What of a proxy minting takes. */
export interface MintingContext extends Pick<ProxyContext, "service" | "clock"> {
  readonly view: { readonly follower: { readonly size: number; readonly state: TrustState } };
  readonly requestTokens: Pick<RequestTokenKeys, "issuerTime" | "grants" | "nonces">;
  readonly metrics: Pick<ProxyMetrics, "requestTokens">;
}

/** The request tokens of a proxy for one instance, where the log says that its service wants any. */
export class InstanceTokens implements PeerTokens {
  /** The proxy process that checks: `<instance uuid>/<boot id>`; empty while nobody has said. */
  audience: string;
  /** What is added to the issuer's time for this instance, whose own idea of it is another. */
  skewMillis = 0;
  awaited = 0;
  readonly context: MintingContext;
  readonly service: string;
  readonly #asked: AskedDestination;
  readonly #instance: string;
  readonly #svids = new WeakMap<Socket, SvidInUse>();
  readonly #connections = new WeakMap<Socket, TokensOfConnection>();
  #size = -1;
  #mode: RequestTokenMode = "off";
  /** Until when tokens are minted that are wanted no more; 0 where that is not so. */
  #lagUntilMillis = 0;
  /** Until when the instance's word counts for more than the log; 0 where that is not so. */
  #demandUntilMillis = 0;
  #nextNewsMillis = Number.NEGATIVE_INFINITY;

  constructor(
    context: MintingContext,
    { service, instance, tokenAudience }: Pick<Endpoint, "service" | "instance" | "tokenAudience">,
  ) {
    this.context = context;
    this.service = service;
    this.#asked = new AskedDestination({ service, view: context.view });
    this.#instance = instance;
    this.audience = tokenAudience === "" ? "" : `${instance}/${tokenAudience}`;
  }

  /** What tokens the instance wants, by the newest view of the log or by its own word since. */
  get mode(): RequestTokenMode {
    const { view, clock } = this.context;
    const { size, state } = view.follower;
    const isOver = this.#demandUntilMillis !== 0 && clock.monotonicMillis() >= this.#demandUntilMillis;
    if (size !== this.#size || isOver) {
      this.#size = size;
      this.#demandUntilMillis = 0;
      const { mode } = requestTokenPolicyOf(state, this.service);
      const hasEnded = mode === "off" && this.#mode === "granted" && this.#lagUntilMillis === 0;
      if (hasEnded) this.#lagUntilMillis = clock.monotonicMillis() + policyLagMillisMax;
      else if (mode !== "off") this.#lagUntilMillis = 0;
      this.#mode = mode;
    }
    if (this.#lagUntilMillis === 0 || this.#mode !== "off") return this.#mode;
    if (clock.monotonicMillis() < this.#lagUntilMillis) return "granted";
    this.#lagUntilMillis = 0;
    return "off";
  }

  /** The service prefix that a request asks for, as the instance will see it. */
  destinationOf(request: RequestHead, edits: HeadEdits): string {
    return this.#asked.of(edits.host ?? request.host) ?? this.service;
  }

  /** Whether what is minted is wanted no more, as far as is known. */
  get isLagging(): boolean {
    return this.#lagUntilMillis !== 0;
  }

  /** The instance has a newer view of the log, or says so: it is believed for no longer than that may take to come. */
  demand(mode: "granted" | "per-request"): void {
    this.#mode = mode;
    this.#demandUntilMillis = this.context.clock.monotonicMillis() + policyLagMillisMax;
  }

  /** Takes note of the SVID that a connection was opened with: its tokens are good with no other. */
  opened(socket: Socket, svid: SvidInUse): void {
    this.#svids.set(socket, svid);
  }

  /** Waits, for a while, until tokens for a connection can be minted at once. */
  async prepare(socket: Socket): Promise<void> {
    if (this.mode === "granted") await resolvesWithin(this.on(socket).prepare(), firstGrantMillisMax);
  }

  on(socket: Socket): TokensOfConnection {
    const known = this.#connections.get(socket);
    if (known !== undefined) return known;
    const svid = this.#svids.get(socket);
    if (svid === undefined) throw new MeshError("ERR_DATA_PLANE_SVID", "a connection of an unknown SVID");
    const connection = new TokensOfConnection(this, socket, svid);
    this.#connections.set(socket, connection);
    return connection;
  }

  /** Takes who the instance says that it is; whether that is news. It can speak for itself only. */
  isAt(audience: string): boolean {
    if (audience === this.audience || !audience.startsWith(`${this.#instance}/`) || !this.hasNews())
      return false;
    this.audience = audience;
    // That was the other process's.
    this.skewMillis = 0;
    return true;
  }

  /** Whether what the instance says may cost a question to the issuer: not if the last was a moment ago. */
  hasNews(): boolean {
    const nowMillis = this.context.clock.monotonicMillis();
    if (nowMillis < this.#nextNewsMillis) return false;
    this.#nextNewsMillis = nowMillis + instanceNewsMillisMin;
    return true;
  }
}

/** What is computed once for a connection and the proxy process at its other end. */
interface Bound {
  readonly audience: string;
  readonly grant: RequestTokenGrant;
  readonly mint: MintRequestToken;
}

class TokensOfConnection implements ConnectionTokens {
  readonly #peer: InstanceTokens;
  readonly #socket: Socket;
  readonly #svid: SvidInUse;
  #channelBinding: Uint8Array | undefined;
  readonly #bound = new Map<string, Bound>();

  constructor(peer: InstanceTokens, socket: Socket, svid: SvidInUse) {
    this.#peer = peer;
    this.#socket = socket;
    this.#svid = svid;
  }

  mint(request: RequestHead, edits: HeadEdits): string | undefined {
    const { mode, audience, isLagging } = this.#peer;
    // Without an audience nothing can be minted; what the instance answers says which it is.
    if (mode === "off" || audience === "") return "";
    if (mode === "per-request") return undefined;
    return this.#mintGranted(request, edits) ?? (isLagging ? "" : undefined);
  }

  async obtain(request: RequestHead, edits: HeadEdits): Promise<Result<string, "request-token-unavailable">> {
    const peer = this.#peer;
    if (peer.awaited >= awaitedTokensMax)
      return this.#unavailable(`${awaitedTokensMax} requests wait for one`);
    peer.awaited += 1;
    try {
      return await this.#obtain(request, edits);
    } finally {
      peer.awaited -= 1;
    }
  }

  /** Has the grant for what is minted here. */
  async prepare(): Promise<void> {
    const { audience, service } = this.#peer;
    if (audience === "") return;
    const { grant } = this.#boundTo(service);
    if (grant.keyOf(keyPeriodAt(this.#nowMillis)) === undefined) await grant.obtain();
  }

  learn(head: ResponseHead): boolean {
    const peer = this.#peer;
    const answer = readTokenAnswer(head);
    if (answer === undefined) return false;
    const { reason, audience, issuerMillis } = answer;
    peer.context.metrics.requestTokens.outbound.add(reason);
    const isElsewhere = peer.isAt(audience);
    switch (reason) {
      case "request-token-expired":
      case "request-token-future":
      case "request-token-key-unknown":
        return (issuerMillis !== undefined && this.#learnTime(issuerMillis)) || isElsewhere;
      // Where we know that much by now, the request was on its way before we did.
      case "request-token-missing":
        if (peer.mode === "off") peer.demand("granted");
        return true;
      case "request-token-mode":
        if (peer.mode === "granted") peer.demand("per-request");
        return true;
      default:
        return isElsewhere && reason === "request-token-invalid";
    }
  }

  /**
   * Goes by the instance's time. One for which there is no key may be right where this process was stopped for long, and
   * is then found out by asking the issuer, whose answer tells the time as well.
   */
  #learnTime(issuerMillis: number): boolean {
    const peer = this.#peer;
    const keyPeriod = keyPeriodAt(issuerMillis);
    // Where the issuer makes each token, none of its keys is here.
    let isGranted = this.#bound.size === 0;
    for (const { grant } of this.#bound.values()) isGranted ||= grant.keyOf(keyPeriod) !== undefined;
    if (!isGranted && !peer.hasNews()) return false;
    peer.skewMillis = issuerMillis - peer.context.requestTokens.issuerTime.nowMillis();
    return true;
  }

  get #nowMillis(): number {
    const { context, skewMillis } = this.#peer;
    return context.requestTokens.issuerTime.nowMillis() + skewMillis;
  }

  #mintGranted(request: RequestHead, edits: HeadEdits): string | undefined {
    const { context } = this.#peer;
    const destination = this.#peer.destinationOf(request, edits);
    const { grant, mint } = this.#boundTo(destination);
    const nowMillis = this.#nowMillis;
    const key = grant.keyOf(keyPeriodAt(nowMillis));
    if (key === undefined) return undefined;
    context.metrics.requestTokens.outbound.add("minted");
    return mint(key, tokenRequestOf(request, destination, edits), nowMillis);
  }

  async #obtain(
    request: RequestHead,
    edits: HeadEdits,
  ): Promise<Result<string, "request-token-unavailable">> {
    if (this.#peer.mode === "per-request") return this.#obtainOne(request, edits);
    const obtained = await this.#boundTo(this.#peer.destinationOf(request, edits)).grant.obtain();
    if (!obtained.ok && obtained.reason === "per-request-only") return this.#obtainOne(request, edits);
    const token = this.#mintGranted(request, edits) ?? this.#mintUnskewed(request, edits);
    if (token !== undefined) return ok(token);
    if (!obtained.ok) return this.#without(obtained.reason, obtained.detail);
    return this.#unavailable("no key for this key period");
  }

  /** By the issuer's time as it is known here: the instance's own is one that the issuer gives no key for. */
  #mintUnskewed(request: RequestHead, edits: HeadEdits): string | undefined {
    if (this.#peer.skewMillis === 0) return undefined;
    this.#peer.skewMillis = 0;
    return this.#mintGranted(request, edits);
  }

  async #obtainOne(
    request: RequestHead,
    edits: HeadEdits,
  ): Promise<Result<string, "request-token-unavailable">> {
    const { audience, context } = this.#peer;
    const destination = this.#peer.destinationOf(request, edits);
    const obtained = await context.requestTokens.grants.obtainToken({
      svid: this.#svid,
      audience,
      destination,
      channelBinding: this.#binding(),
      requestDigest: requestDigest(tokenRequestOf(request, destination, edits)),
    });
    if (!obtained.ok) return this.#without(obtained.reason, obtained.detail);
    context.metrics.requestTokens.outbound.add("issued");
    return obtained;
  }

  /** Where the rules say no, and where the audience is not the one it was, the callee says so better than anybody here. */
  #without(reason: AskRefusal, detail: string): Result<string, "request-token-unavailable"> {
    switch (reason) {
      case "no-rule":
      case "rule-denies":
      case "request-tokens-off":
      case "unknown-audience":
      case "not-served-there":
        return ok("");
      default:
        return this.#unavailable(detail === "" ? reason : `${reason}: ${detail}`);
    }
  }

  #unavailable(why: string): Result<string, "request-token-unavailable"> {
    const { service, context } = this.#peer;
    context.metrics.requestTokens.outbound.add("unavailable");
    return fail("request-token-unavailable", `no request token for ${service}: ${why}`);
  }

  #boundTo(destination: string): Bound {
    const { context, audience } = this.#peer;
    const known = this.#bound.get(destination);
    if (known?.audience === audience) return known;
    const { service, view, requestTokens } = context;
    const grant = requestTokens.grants.grantFor({ svid: this.#svid, audience, destination });
    const mint = requestTokenMinter({
      audience,
      spiffeId: `spiffe://${view.follower.state.genesis?.trustDomain ?? ""}${service}`,
      source: service,
      channelBinding: this.#binding(),
      mode: "granted",
      certificateFingerprint: sha256(this.#svid.certificate),
      nonces: requestTokens.nonces,
    });
    const bound = { audience, grant, mint };
    if (this.#bound.size >= boundDestinationsMax) this.#bound.clear();
    this.#bound.set(destination, bound);
    return bound;
  }

  #binding(): Uint8Array {
    this.#channelBinding ??= channelBindingOf(this.#socket);
    return this.#channelBinding;
  }
}

/** What ties a request token to one TLS connection, the same at both of its ends (RFC 8446, 7.5); 32 bytes. */
export function channelBindingOf(socket: Socket): Uint8Array {
  if (!(socket instanceof TLSSocket)) throw new MeshError("ERR_DATA_PLANE_TLS", "a connection without TLS");
  return socket.exportKeyingMaterial(noChannelBinding.byteLength, requestTokenExporterLabel, Buffer.alloc(0));
}
