import { createPublicKey, type KeyObject } from "node:crypto";
import { hexOf } from "../base/bytes.ts";
import { MeshError } from "../base/mesh-error.ts";
import { fail, ok, type Refusal, type Result } from "../base/result.ts";
import {
  exportPublicKey,
  p256PublicKey,
  sha256,
  type TokenObject,
  writeCompactJws,
} from "../crypto/index.ts";
import type { IssuerWorld } from "./certificate-authority.ts";
import { pathOf, type SpiffeId, type TrustDomain, trustDomainOf } from "./spiffe-id.ts";

/** A key of one trust domain that signs tokens of one use. */
export interface TokenKey {
  readonly trustDomain: TrustDomain;
  /** The `kid`: SHA-256 of the SubjectPublicKeyInfo, hexadecimal. */
  readonly id: string;
  /** On P-256. */
  readonly privateKey: KeyObject;
  /** The last second in which it signs; nothing that it signs ends later. */
  readonly notAfterSeconds: number;
}

/** A token that is to be issued; all of it decided by the caller. */
export interface TokenRequest {
  readonly spiffeId: SpiffeId;
  /** The instance that it is for; tokens end with it. */
  readonly instance: string;
  readonly lifetimeSeconds?: number;
}

/** An issued token. */
export interface IssuedToken {
  /** JWS, compact. */
  readonly token: string;
  /** The `jti`, by which it can be revoked. */
  readonly id: string;
  readonly expiresAtSeconds: number;
}

/** Why a token is not issued. */
export type MintRefusal = "other-trust-domain" | "no-path" | "bad-lifetime" | "token-key-expired";

/** How long a token is valid unless told otherwise, in seconds: five minutes. */
export const tokenLifetimeSecondsDefault = 300;

/** The longest life of a token, in seconds: an hour. */
export const tokenLifetimeSecondsMax = 3_600;

const idBytes = 16;

/** A token key from the private key that the key store kept; throws unless it is on P-256. */
export function openTokenKey(
  trustDomain: TrustDomain,
  privateKey: KeyObject,
  notAfterSeconds: number,
): TokenKey {
  const info = exportPublicKey(privateKey);
  if (p256PublicKey(info) === undefined)
    throw new MeshError("ERR_IDENTITY_TOKEN_KEY", "a token key is on P-256");
  return { trustDomain, id: tokenKeyIdOf(info), privateKey, notAfterSeconds };
}

/** The `kid` of a key in SubjectPublicKeyInfo (DER). */
export function tokenKeyIdOf(publicKeyInfo: Uint8Array): string {
  return hexOf(sha256(publicKeyInfo));
}

/** The public keys of a trust domain by `kid`, from SubjectPublicKeyInfo on P-256 (DER); throws on anything else. */
export function tokenKeysOf(publicKeyInfos: Iterable<Uint8Array>): ReadonlyMap<string, KeyObject> {
  const keys = new Map<string, KeyObject>();
  for (const info of publicKeyInfos)
    keys.set(tokenKeyIdOf(info), createPublicKey({ key: Buffer.from(info), format: "der", type: "spki" }));
  return keys;
}

/** Signs a token of either kind: the claims that all have (`jti` always), and what its kind adds. */
export function mintToken(
  key: TokenKey,
  request: TokenRequest,
  {
    type,
    claims,
    world,
  }: { readonly type: string; readonly claims: TokenObject; readonly world: IssuerWorld },
): Result<IssuedToken, MintRefusal> {
  const { spiffeId, instance, lifetimeSeconds = tokenLifetimeSecondsDefault } = request;
  const refusal = requestRefusal(key, spiffeId, lifetimeSeconds);
  if (refusal !== undefined) return refusal;
  const issuedAtSeconds = Math.floor(world.clock.nowSeconds());
  if (issuedAtSeconds >= key.notAfterSeconds) return fail("token-key-expired", key.id);
  const expiresAtSeconds = Math.min(issuedAtSeconds + Math.floor(lifetimeSeconds), key.notAfterSeconds);
  const id = hexOf(world.randomBytes(idBytes));
  const token = writeCompactJws(
    { alg: "ES256", kid: key.id, typ: type },
    { sub: spiffeId, ...claims, iat: issuedAtSeconds, exp: expiresAtSeconds, jti: id, instance },
    key.privateKey,
  );
  return ok({ token, id, expiresAtSeconds });
}

function requestRefusal(
  { trustDomain }: TokenKey,
  spiffeId: SpiffeId,
  lifetimeSeconds: number,
): Refusal<MintRefusal> | undefined {
  if (trustDomainOf(spiffeId) !== trustDomain) return fail("other-trust-domain", spiffeId);
  if (pathOf(spiffeId) === "") return fail("no-path", spiffeId);
  return lifetimeSeconds >= 1 && lifetimeSeconds <= tokenLifetimeSecondsMax
    ? undefined
    : fail("bad-lifetime", `${lifetimeSeconds} s`);
}
