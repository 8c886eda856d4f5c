import { beforeEach, expect, it } from "vitest";
import { type FakeClock, fakeClock } from "../../test/fakes/fake-clock.ts";
import { silentLog } from "../../test/fakes/silent-log.ts";
import { svidNamed } from "../../test/fakes/svid-in-use.ts";
import { fail, ok, type Result } from "../base/result.ts";
import type { AskRefusal, Given } from "./ask-token-issuer.ts";
import { AudienceKeys } from "./audience-keys.ts";
import { CoarseTimer } from "./coarse-timer.ts";

const svid = svidNamed("aa");
const firstKeyPeriod = 3_000_000;

let clock: FakeClock;
let timer: CoarseTimer;
let asked: number;
let isWanted: boolean;
let hasSvid: boolean;
let answer: Result<Given, AskRefusal>;
let audience: AudienceKeys;

beforeEach(() => {
  clock = fakeClock();
  timer = new CoarseTimer(clock);
  asked = 0;
  isWanted = true;
  hasSvid = true;
  answer = keys(1, 2, 3);
  audience = new AudienceKeys({
    instance: "01234567-89ab-4cde-8f01-23456789abcd",
    bootId: "0123456789abcdef",
    isWanted: () => isWanted,
    ask: async (_, wanted) => {
      if (wanted.case === "audienceKeys" && wanted.value.bootId === "0123456789abcdef") asked += 1;
      await Promise.resolve();
      return answer;
    },
    currentSvid: () => (hasSvid ? svid : undefined),
    timer,
    clock,
    random: () => 0.5,
    log: silentLog,
  });
});

function keys(...first: readonly number[]): Result<Given, AskRefusal> {
  const value = {
    $typeName: "troth.v1.RequestTokenKeys" as const,
    firstKeyPeriod,
    keys: first.map((byte) => new Uint8Array(32).fill(byte)),
  };
  return ok({ case: "keys", value });
}

async function pass(seconds: number): Promise<void> {
  for (let second = 0; second < seconds; second += 1) {
    clock.advanceSeconds(1);
    timer.tick();
    await new Promise((resolve) => setImmediate(resolve));
  }
}

it("is named by its instance and its start", () => {
  expect(audience.audience).toBe("01234567-89ab-4cde-8f01-23456789abcd/0123456789abcdef");
});

it("asks for its keys once somebody wants request tokens and it has an SVID, and not before", async () => {
  isWanted = false;
  await audience.obtain();
  audience.look();
  expect(asked).toBe(0);
  isWanted = true;
  hasSvid = false;
  await audience.obtain();
  expect(asked).toBe(0);
  hasSvid = true;

  audience.look();
  audience.look();
  await audience.obtain();

  expect(asked).toBe(1);
  expect([-1, 0, 2, 3].map((step) => audience.keyOf(firstKeyPeriod + step)?.export()[0])).toEqual([
    undefined,
    1,
    3,
    undefined,
  ]);
});

it("asks for them again about twice in each key period", async () => {
  await audience.obtain();
  answer = keys(7);
  await pass(310);

  expect(asked).toBe(2);
  expect(audience.keyOf(firstKeyPeriod)?.export()[0]).toBe(7);
  await pass(310);
  expect(asked).toBe(3);
});

it("keeps the keys that it has where the issuer is away, and asks again, less and less often", async () => {
  await audience.obtain();
  answer = fail("issuer-unreachable");
  await pass(310);
  expect(asked).toBeGreaterThan(2);
  expect(audience.isReady).toBe(true);
  const before = asked;

  await pass(100);

  expect(asked - before).toBeGreaterThan(5);
  expect(asked - before).toBeLessThan(15);
});

it("asks no more often for whoever waits for keys that cannot be had, and has them soon after they can", async () => {
  answer = fail("issuer-unreachable");
  await Promise.all(Array.from({ length: 100 }, () => audience.obtain()));
  expect(asked).toBe(1);

  for (let request = 0; request < 1_000; request += 1) await audience.obtain();
  audience.look();
  expect(asked).toBe(1);
  await pass(100);
  for (let request = 0; request < 1_000; request += 1) await audience.obtain();
  expect(asked).toBeLessThan(60);

  answer = keys(1);
  await pass(4);
  expect(audience.isReady).toBe(true);
});

it("is without keys, and asks for none, once nobody wants request tokens any more", async () => {
  await audience.obtain();
  isWanted = false;
  await pass(700);

  expect([asked, audience.isReady]).toEqual([1, false]);
  isWanted = true;
  audience.look();
  await pass(1);
  expect([asked, audience.isReady]).toEqual([2, true]);
});
