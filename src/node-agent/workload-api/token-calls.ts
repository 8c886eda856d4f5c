import { generateKeyPairSync, type KeyObject } from "node:crypto";
import { create, type JsonObject } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import { bytesOf } from "../../base/bytes.ts";
import { messageOf } from "../../base/mesh-error.ts";
import { publicJwkOf } from "../../crypto/index.ts";
import { checkJwtSvid, nextRotationSeconds } from "../../identity/index.ts";
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
import { federatedBundles, ownBundle } from "./trust-bundles.ts";
import type { Grant, WorkloadGrants } from "./workload-grants.ts";
import { onceOnly } from "./x509-responses.ts";

const callTimeoutMillis = 10_000;
/** How long a token is waited for while there is no connection to the control plane; between two of them a moment passes. */
const upstreamWaitMillisMax = 2_000;
/** However short a token lives, the next one is not asked for sooner. */
const renewalMillisMin = 1_000;

/** What tokens are got from. */
export interface TokenParts {
  readonly agent: AgentPort;
  readonly grants: WorkloadGrants;
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
    const { token } = await issue(parts, { instance, audience, confirmationKey: "" }, signal);
    svids.push({ spiffeId, svid: token, hint: onceOnly(entry.hint, hints) });
  }
  return create(JWTSVIDResponseSchema, { svids });
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

/** A token bound to a key, and when the next one is due. */
interface BoundToken {
  readonly token: string;
  /** The private key, a JWK in JSON. */
  readonly key: string;
  readonly renewAtSeconds: number;
}

/**
 * WIT-SVIDs of a caller, each with a key of its own that was made here, and the next ones at half of their life. Every
 * message is all of them.
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
    const dueSeconds = Math.min(...[...tokens.values()].map(({ renewAtSeconds }) => renewAtSeconds));
    const waitMillis = (dueSeconds - parts.agent.clock.nowSeconds()) * 1_000;
    timer = setTimeout(() => news.notify(), Math.max(renewalMillisMin, waitMillis));
    yield witResponse(grants, tokens);
  }
}

function witResponse(grants: readonly Grant[], tokens: ReadonlyMap<string, BoundToken>): WITSVIDResponse {
  const hints = new Set<string>();
  return create(WITSVIDResponseSchema, {
    svids: grants.map(({ spiffeId, instance, entry }) => ({
      spiffeId,
      witSvid: tokens.get(instance)?.token ?? "",
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
  const { clock, random } = parts.agent;
  for (const instance of instances) {
    const now = clock.nowSeconds();
    if ((tokens.get(instance)?.renewAtSeconds ?? 0) > now) continue;
    const { privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
    const confirmationKey = JSON.stringify(publicJwkOf(privateKey));
    const issued = await issue(parts, { instance, audience: [], confirmationKey }, signal);
    const notAfterSeconds = Number(issued.expiresAtSeconds);
    tokens.set(instance, {
      token: issued.token,
      key: privateJwkOf(privateKey),
      renewAtSeconds: nextRotationSeconds({ notBeforeSeconds: now, notAfterSeconds }, random()),
    });
  }
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
