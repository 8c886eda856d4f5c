import { type KeyObject, randomBytes } from "node:crypto";
import fc from "fast-check";
import { expect, it } from "vitest";
import {
  type CheckRequestToken,
  clientKeysMax,
  deriveAudienceKey,
  deriveClientKey,
  importRequestTokenKey,
  isWorthAnotherToken,
  keyPeriodAt,
  keyPeriodMillis,
  keyPeriodStartsMillis,
  narrowReplayWindow,
  noChannelBinding,
  nonceSource,
  nonceWheel,
  type RequestTokenAudience,
  type RequestTokenDemand,
  type RequestTokenMode,
  type RequestTokenPeer,
  type RequestTokenRefusal,
  requestTokenChecker,
  requestTokenMinter,
  requestTokenStatus,
  type SkippableStep,
  shownRefusal,
  type TokenRequest,
} from "./index.ts";

const now = keyPeriodStartsMillis(3_000_000) + 300_000;
const window = { pastMillis: 30_000, futureMillis: 5_000 };
const root = importRequestTokenKey(new Uint8Array(32).fill(7));
const instance = "0197f3a0-1111-7222-8333-444455556666";
const request: TokenRequest = {
  method: "POST",
  destination: "/shop/pay",
  path: "/charge?x=1",
  contentDigest: "sha-256=:x:",
};
const caller: RequestTokenPeer = {
  spiffeId: "spiffe://shop.example/shop/cart",
  source: "/shop/cart",
  channelBinding: new Uint8Array(32).fill(0xcb),
  certificateFingerprint: new Uint8Array(32).fill(0xf1),
  isRevoked: () => false,
};
const thief: RequestTokenPeer = {
  ...caller,
  spiffeId: "spiffe://shop.example/mallory",
  source: "/mallory",
  certificateFingerprint: new Uint8Array(32).fill(0x66),
};

it("accepts a token once, and says of what time and mode it is", () => {
  const check = open({});
  const token = mint({});

  expect(check(token, request, "granted")).toEqual({
    ok: true,
    value: { mode: "granted", issuedAtMillis: now },
  });
  expect(reasonOf(check(token, request, "granted"))).toBe("request-token-replayed");
});

it("accepts one token after the other, each once, also with each other's field values", () => {
  const check = open({});
  const tokens = Array.from({ length: 100 }, () => mint({}));

  for (const token of tokens) expect(check([token], request, "granted").ok).toBe(true);
  for (const token of tokens)
    expect(reasonOf(check([token], request, "granted"))).toBe("request-token-replayed");
});

it.each<readonly [RequestTokenRefusal, string, () => RequestTokenRefusal | undefined]>([
  ["request-token-missing", "no header", () => judge({ presented: undefined })],
  ["request-token-malformed", "no token in the header", () => judge({ presented: "" })],
  ["request-token-malformed", "two headers", () => judge({ presented: [mint({}), mint({})] })],
  ["request-token-malformed", "a list of none", () => judge({ presented: [] })],
  [
    "request-token-malformed",
    "two tokens in one header",
    () => judge({ presented: `${mint({})}, ${mint({})}` }),
  ],
  ["request-token-malformed", "padding", () => judge({ presented: `${mint({})}=` })],
  ["request-token-version", "another version", () => judge({ presented: withByte(mint({}), 0, 2) })],
  ["request-token-mode", "an unknown mode", () => judge({ presented: withByte(mint({}), 1, 3) })],
  [
    "request-token-mode",
    "a grant where each request must be asked for",
    () => judge({ demand: "per-request" }),
  ],
  [
    "request-token-key-unknown",
    "a key period before those at hand",
    () => judge({ clock: now + 2 * keyPeriodMillis }),
  ],
  [
    "request-token-key-unknown",
    "a key period after those at hand",
    () => judge({ clock: now - 2 * keyPeriodMillis }),
  ],
  [
    "request-token-key-unknown",
    "a key period that is not the time's",
    () => judge({ presented: withByte(mint({}), 5, 0xc1) }),
  ],
  [
    "request-token-malformed",
    "a time beyond all numbers",
    () => judge({ presented: withByte(mint({}), 6, 0xff) }),
  ],
  ["request-token-expired", "a token that is too old", () => judge({ clock: now + window.pastMillis + 1 })],
  ["request-token-future", "a token of later", () => judge({ clock: now - window.futureMillis - 1 })],
  [
    "request-token-certificate-mismatch",
    "a connection with another certificate",
    () => judge({ peer: thief }),
  ],
  [
    "request-token-certificate-mismatch",
    "the same name's next certificate",
    () => judge({ peer: { ...caller, certificateFingerprint: new Uint8Array(32).fill(2) } }),
  ],
  [
    "request-token-certificate-revoked",
    "a certificate that is revoked by now",
    () => judge({ peer: { ...caller, isRevoked: () => true } }),
  ],
  ["request-token-mismatch", "another method", () => judge({ asked: { ...request, method: "DELETE" } })],
  ["request-token-mismatch", "another path", () => judge({ asked: { ...request, path: "/charge?x=2" } })],
  [
    "request-token-mismatch",
    "another destination",
    () => judge({ asked: { ...request, destination: "/shop/payments" } }),
  ],
  [
    "request-token-mismatch",
    "another content",
    () => judge({ asked: { ...request, contentDigest: "sha-256=:y:" } }),
  ],
  [
    "request-token-mismatch",
    "no content digest any more",
    () => judge({ asked: { ...request, contentDigest: "" } }),
  ],
  [
    "request-token-invalid",
    "another connection",
    () => judge({ peer: { ...caller, channelBinding: new Uint8Array(32).fill(1) } }),
  ],
  [
    "request-token-invalid",
    "no channel binding where there was one",
    () => judge({ peer: { ...caller, channelBinding: noChannelBinding } }),
  ],
  [
    "request-token-invalid",
    "another caller's name",
    () => judge({ peer: { ...caller, spiffeId: thief.spiffeId } }),
  ],
  [
    "request-token-invalid",
    "another caller's service",
    () => judge({ peer: { ...caller, source: thief.source } }),
  ],
  [
    "request-token-invalid",
    "another process of the service",
    () => judge({ audience: "0197f3a0-9999-7222-8333-444455556666/0011223344556677" }),
  ],
  [
    "request-token-invalid",
    "the same process, started again",
    () => judge({ audience: `${instance}/ffeeddccbbaa9988` }),
  ],
  [
    "request-token-invalid",
    "another root key",
    () => judge({ rootKey: importRequestTokenKey(new Uint8Array(32).fill(8)) }),
  ],
  [
    "request-token-invalid",
    "a key granted for another destination",
    () => judge({ presented: mint({ granted: { destination: "/shop/ledger" } }) }),
  ],
  [
    "request-token-invalid",
    "a key granted to another caller",
    () => judge({ presented: mint({ granted: { spiffeId: thief.spiffeId } }) }),
  ],
  [
    "request-token-invalid",
    "a key granted for another certificate",
    () => judge({ presented: mint({ granted: thief }) }),
  ],
  [
    "request-token-invalid",
    "a key granted for another mode",
    () => judge({ presented: mint({ granted: { mode: "per-request" } }) }),
  ],
  [
    "request-token-invalid",
    "a mode changed to a stricter one",
    () => judge({ presented: withByte(mint({}), 1, 1) }),
  ],
  ["request-token-invalid", "another time", () => judge({ presented: withByte(mint({}), 13, 0x0d) })],
  ["request-token-invalid", "another nonce", () => judge({ presented: withByte(mint({}), 14, 0x0d) })],
  ["request-token-replayed", "the same token again", () => judge({ times: 2 })],
  ["nonce-store-full", "a token too many", () => judge({ bucketEntriesMax: 0 })],
])("refuses %s: %s", (reason, _, attempt) => {
  expect(attempt()).toBe(reason);
});

it("checks in the order of the page: of two things that are wrong the earlier is the reason", () => {
  const revoked = { ...caller, isRevoked: () => true };
  const steps: readonly (readonly [RequestTokenRefusal, Attempt])[] = [
    ["request-token-mode", { demand: "per-request" }],
    ["request-token-key-unknown", { clock: now + 2 * keyPeriodMillis }],
    ["request-token-expired", { clock: now + window.pastMillis + 1 }],
    [
      "request-token-certificate-mismatch",
      { peer: { ...revoked, certificateFingerprint: new Uint8Array(32) } },
    ],
    ["request-token-certificate-revoked", { peer: revoked }],
    ["request-token-mismatch", { asked: { ...request, method: "PUT" } }],
    ["request-token-invalid", { audience: "other/0011223344556677" }],
    ["nonce-store-full", { bucketEntriesMax: 0 }],
  ];

  for (const [at, [reason, attempt]] of steps.entries())
    for (const [, later] of steps.slice(at)) expect(judge({ ...later, ...attempt })).toBe(reason);
});

it("accepts a token made for one request where a grant would do", () => {
  expect(judge({ presented: mint({ mode: "per-request" }) })).toBeUndefined();
  expect(judge({ presented: mint({ mode: "per-request" }), demand: "per-request" })).toBeUndefined();
});

it.each([
  ["as old as allowed", window.pastMillis, undefined],
  ["a millisecond older", window.pastMillis + 1, "request-token-expired"],
  ["as far ahead as allowed", -window.futureMillis, undefined],
  ["a millisecond further", -window.futureMillis - 1, "request-token-future"],
])("draws the window exactly: %s", (_, ageMillis, reason) => {
  expect(judge({ clock: now + ageMillis })).toBe(reason);
});

it("reads the window anew for each token", () => {
  const held = audienceWith({ clock: now + 6_000 });
  let service = window;
  const check = requestTokenChecker(
    {
      ...held,
      get window() {
        return service;
      },
    },
    caller,
  );
  expect(check(mint({}), request, "granted").ok).toBe(true);
  service = narrowReplayWindow;

  expect(reasonOf(check(mint({}), request, "granted"))).toBe("request-token-expired");
});

it("has each key period's tokens accepted up to its edges, by that period's key and no other", () => {
  const first = keyPeriodStartsMillis(3_000_000);
  for (const at of [first, first + 1, first + keyPeriodMillis - 1, first + keyPeriodMillis, first - 1]) {
    expect(judge({ presented: mint({ at }), clock: at })).toBeUndefined();
    for (const wrong of [-1, 1])
      expect(judge({ presented: mint({ at, keyPeriod: keyPeriodAt(at) + wrong }), clock: at })).toBe(
        "request-token-invalid",
      );
  }
});

it("refuses a token with any bit of it changed", () => {
  const check = open({});
  const token = mint({});
  for (let byte = 0; byte < 126; byte += 1)
    for (let bit = 0; bit < 8; bit += 1) {
      const bytes = Buffer.from(token, "base64url");
      bytes.writeUInt8(bytes.readUInt8(byte) ^ (1 << bit), byte);
      expect(check(bytes.toString("base64url"), request, "granted").ok).toBe(false);
    }

  expect(check(token, request, "granted").ok).toBe(true);
});

it("refuses every part of a token, and every text that is none", () => {
  const check = open({});
  const token = mint({});
  for (let length = 0; length < token.length; length += 1) {
    expect(reasonOf(check(token.slice(0, length), request, "granted"))).toBe("request-token-malformed");
    expect(reasonOf(check(token.slice(length + 1), request, "granted"))).toBe("request-token-malformed");
  }
  fc.assert(
    fc.property(fc.oneof(fc.string(), fc.string({ minLength: 168, maxLength: 168 })), (text) => {
      expect(check(text, request, "granted").ok).toBe(false);
    }),
  );
});

it("remembers no nonce of a token whose tag is wrong, so a stranger can use up nobody's", () => {
  const check = open({});
  const token = mint({});
  expect(reasonOf(check(withByte(token, 125, 0), request, "granted"))).toBe("request-token-invalid");

  expect(check(token, request, "granted").ok).toBe(true);
});

it("lets two callers use the same nonce", () => {
  const held = audienceWith({});
  const nonces = (target: Buffer, offset: number) => target.fill(0xaa, offset, offset + 16);
  const outcomes = [caller, thief].map((peer) => {
    const token = mint({ peer, nonces });
    return requestTokenChecker(held, peer)(token, request, "granted").ok;
  });

  expect(outcomes).toEqual([true, true]);
});

it("accepts one of many concurrent duplicates, whichever connection check sees it first", async () => {
  const held = audienceWith({});
  const checks = Array.from({ length: 8 }, () => requestTokenChecker(held, caller));
  for (let round = 0; round < 50; round += 1) {
    const token = mint({});
    const outcomes = await Promise.all(
      checks.map(async (check) => {
        await Promise.resolve();
        return check(token, request, "granted").ok;
      }),
    );
    expect(outcomes.filter(Boolean)).toHaveLength(1);
  }
});

it("accepts nothing twice when the audience's clock goes back and forth", () => {
  let clock = now;
  const held = { ...audienceWith({}), issuerMillis: () => clock };
  const check = requestTokenChecker(held, caller);
  const used = Array.from({ length: 120 }, (_, index) => {
    clock = now + index * 1_000;
    const token = mint({ at: clock });
    expect(check(token, request, "granted").ok).toBe(true);
    return token;
  });
  for (const step of [0, 60_000, -30_000, 120_000, 20_000, 40_000, 80_000, 0, 300_000, 0]) {
    clock = now + step;
    for (const token of used) expect(check(token, request, "granted").ok).toBe(false);
  }
});

it("keeps few client keys, and derives a forgotten one again", () => {
  const check = open({});
  for (let round = 0; round < 2; round += 1)
    for (let index = 0; index < clientKeysMax + 5; index += 1) {
      const asked = { ...request, destination: `/shop/pay/${index}` };
      expect(check(mint({ asked }), asked, "granted").ok).toBe(true);
    }
});

it("uses the audience's new key as soon as the issuer gives another", () => {
  let rootKey = root;
  const audience = audienceWith({});
  const check = requestTokenChecker(
    { ...audience, keyOf: (period) => deriveAudienceKey(rootKey, period, audience.audience) },
    caller,
  );
  expect(check(mint({}), request, "granted").ok).toBe(true);
  rootKey = importRequestTokenKey(new Uint8Array(32).fill(9));

  expect(reasonOf(check(mint({}), request, "granted"))).toBe("request-token-invalid");
});

it.each<readonly [SkippableStep, Attempt]>([
  ["window", { clock: now + window.pastMillis + 1 }],
  ["certificate", { peer: { ...caller, certificateFingerprint: new Uint8Array(32) }, skipToo: "tag" }],
  ["request", { asked: { ...request, path: "/else" } }],
  ["tag", { audience: `${instance}/ffeeddccbbaa9988` }],
  ["nonce", { times: 2 }],
])("lets through what a step stops when a test leaves that step out: %s", (step, attempt) => {
  expect(judge(attempt)).not.toBeUndefined();
  expect(judge({ ...attempt, skip: step })).toBeUndefined();
});

it("has a status for each reason, shows one in place of another, and says which a new token may mend", () => {
  expect(requestTokenStatus).toEqual({
    "request-token-missing": 403,
    "request-token-malformed": 400,
    "request-token-version": 400,
    "request-token-mode": 403,
    "request-token-key-unknown": 400,
    "request-token-expired": 400,
    "request-token-future": 400,
    "request-token-certificate-mismatch": 403,
    "request-token-certificate-revoked": 403,
    "request-token-mismatch": 400,
    "request-token-invalid": 403,
    "request-token-replayed": 409,
    "nonce-store-full": 503,
  });
  expect(shownRefusal("request-token-certificate-mismatch")).toBe("request-token-invalid");
  expect(shownRefusal("request-token-replayed")).toBe("request-token-replayed");
  expect([
    isWorthAnotherToken("request-token-future"),
    isWorthAnotherToken("request-token-replayed"),
  ]).toEqual([true, false]);
});

/** One token at one audience, as it should be but for what is given. */
interface Attempt {
  readonly presented?: string | readonly string[] | undefined;
  readonly demand?: RequestTokenDemand;
  readonly asked?: TokenRequest;
  readonly peer?: RequestTokenPeer;
  readonly audience?: string;
  readonly rootKey?: KeyObject;
  readonly clock?: number;
  readonly bucketEntriesMax?: number;
  readonly times?: number;
  readonly skip?: SkippableStep;
  readonly skipToo?: SkippableStep;
}

function judge(attempt: Attempt): RequestTokenRefusal | undefined {
  const { times = 1, asked = request, demand = "granted" } = attempt;
  const check = open(attempt);
  const presented = "presented" in attempt ? attempt.presented : mint({});
  for (let time = 1; time < times; time += 1) check(presented, asked, demand);
  return reasonOf(check(presented, asked, demand));
}

function open(attempt: Attempt): CheckRequestToken {
  return requestTokenChecker(audienceWith(attempt), attempt.peer ?? caller);
}

function audienceWith(attempt: Attempt): RequestTokenAudience {
  const { audience = `${instance}/0011223344556677`, rootKey = root, clock = now } = attempt;
  const { bucketEntriesMax = 1_000 } = attempt;
  const present = keyPeriodAt(clock);
  const steps = [attempt.skip, attempt.skip === undefined ? undefined : attempt.skipToo];
  const keys = new Map(
    [present - 1, present, present + 1].map((period) => [
      period,
      deriveAudienceKey(rootKey, period, audience),
    ]),
  );
  return {
    audience,
    keyOf: (period) => keys.get(period),
    issuerMillis: () => clock,
    window,
    nonces: nonceWheel({ window, randomBytes, bucketEntriesMax }),
    dangerSkippedSteps: new Set(steps.filter((step) => step !== undefined)),
  };
}

interface Minting {
  readonly mode?: RequestTokenMode;
  readonly at?: number;
  /** The key period whose key is used; the time's own unless given. */
  readonly keyPeriod?: number;
  readonly asked?: TokenRequest;
  readonly peer?: RequestTokenPeer;
  readonly nonces?: (target: Buffer, offset: number) => void;
  /** What the key was granted for, where that is not what it is used for. */
  readonly granted?: Partial<Parameters<typeof deriveClientKey>[1]>;
}

function mint(minting: Minting): string {
  const { mode = "granted", at = now, asked = request, peer = caller, granted } = minting;
  const audience = `${instance}/0011223344556677`;
  const audienceKey = deriveAudienceKey(root, minting.keyPeriod ?? keyPeriodAt(at), audience);
  const { spiffeId, certificateFingerprint } = peer;
  const clientKey = deriveClientKey(audienceKey, {
    mode,
    destination: asked.destination,
    spiffeId,
    certificateFingerprint,
    ...granted,
  });
  const nonces = minting.nonces ?? nonceSource(randomBytes);
  return requestTokenMinter({ ...peer, audience, mode, nonces })(clientKey, asked, at);
}

function withByte(token: string, at: number, value: number): string {
  const bytes = Buffer.from(token, "base64url");
  // Whatever stood there before, something else stands there now.
  bytes.writeUInt8(bytes.readUInt8(at) === value ? value ^ 0xff : value, at);
  return bytes.toString("base64url");
}

function reasonOf(result: ReturnType<CheckRequestToken>): RequestTokenRefusal | undefined {
  return result.ok ? undefined : result.reason;
}
