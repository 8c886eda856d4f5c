import type { Clock } from "../../base/clock.ts";
import { readCompactJws, type TokenObject } from "../../crypto/index.ts";
import { nextRotationSeconds } from "../../identity/index.ts";
import {
  isTokenInForce,
  type NamedToken,
  publishedTokenKeys,
  type TokenUse,
  type TrustState,
} from "../../trust-log/index.ts";

const tokensMax = 4_096;

/** A token that was issued, with what says until when it may be handed out. */
export interface KeptToken {
  readonly token: string;
  readonly use: TokenUse;
  readonly named: NamedToken;
  /** The key that signed it. */
  readonly kid: string;
  /** About half of its life later, by the wall clock and by the monotonic one: whichever comes there first. */
  readonly dueSeconds: number;
  readonly dueMillis: number;
}

/** A token as it came from the control plane; undefined where it does not say what all of them do. */
export function keepToken(
  token: string,
  use: TokenUse,
  { clock, random }: { readonly clock: Clock; readonly random: () => number },
): KeptToken | undefined {
  const read = readCompactJws(token);
  if (!read.ok) return undefined;
  const { claims, header } = read.value;
  const { iat, exp } = claims;
  const [sub, jti, instance] = ["sub", "jti", "instance"].map((name) => textIn(claims, name));
  const kid = textIn(header, "kid");
  if (typeof iat !== "number" || typeof exp !== "number" || sub === undefined || kid === undefined)
    return undefined;
  const halfSeconds = nextRotationSeconds({ notBeforeSeconds: 0, notAfterSeconds: exp - iat }, random());
  return {
    token,
    use,
    named: { spiffeId: sub, id: jti, instance, issuedAtSeconds: iat },
    kid,
    dueSeconds: iat + halfSeconds,
    dueMillis: clock.monotonicMillis() + halfSeconds * 1000,
  };
}

/** Whether a token is in the first half of its life, and counts: the token, its instance and the key that signed it. */
export function isFresh(kept: KeptToken, state: TrustState, clock: Clock): boolean {
  if (clock.monotonicMillis() >= kept.dueMillis || clock.nowSeconds() >= kept.dueSeconds) return false;
  return counts(kept, state);
}

/** Whether the log lets a token count, and nobody has doubts of its key. */
export function counts({ named, use, kid }: KeptToken, state: TrustState): boolean {
  if (!isTokenInForce(state, named)) return false;
  return publishedTokenKeys(state, use).some(({ id, status }) => id === kid && status !== "tainted");
}

/** JWT-SVIDs by who they are for, so that a workload that asks with every request costs the control plane nothing. */
export class KeptJwts {
  readonly #kept = new Map<string, KeptToken>();

  /** One that may be handed out again. */
  find(instance: string, audience: readonly string[], state: TrustState, clock: Clock): string | undefined {
    const name = nameOf(instance, audience);
    const kept = this.#kept.get(name);
    if (kept === undefined) return undefined;
    if (isFresh(kept, state, clock)) return kept.token;
    this.#kept.delete(name);
    return undefined;
  }

  /** Keeps one; the oldest goes where there are too many. */
  keep(instance: string, audience: readonly string[], kept: KeptToken): void {
    const name = nameOf(instance, audience);
    this.#kept.delete(name);
    this.#kept.set(name, kept);
    for (const oldest of this.#kept.keys().take(Math.max(0, this.#kept.size - tokensMax)))
      this.#kept.delete(oldest);
  }
}

function nameOf(instance: string, audience: readonly string[]): string {
  return JSON.stringify([instance, ...audience]);
}

function textIn(object: TokenObject, name: string): string | undefined {
  const value = object[name];
  return typeof value === "string" ? value : undefined;
}
