import { generateKeyPairSync, type KeyObject } from "node:crypto";
import { create, type JsonObject } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import { bytesOf } from "../../base/bytes.ts";
import { messageOf } from "../../base/mesh-error.ts";
import { publicJwkOf } from "../../crypto/index.ts";
import { checkJwtSvid } from "../../identity/index.ts";
import {
  type JWTSVIDResponse,
  JWTSVIDResponseSchema,
  type ValidateJWTSVIDResponse,
  ValidateJWTSVIDResponseSchema,
  type WITSVIDResponse,
  WITSVIDResponseSchema,
} from "../../protocol/index.ts";
import { isTokenInForce } from "../../trust-log/index.ts";
import type { AgentPort } from "./agent-port.ts";
import { Changes } from "./changes.ts";
import type { ConnectionCaller } from "./connection-caller.ts";
import { isFresh, type KeptJwts, type KeptToken, keepToken } from "./kept-tokens.ts";
import { federatedBundles, ownBundle } from "./trust-bundles.ts";
import type { Grant, WorkloadGrants } from "./workload-grants.ts";
import { onceOnly } from "./x509-responses.ts";

const callTimeoutMillis = 10_000;
/** How long a token is waited for while there is no connection to the control plane; between two of them a moment passes. */
const upstreamWaitMillisMax = 2_000;
/** However short a token lives, the next one is not asked for sooner. */
const renewalMillisMin = 1_000;
/** How often the time is looked at: a machine that sleeps stops its timers, and its tokens go on ageing. */
const lookMillisMax = 60_000;

/** What tokens are got from. */
export interface TokenParts {
  readonly agent: AgentPort;
  readonly grants: WorkloadGrants;
  /** What was issued and may be handed out again. */
  readonly jwts: KeptJwts;
}

/** Who asks, and until when. */
export interface Asking {
  readonly caller: ConnectionCaller;
  readonly signal: AbortSignal;
}

/** A JWT-SVID for each identity that a caller may have, or for the one that it names. */
export async function fetchJwtSvids(
  parts: TokenParts,
  request: { readonly audience: readonly string[]; readonly spiffeId: string },
  { caller, signal }: Asking,
): Promise<JWTSVIDResponse> {
  const audience = [...request.audience];
  if (audience.length === 0 || audience.includes(""))
    throw new ConnectError("audience must be specified", Code.InvalidArgument);
  const grants = namedBy(await parts.grants.once(caller, signal), request.spiffeId);
  const hints = new Set<string>();
  const svids = [];
  for (const { instance, spiffeId, entry } of grants) {
    const svid = await jwtSvid(parts, { instance, audience }, signal);
    svids.push({ spiffeId, svid, hint: onceOnly(entry.hint, hints) });
  }
  return create(JWTSVIDResponseSchema, { svids });
}

async function jwtSvid(
  parts: TokenParts,
  { instance, audience }: { readonly instance: string; readonly audience: string[] },
  signal: AbortSignal,
): Promise<string> {
  const { agent, grants, jwts } = parts;
  const found = jwts.find(instance, audience, grants.state, agent.clock);
  if (found !== undefined) return found;
  const { token } = await issue(parts, { instance, audience, confirmationKey: "" }, signal);
  const kept = keepToken(token, "jwt-svid", agent);
  if (kept !== undefined) jwts.keep(instance, audience, kept);
  return token;
}

/** Checks a JWT-SVID of this trust domain, or of one that is federated with, for a caller that may have any identity. */
export async function validateJwtSvid(
  { grants, agent }: TokenParts,
  { audience, svid }: { readonly audience: string; readonly svid: string },
  { caller, signal }: Asking,
): Promise<ValidateJWTSVIDResponse> {
  if (audience === "") throw new ConnectError("audience must be specified", Code.InvalidArgument);
  if (svid === "") throw new ConnectError("svid must be specified", Code.InvalidArgument);
  for await (const _ of grants.followRight(caller, signal)) break;
  const { state } = grants;
  const bundles = [ownBundle(state), ...federatedBundles(state)];
  const checked = checkJwtSvid(svid, {
    audience,
    keysOf: (trustDomain) => bundles.find((bundle) => bundle.trustDomain === trustDomain)?.jwtKeys,
    nowSeconds: agent.clock.nowSeconds(),
    // Of other trust domains the log knows no more than their keys.
    isRevoked: (token) => token.trustDomain === state.genesis?.trustDomain && !isTokenInForce(state, token),
  });
  if (!checked.ok) throw new ConnectError(`${checked.reason}: ${checked.detail}`, Code.InvalidArgument);
  const claims: JsonObject = JSON.parse(JSON.stringify(checked.value.claims));
  return create(ValidateJWTSVIDResponseSchema, { spiffeId: checked.value.spiffeId, claims });
}

/** A token bound to a key. */
interface BoundToken {
  readonly kept: KeptToken;
  /** The private key, a JWK in JSON. */
  readonly key: string;
}

/**
 * WIT-SVIDs of a caller, each with a key of its own that was made here, and the next ones at half of their life, or as
 * soon as they do not count any more. Every message is all of them.
 */
export async function* followWitSvids(
  parts: TokenParts,
  spiffeId: string,
  { caller, signal }: Asking,
): AsyncGenerator<WITSVIDResponse> {
  const news = new Changes();
  const tokens = new Map<string, BoundToken>();
  using stack = new DisposableStack();
  stack.defer(parts.grants.changes.onChange(() => news.notify()));
  let timer: NodeJS.Timeout | undefined;
  stack.defer(() => clearTimeout(timer));
  for await (const all of parts.grants.follow(caller, signal, news)) {
    const grants = namedBy(all, spiffeId);
    await renewTokens(parts, { tokens, grants, signal });
    clearTimeout(timer);
    const waitMillis = Math.min(lookMillisMax, ...[...tokens.values()].map((one) => millisUntil(one, parts)));
    timer = setTimeout(() => news.notify(), Math.max(renewalMillisMin, waitMillis));
    yield witResponse(grants, tokens);
  }
}

function witResponse(grants: readonly Grant[], tokens: ReadonlyMap<string, BoundToken>): WITSVIDResponse {
  const hints = new Set<string>();
  return create(WITSVIDResponseSchema, {
    svids: grants.map(({ spiffeId, instance, entry }) => ({
      spiffeId,
      witSvid: tokens.get(instance)?.kept.token ?? "",
      witSvidKey: tokens.get(instance)?.key ?? "",
      hint: onceOnly(entry.hint, hints),
    })),
  });
}

async function renewTokens(
  parts: TokenParts,
  {
    tokens,
    grants,
    signal,
  }: {
    readonly tokens: Map<string, BoundToken>;
    readonly grants: readonly Grant[];
    readonly signal: AbortSignal;
  },
): Promise<void> {
  const instances = new Set(grants.map(({ instance }) => instance));
  for (const instance of tokens.keys()) if (!instances.has(instance)) tokens.delete(instance);
  for (const instance of instances) {
    const held = tokens.get(instance);
    if (held !== undefined && isFresh(held.kept, parts.grants.state, parts.agent.clock)) continue;
    const { privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
    const confirmationKey = JSON.stringify(publicJwkOf(privateKey));
    const { token } = await issue(parts, { instance, audience: [], confirmationKey }, signal);
    const kept = keepToken(token, "wit-svid", parts.agent);
    if (kept === undefined) throw new ConnectError("what was issued is no token", Code.Unavailable);
    tokens.set(instance, { kept, key: privateJwkOf(privateKey) });
  }
}

function millisUntil({ kept }: BoundToken, { agent: { clock } }: TokenParts): number {
  const { dueSeconds, dueMillis } = kept;
  return Math.min((dueSeconds - clock.nowSeconds()) * 1000, dueMillis - clock.monotonicMillis());
}

function privateJwkOf(key: KeyObject): string {
  return JSON.stringify({ ...key.export({ format: "jwk" }), alg: "ES256" });
}

function namedBy(grants: readonly Grant[], spiffeId: string): readonly Grant[] {
  const named = spiffeId === "" ? grants : grants.filter((grant) => grant.spiffeId === spiffeId);
  if (named.length === 0) throw new ConnectError("no identity issued", Code.PermissionDenied);
  return named;
}

async function issue(
  { agent }: TokenParts,
  request: { readonly instance: string; readonly audience: string[]; readonly confirmationKey: string },
  signal: AbortSignal,
): Promise<{ readonly token: string; readonly expiresAtSeconds: bigint }> {
  const deadline = AbortSignal.any([signal, AbortSignal.timeout(upstreamWaitMillisMax)]);
  for (let gone: ControlPlane | undefined; ; ) {
    const upstream = await otherThan(gone, agent, deadline);
    if (upstream === undefined)
      throw new ConnectError("the control plane is not there to issue a token", Code.Unavailable);
    try {
      return await upstream.issueToken(request, { timeoutMs: callTimeoutMillis, signal });
    } catch (error) {
      const { code } = ConnectError.from(error);
      gone = upstream;
      // Its connection went with the call, as when the control plane shows another key from now on.
      if (code === Code.Unavailable && !deadline.aborted) continue;
      const passedOn = [Code.Unimplemented, Code.InvalidArgument, Code.ResourceExhausted];
      throw new ConnectError(
        `no token was issued: ${messageOf(error)}`,
        passedOn.includes(code) ? code : Code.Unavailable,
      );
    }
  }
}

type ControlPlane = NonNullable<ReturnType<AgentPort["upstream"]>>;

/** The control plane over another connection than one that is gone; undefined where none has come before the deadline. */
async function otherThan(
  gone: ControlPlane | undefined,
  agent: AgentPort,
  deadline: AbortSignal,
): Promise<ControlPlane | undefined> {
  const news = new Changes();
  using stack = new DisposableStack();
  stack.defer(agent.onChange(() => news.notify()));
  for (;;) {
    const upstream = agent.upstream();
    if (upstream !== undefined && upstream !== gone) return upstream;
    if (deadline.aborted) return undefined;
    await news.after(news.count, deadline);
  }
}

/** Key sets as FetchJWTBundles has them. */
export function keySetBytes(sets: ReadonlyMap<string, string>): Record<string, Uint8Array> {
  return Object.fromEntries([...sets].map(([id, text]) => [id, bytesOf(text)]));
}
