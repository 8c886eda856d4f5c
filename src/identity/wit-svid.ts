import type { KeyObject } from "node:crypto";
import { isJsonObject } from "../base/canonical-json.ts";
import { fail, ok, type Refusal, type Result } from "../base/result.ts";
import {
  type CompactJws,
  fitsAlgorithm,
  isJoseAlgorithm,
  type JoseAlgorithm,
  parsePublicJwk,
  publicJwkOf,
  type TokenObject,
} from "../crypto/index.ts";
import type { IssuerWorld } from "./certificate-authority.ts";
import {
  type IssuedToken,
  type MintRefusal,
  mintToken,
  type TokenKey,
  type TokenRequest,
} from "./mint-token.ts";
import type { SpiffeId, TrustDomain } from "./spiffe-id.ts";
import {
  readToken,
  shown,
  signatureRefusal,
  stateRefusal,
  type TokenChecks,
  type TokenRefusal,
} from "./token-claims.ts";

declare const checked: unique symbol;

/**
 * A WIT-SVID that holds at the moment of its check. It says nothing of who has shown it until that peer has proved to
 * hold the confirmation key.
 */
export interface CheckedWitSvid {
  readonly spiffeId: SpiffeId;
  readonly trustDomain: TrustDomain;
  readonly confirmationKey: KeyObject;
  /** The one algorithm in which the proof of possession may be signed. */
  readonly confirmationAlgorithm: JoseAlgorithm;
  readonly expiresAtSeconds: number;
  /** `jti`, where the issuer set one; copies of a workload may share a token, so it tells no replay. */
  readonly id: string | undefined;
  readonly [checked]: true;
}

/** Why a text is not accepted as a WIT-SVID. */
export type WitSvidRefusal =
  | TokenRefusal
  | "audience-present"
  | "no-confirmation-key"
  | "bad-confirmation-key"
  | "bad-confirmation-algorithm";

/** Why a WIT-SVID is not issued. */
export type WitSvidMintRefusal = MintRefusal | "bad-confirmation-key";

/**
 * Judges a WIT-SVID (SPIFFE WIT-SVID sections 2 to 4): as {@link checkJwtSvid}, but of type `wit+jwt`, bound to a public
 * key and for no audience. Headers that are not known are ignored unless critical. Never throws.
 */
export function checkWitSvid(token: string, checks: TokenChecks): Result<CheckedWitSvid, WitSvidRefusal> {
  const presented = readToken(token, formRefusal);
  if (!presented.ok) return presented;
  const confirmation = confirmationOf(presented.value.jws.claims);
  if (!confirmation.ok) return confirmation;
  const refusal = signatureRefusal(presented.value, checks) ?? stateRefusal(presented.value, checks);
  if (refusal !== undefined) return refusal;
  const { spiffeId, trustDomain, expiresAtSeconds, id } = presented.value.claims;
  const svid = { spiffeId, trustDomain, expiresAtSeconds, id, ...confirmation.value };
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- the one place where every check has passed
  return ok(svid as CheckedWitSvid);
}

/** Issues a WIT-SVID, signed by ES256 and bound to a public key on P-256, whose owner signs by ES256. */
export function mintWitSvid(
  key: TokenKey,
  request: TokenRequest & { readonly confirmationKey: KeyObject },
  world: IssuerWorld,
): Result<IssuedToken, WitSvidMintRefusal> {
  const { confirmationKey } = request;
  if (confirmationKey.type !== "public" || !fitsAlgorithm(confirmationKey, "ES256"))
    return fail("bad-confirmation-key", "expected a public key on P-256");
  const cnf = { jwk: { ...publicJwkOf(confirmationKey), alg: "ES256" } };
  return mintToken(key, request, { type: "wit+jwt", claims: { cnf }, world });
}

function formRefusal({ header, claims }: CompactJws): Refusal<"bad-type" | "audience-present"> | undefined {
  if (header["typ"] !== "wit+jwt") return fail("bad-type", shown(header["typ"]));
  return Object.hasOwn(claims, "aud") ? fail("audience-present", shown(claims["aud"])) : undefined;
}

function confirmationOf(
  claims: TokenObject,
): Result<
  Pick<CheckedWitSvid, "confirmationKey" | "confirmationAlgorithm">,
  "no-confirmation-key" | "bad-confirmation-key" | "bad-confirmation-algorithm"
> {
  const { cnf } = claims;
  const jwk = isJsonObject(cnf) ? cnf["jwk"] : undefined;
  if (!isJsonObject(jwk)) return fail("no-confirmation-key", shown(cnf));
  const { alg } = jwk;
  if (!isJoseAlgorithm(alg)) return fail("bad-confirmation-algorithm", shown(alg));
  const key = parsePublicJwk(jwk);
  if (!key.ok) return fail("bad-confirmation-key", `${key.reason}: ${key.detail}`);
  if (!fitsAlgorithm(key.value, alg)) return fail("bad-confirmation-key", `not one for ${alg}`);
  return ok({ confirmationKey: key.value, confirmationAlgorithm: alg });
}
