import { randomBytes } from "node:crypto";
import {
  defaultReplayWindow,
  type SkippableStep,
  type TokenRequest,
} from "../../../src/request-token/index.ts";
import { newPeer, tokenGround } from "../../apparatus/token-ground.ts";
import { type Claim, failed, ok } from "../claim.ts";

const manyShort = 5_000;
const manyFull = 100_000;
const request: TokenRequest = { method: "GET", destination: "/shop/payments", path: "/", contentDigest: "" };
const instance = "0197f3a0-1111-7222-8333-444455556666";
const otherInstance = "0197f3a0-9999-7222-8333-444455556666";

/** Whoever has captured a token that was never used, and where he shows it. */
interface Theft {
  readonly name: string;
  readonly reason: string;
  readonly audience: string;
  readonly connection: "the caller's own" | "another of the caller's" | "the thief's";
  /** Without these steps he would get in. */
  readonly steps: readonly SkippableStep[];
}

const here = `${instance}/0011223344556677`;
const thefts: readonly Theft[] = [
  {
    name: "another connection",
    reason: "request-token-invalid",
    audience: here,
    connection: "another of the caller's",
    steps: ["tag"],
  },
  {
    name: "another instance",
    reason: "request-token-invalid",
    audience: `${otherInstance}/0011223344556677`,
    connection: "the caller's own",
    steps: ["tag"],
  },
  {
    name: "the same instance after a restart",
    reason: "request-token-invalid",
    audience: `${instance}/8899aabbccddeeff`,
    connection: "the caller's own",
    steps: ["tag"],
  },
  {
    name: "the thief's connection",
    reason: "request-token-certificate-mismatch",
    audience: here,
    connection: "the thief's",
    steps: ["certificate", "tag"],
  },
];

export const claim: Claim = {
  text: "a captured request token is refused on every other connection, at every other instance, after a restart, and from a thief; and each would be accepted without the check that refuses it",
  run: ({ isFull }) => {
    const many = isFull ? manyFull : manyShort;
    const wrong: string[] = [];
    for (const theft of thefts) {
      const refused = steal(theft, many, []);
      if (refused.size !== 1 || refused.get(theft.reason) !== many)
        wrong.push(`${theft.name}: ${JSON.stringify([...refused])}`);
      const control = steal(theft, many, theft.steps);
      if (control.get("accepted") !== many)
        wrong.push(`${theft.name}, without ${theft.steps.join(" and ")}: ${JSON.stringify([...control])}`);
    }
    if (wrong.length > 0) return Promise.resolve(failed(wrong.join("; ")));
    const names = thefts.map(({ name, reason }) => `${name} ${reason}`).join(", ");
    return Promise.resolve(
      ok(`${many} tokens each, 0 accepted: ${names}; ${many} of each accepted without the check`),
    );
  },
};

function steal(
  theft: Theft,
  many: number,
  skippedSteps: readonly SkippableStep[],
): ReadonlyMap<string, number> {
  const issuer = {
    clock: { millis: 1_800_000_000_000 },
    rootKey: randomBytes(32),
    window: defaultReplayWindow,
    bucketEntriesMax: 2 * manyFull,
  };
  const caller = tokenGround({ ...issuer, audience: here }).connect("/shop/cart");
  const target = tokenGround({ ...issuer, audience: theft.audience, skippedSteps });
  const check = target.checker(
    {
      "the caller's own": caller.peer,
      "another of the caller's": { ...caller.peer, channelBinding: randomBytes(32) },
      "the thief's": newPeer("/mallory"),
    }[theft.connection],
  );
  const outcomes = new Map<string, number>();
  for (let index = 0; index < many; index += 1) {
    const result = check(caller.mint(request), request, "granted");
    const outcome = result.ok ? "accepted" : result.reason;
    outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1);
  }
  return outcomes;
}
