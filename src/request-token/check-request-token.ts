import { type KeyObject, timingSafeEqual } from "node:crypto";
import { fail, ok, type Refusal, type Result } from "../base/result.ts";
import { deriveClientKey } from "./derive-keys.ts";
import { keyPeriodAt } from "./key-period.ts";
import type { NonceWheel } from "./nonce-wheel.ts";
import type { RequestTokenRefusal } from "./refusal.ts";
import type { ReplayWindow } from "./replay-window.ts";
import { requestDigester, type TokenRequest } from "./request-digest.ts";
import { decodeRequestToken } from "./request-token.ts";
import { type TokenContext, tokenTagger } from "./token-context.ts";
import {
  digestBytes,
  type RequestTokenMode,
  readIssuedAt,
  requestTokenBytes,
  requestTokenModeOf,
  requestTokenVersion,
  tokenOffset,
} from "./token-layout.ts";

/** A request token that its audience has accepted, for this request and no other. */
export interface CheckedRequestToken {
  readonly mode: RequestTokenMode;
  readonly issuedAtMillis: number;
  readonly [checked]: true;
}

/** What an audience holds for all connections. */
export interface RequestTokenAudience {
  /** `<instance uuid>/<boot id>`. */
  readonly audience: string;
  /** The audience's key of a key period, where the process has it. */
  readonly keyOf: (keyPeriod: number) => KeyObject | undefined;
  /** The issuer's time in milliseconds, as this process knows it. */
  readonly issuerMillis: () => number;
  readonly window: ReplayWindow;
  readonly nonces: Pick<NonceWheel, "keep">;
  /** Steps that are left out, so that a test can show what each one stops. Only in test domains. */
  readonly dangerSkippedSteps?: ReadonlySet<SkippableStep>;
}

/** The steps that a test domain can leave out. */
export type SkippableStep = "window" | "certificate" | "request" | "tag" | "nonce";

/** What an audience knows of a connection by itself: nothing of it is taken from a token. */
export interface RequestTokenPeer extends Omit<TokenContext, "audience"> {
  /** SHA-256 of the leaf certificate in DER that the peer of this connection has shown. */
  readonly certificateFingerprint: Uint8Array;
  /** Whether that certificate has been revoked, or is out of its time, by now. */
  readonly isRevoked: () => boolean;
}

/** What the service that is asked for demands. */
export type RequestTokenDemand = "granted" | "per-request";

/**
 * Checks the request token of one request, in the order of docs/specs/request-token.md, and uses it up. `presented` is
 * the value of the `troth-request-token` header, or all its values. Never throws.
 */
export type CheckRequestToken = (
  presented: string | readonly string[] | undefined,
  request: TokenRequest,
  demand: RequestTokenDemand,
) => Result<CheckedRequestToken, RequestTokenRefusal>;

/** How many client keys are kept for a connection; one for each destination, mode and key period in use. */
export const clientKeysMax = 16;

/** Opens the audience's end of a connection: what checks all request tokens that come over it. */
export function requestTokenChecker(
  audience: RequestTokenAudience,
  peer: RequestTokenPeer,
): CheckRequestToken {
  const isSkipped = (step: SkippableStep) => audience.dangerSkippedSteps?.has(step) === true;
  const writeTag = tokenTagger({ ...peer, audience: audience.audience });
  const writeDigest = requestDigester();
  const clientKeyOf = clientKeys(peer);
  const peerFingerprint = Buffer.from(peer.certificateFingerprint);
  const token = Buffer.alloc(requestTokenBytes);
  const fingerprint = token.subarray(tokenOffset.certificateFingerprint, tokenOffset.requestDigest);
  const presentedDigest = token.subarray(tokenOffset.requestDigest, tokenOffset.tag);
  const presentedTag = token.subarray(tokenOffset.tag);
  const digest = Buffer.alloc(digestBytes);
  const tag = Buffer.alloc(digestBytes);
  const skipsWindow = isSkipped("window");
  const skipsCertificate = isSkipped("certificate");
  const skipsRequest = isSkipped("request");
  const skipsTag = isSkipped("tag");
  const skipsNonce = isSkipped("nonce");

  return (presented, request, demand) => {
    // 1 to 3: form, version, mode, key.
    if (presented === undefined) return fail("request-token-missing", "the service wants a request token");
    const text =
      typeof presented === "string" ? presented : presented.length === 1 ? presented[0] : undefined;
    if (text === undefined || !decodeRequestToken(text, token)) return malformed(presented);
    const version = token[tokenOffset.version];
    if (version !== requestTokenVersion) return fail("request-token-version", `version ${version}`);
    const mode = requestTokenModeOf(token[tokenOffset.mode] ?? 0);
    if (mode === undefined || !meets(mode, demand)) return wrongMode(mode, demand);
    const keyPeriod = token.readUInt32BE(tokenOffset.keyPeriod);
    const issuedAtMillis = readIssuedAt(token);
    const audienceKey = keyPeriod === keyPeriodAt(issuedAtMillis) ? audience.keyOf(keyPeriod) : undefined;
    if (audienceKey === undefined) return fail("request-token-key-unknown", `key period ${keyPeriod}`);
    // 4: time.
    const ageMillis = audience.issuerMillis() - issuedAtMillis;
    if (!skipsWindow) {
      if (ageMillis > audience.window.pastMillis) return expired(ageMillis);
      if (-ageMillis > audience.window.futureMillis)
        return fail("request-token-future", `${-ageMillis} ms ahead`);
    }
    // 5 and 6: the certificate of this very connection.
    if (!skipsCertificate && !timingSafeEqual(fingerprint, peerFingerprint))
      return fail("request-token-certificate-mismatch", "minted for another certificate");
    if (peer.isRevoked()) return fail("request-token-certificate-revoked");
    // 7: this very request.
    writeDigest(request, digest, 0);
    if (!skipsRequest && !timingSafeEqual(presentedDigest, digest))
      return fail("request-token-mismatch", "minted for another request");
    // 8: minted by somebody who holds a grant for here.
    if (!skipsTag) {
      const key = clientKeyOf(audienceKey, keyPeriod, mode, request.destination);
      writeTag(key, token, tag, 0);
      if (!timingSafeEqual(presentedTag, tag))
        return fail("request-token-invalid", "another connection, audience, caller, destination or key");
    }
    // 9: once. After the tag, so that nobody without a grant can fill the wheel.
    const verdict = skipsNonce ? "fresh" : audience.nonces.keep(token, tokenOffset.nonce, issuedAtMillis);
    if (verdict === "seen") return fail("request-token-replayed", "used before");
    if (verdict === "forgotten") return expired(ageMillis);
    if (verdict === "full") return fail("nonce-store-full", "more tokens than this proxy can remember");
    return ok(asChecked({ mode, issuedAtMillis }));
  };
}

declare const checked: unique symbol;

function asChecked(token: Omit<CheckedRequestToken, typeof checked>): CheckedRequestToken {
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- the brand of a token that every step above let pass
  return token as CheckedRequestToken;
}

/** A token made for one request is more than a grant asks for, not less. */
function meets(mode: RequestTokenMode, demand: RequestTokenDemand): boolean {
  return mode === demand || mode === "per-request";
}

/** A client key is an HKDF away from the audience's; so the last ones are kept with the connection. */
function clientKeys(peer: RequestTokenPeer) {
  const kept = new Map<string, { readonly audienceKey: KeyObject; readonly key: KeyObject }>();
  return (
    audienceKey: KeyObject,
    keyPeriod: number,
    mode: RequestTokenMode,
    destination: string,
  ): KeyObject => {
    const name = `${keyPeriod} ${mode} ${destination}`;
    const known = kept.get(name);
    if (known?.audienceKey === audienceKey) return known.key;
    const { certificateFingerprint, spiffeId } = peer;
    const key = deriveClientKey(audienceKey, { mode, destination, certificateFingerprint, spiffeId });
    if (kept.size >= clientKeysMax) for (const oldest of kept.keys()) if (kept.delete(oldest)) break;
    kept.set(name, { audienceKey, key });
    return key;
  };
}

function malformed(presented: string | readonly string[]): Refusal<RequestTokenRefusal> {
  if (typeof presented !== "string" && presented.length !== 1)
    return fail("request-token-malformed", `${presented.length} headers`);
  return fail("request-token-malformed", "not 168 characters of base64url");
}

function wrongMode(
  mode: RequestTokenMode | undefined,
  demand: RequestTokenDemand,
): Refusal<RequestTokenRefusal> {
  return fail("request-token-mode", `${mode ?? "an unknown mode"} where ${demand} is wanted`);
}

function expired(ageMillis: number): Refusal<RequestTokenRefusal> {
  return fail("request-token-expired", `${ageMillis} ms old`);
}
