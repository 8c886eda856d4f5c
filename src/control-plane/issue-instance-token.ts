import type { KeyObject } from "node:crypto";
import { isJsonObject, type Json } from "../base/canonical-json.ts";
import type { Clock, RandomBytes } from "../base/clock.ts";
import { fail, ok, type Refusal, type Result } from "../base/result.ts";
import { parseStrictJson } from "../base/strict-json.ts";
import { parsePublicJwk } from "../crypto/index.ts";
import {
  type IssuedToken,
  type JwtSvidMintRefusal,
  mintJwtSvid,
  mintWitSvid,
  parseServiceName,
  type ServiceName,
  spiffeIdOfService,
  type WitSvidMintRefusal,
} from "../identity/index.ts";
import { isQuarantined } from "../trust-log/index.ts";
import type { LogWriter } from "./log-writer.ts";
import type { RollbackGuard } from "./rollback-guard.ts";
import type { HeldTokenKeys, SigningRefusal } from "./token-keys.ts";

/** What issuing tokens takes. */
export interface TokenIssuer {
  readonly writer: LogWriter;
  readonly guard: Pick<RollbackGuard, "isTrusted">;
  readonly keys: Pick<HeldTokenKeys, "signing">;
  readonly clock: Clock;
  readonly randomBytes: RandomBytes;
}

/** What an agent asks for on behalf of an instance on its node. */
export interface InstanceTokenRequest {
  readonly node: string;
  readonly instance: string;
  readonly audience: readonly string[];
  /** A JWK in JSON; empty for a JWT-SVID. */
  readonly confirmationKey: string;
}

/** Why an instance gets no token. */
export type InstanceTokenRefusal =
  | SigningRefusal
  | JwtSvidMintRefusal
  | WitSvidMintRefusal
  | "malformed-request"
  | "unknown-instance"
  | "quarantined"
  | "log-not-current";

/** Tokens are issued by a log whose last epoch is at most this old: an older one may not have heard of a revocation. */
export const tokenEpochAgeSecondsMax = 60;

const confirmationKeyCharactersMax = 4_096;

/**
 * Issues a JWT-SVID, or a WIT-SVID where a key is given, to an instance that the log names on the calling node: what is
 * held or revoked is not named there. Audience and key are all that is taken from the request. No entry is written of it.
 */
export async function issueInstanceToken(
  issuer: TokenIssuer,
  request: InstanceTokenRequest,
): Promise<Result<IssuedToken, InstanceTokenRefusal>> {
  const { audience, confirmationKey } = request;
  if ((confirmationKey === "") === (audience.length === 0))
    return fail(
      "malformed-request",
      "a JWT-SVID takes an audience, a WIT-SVID a confirmation key, neither both",
    );
  const key = confirmationKey === "" ? ok(undefined) : readConfirmationKey(confirmationKey);
  if (!key.ok) return key;
  const signing = await issuer.keys.signing(key.value === undefined ? "jwt-svid" : "wit-svid");
  if (!signing.ok) return signing;
  // Last, so that nothing is waited for between this and the signature.
  const service = serviceOf(issuer, request);
  if (!service.ok) return service;
  const spiffeId = spiffeIdOfService(signing.value.trustDomain, service.value);
  const about = { spiffeId, instance: request.instance };
  return key.value === undefined
    ? mintJwtSvid(signing.value, { ...about, audience }, issuer)
    : mintWitSvid(signing.value, { ...about, confirmationKey: key.value }, issuer);
}

/** The service that the log says the instance is of; nothing where the log may be out of date. */
function serviceOf(
  { writer, guard, clock }: TokenIssuer,
  { node, instance }: InstanceTokenRequest,
): Result<ServiceName, "log-not-current" | "unknown-instance" | "quarantined"> {
  const { state } = writer;
  const ageSeconds = Math.abs(clock.nowSeconds() - (state.genesis?.epochTimeSeconds ?? 0));
  if (!guard.isTrusted || writer.isBroken || ageSeconds > tokenEpochAgeSecondsMax)
    return fail("log-not-current", "the control plane cannot tell what was revoked: see its alarms");
  const row = state.instances.get(instance);
  if (row === undefined || row.node !== node)
    return fail("unknown-instance", `no instance ${instance.slice(0, 64)} is registered on ${node}`);
  if (isQuarantined(state, instance)) return fail("quarantined", instance);
  const service = parseServiceName(row.service);
  return service.ok ? service : fail("unknown-instance", row.service);
}

function readConfirmationKey(text: string): Result<KeyObject, "bad-confirmation-key"> {
  if (text.length > confirmationKeyCharactersMax) return bad(`${text.length} characters`);
  const strict = parseStrictJson(text);
  if (!strict.ok) return bad(strict.reason);
  const jwk: Json = JSON.parse(text);
  if (!isJsonObject(jwk)) return bad("not a JWK");
  const key = parsePublicJwk(jwk);
  return key.ok ? key : bad(`${key.reason} ${key.detail}`);
}

function bad(detail: string): Refusal<"bad-confirmation-key"> {
  return fail("bad-confirmation-key", detail);
}
