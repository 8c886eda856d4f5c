import { create, type DescMessage, equals, type MessageShape } from "@bufbuild/protobuf";
import { Code, ConnectError, type HandlerContext, type ServiceImpl } from "@connectrpc/connect";
import {
  JWTBundlesResponseSchema,
  type SpiffeWorkloadAPI,
  WITBundlesResponseSchema,
  WITSVIDResponseSchema,
  X509BundlesResponseSchema,
  X509SVIDResponseSchema,
} from "../../protocol/index.ts";
import { connectionCaller } from "./caller-context.ts";
import type { ConnectionCaller } from "./connection-caller.ts";
import type { RevocationLists } from "./revocation-lists.ts";
import {
  fetchJwtSvids,
  followWitSvids,
  keySetBytes,
  type TokenParts,
  validateJwtSvid,
} from "./token-calls.ts";
import { tokenBundles } from "./token-responses.ts";
import { x509BundlesResponse, x509SvidResponse } from "./x509-responses.ts";

/** What the calls of workloads are answered from. */
export interface SpiffeCallParts extends TokenParts {
  readonly revocationLists: RevocationLists;
  /** Aborts when the agent ends. */
  readonly closing: AbortSignal;
}

/** The calls of the SPIFFE Workload API, section 5 and 6. */
export function spiffeCalls(parts: SpiffeCallParts): ServiceImpl<typeof SpiffeWorkloadAPI> {
  const { grants, revocationLists } = parts;
  return {
    fetchX509SVID: async function* (_request, context) {
      const { caller, signal } = admit(parts, context);
      const say = newsOnly(X509SVIDResponseSchema);
      for await (const mine of grants.follow(caller, signal))
        yield* say(x509SvidResponse(mine, grants.state, revocationLists.newest));
    },
    fetchX509Bundles: async function* (_request, context) {
      const { caller, signal } = admit(parts, context);
      const say = newsOnly(X509BundlesResponseSchema);
      for await (const _ of grants.followRight(caller, signal))
        yield* say(x509BundlesResponse(grants.state, revocationLists.newest));
    },
    fetchJWTSVID: (request, context) => fetchJwtSvids(parts, request, admit(parts, context)),
    fetchJWTBundles: async function* (_request, context) {
      const { caller, signal } = admit(parts, context);
      const say = newsOnly(JWTBundlesResponseSchema);
      for await (const _ of grants.followRight(caller, signal)) {
        const bundles = keySetBytes(tokenBundles(grants.state, "jwt-svid"));
        yield* say(create(JWTBundlesResponseSchema, { bundles }));
      }
    },
    validateJWTSVID: (request, context) => validateJwtSvid(parts, request, admit(parts, context)),
    fetchWITSVID: async function* ({ spiffeId }, context) {
      const say = newsOnly(WITSVIDResponseSchema);
      for await (const message of followWitSvids(parts, spiffeId, admit(parts, context))) yield* say(message);
    },
    fetchWITBundles: async function* (_request, context) {
      const { caller, signal } = admit(parts, context);
      const say = newsOnly(WITBundlesResponseSchema);
      for await (const _ of grants.followRight(caller, signal)) {
        const bundles = Object.fromEntries(tokenBundles(grants.state, "wit-svid"));
        yield* say(create(WITBundlesResponseSchema, { bundles }));
      }
    },
  };
}

/** Who calls. That a request says it is for this API keeps out those that something was tricked into sending. */
function admit(
  { closing }: SpiffeCallParts,
  { requestHeader, values, signal }: HandlerContext,
): { readonly caller: ConnectionCaller; readonly signal: AbortSignal } {
  if (requestHeader.get("workload.spiffe.io") !== "true")
    throw new ConnectError("security header missing from request", Code.InvalidArgument);
  return { caller: values.get(connectionCaller), signal: AbortSignal.any([signal, closing]) };
}

/** Passes on each message that is not the one before it. */
function newsOnly<Schema extends DescMessage>(
  schema: Schema,
): (message: MessageShape<Schema>) => readonly MessageShape<Schema>[] {
  let last: MessageShape<Schema> | undefined;
  return (message) => {
    if (last !== undefined && equals(schema, last, message)) return [];
    last = message;
    return [message];
  };
}
