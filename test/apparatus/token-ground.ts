import { randomBytes } from "node:crypto";
import {
  type CheckRequestToken,
  deriveAudienceKey,
  deriveClientKey,
  importRequestTokenKey,
  keyPeriodAt,
  type NonceWheel,
  nonceSource,
  nonceWheel,
  type ReplayWindow,
  type RequestTokenPeer,
  requestTokenChecker,
  requestTokenMinter,
  type SkippableStep,
  type TokenRequest,
} from "../../src/request-token/index.ts";

/** An issuer, an audience and callers without a mesh around them; time is what `clock.millis` says. */
export interface TokenGround {
  readonly clock: { millis: number };
  readonly audience: string;
  readonly nonces: NonceWheel;
  /** A caller that has just connected. */
  readonly connect: (name: string) => ConnectedCaller;
  /** The audience's end of a connection. */
  readonly checker: (peer: RequestTokenPeer) => CheckRequestToken;
}

/** A caller with its grant and both ends of its connection. */
export interface ConnectedCaller {
  readonly peer: RequestTokenPeer;
  /** Mints a token with the time of the clock. */
  readonly mint: (request: TokenRequest) => string;
  readonly check: CheckRequestToken;
}

/** What a ground is laid with. */
export interface TokenGroundOptions {
  readonly clock: { millis: number };
  readonly audience: string;
  readonly rootKey: Uint8Array;
  readonly window: ReplayWindow;
  readonly bucketEntriesMax?: number;
  readonly skippedSteps?: readonly SkippableStep[];
}

/** Lays a ground. Grounds with the same root key and clock are audiences of the same issuer. */
export function tokenGround(options: TokenGroundOptions): TokenGround {
  const { clock, audience, window, bucketEntriesMax } = options;
  const root = importRequestTokenKey(options.rootKey);
  const keyOf = remembered((period: number) => deriveAudienceKey(root, period, audience));
  const limit = bucketEntriesMax === undefined ? {} : { bucketEntriesMax };
  const nonces = nonceWheel({ window, randomBytes, ...limit });
  const dangerSkippedSteps = new Set(options.skippedSteps);
  const held = { audience, keyOf, issuerMillis: () => clock.millis, window, nonces, dangerSkippedSteps };
  const checker = (peer: RequestTokenPeer) => requestTokenChecker(held, peer);
  return {
    clock,
    audience,
    nonces,
    checker,
    connect: (name) => {
      const peer = newPeer(name);
      const mode = "granted";
      const mint = requestTokenMinter({ ...peer, audience, mode, nonces: nonceSource(randomBytes) });
      const grantsFor = remembered((destination: string) =>
        remembered((period: number) => deriveClientKey(keyOf(period), { ...peer, mode, destination })),
      );
      return {
        peer,
        mint: (request) =>
          mint(grantsFor(request.destination)(keyPeriodAt(clock.millis)), request, clock.millis),
        check: checker(peer),
      };
    },
  };
}

/** A connection of its own of a caller with a certificate of its own. */
export function newPeer(name: string): RequestTokenPeer {
  return {
    spiffeId: `spiffe://shop.example${name}`,
    source: name,
    channelBinding: randomBytes(32),
    certificateFingerprint: randomBytes(32),
    isRevoked: () => false,
  };
}

function remembered<Key, Value>(make: (key: Key) => Value): (key: Key) => Value {
  const made = new Map<Key, Value>();
  return (key) => {
    const known = made.get(key);
    if (known !== undefined) return known;
    const value = make(key);
    made.set(key, value);
    return value;
  };
}
