import { setTimeout as sleep } from "node:timers/promises";
import { afterEach, expect, it, vi } from "vitest";
import { fakeClock } from "../../test/fakes/fake-clock.ts";
import { silentLog } from "../../test/fakes/silent-log.ts";
import { generateP256, parseCertificateRequest } from "../crypto/index.ts";
import { issueSvid } from "../identity/index.ts";
import { testDomain, testId, testSvid, testWorld, valueOf } from "../identity/svid-for-tests.ts";
import { type RequestSvid, type SvidInUse, SvidKeeper } from "./svid-keeper.ts";

const domain = testDomain("shop.example");
const id = "spiffe://shop.example/shop/front";
const closing = new AbortController();
const halfOfAnHour = 1_800;

afterEach(() => {
  vi.useRealTimers();
});

/** A keeper over an issuer that answers at once; time is moved by hand. */
async function openKeeper(lifetimeSeconds: number) {
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
  const clock = fakeClock();
  const rotations: number[] = [];
  const issuer = { aheadSeconds: 0 };
  const request: RequestSvid = async (certificateRequest) => {
    const proof = valueOf(parseCertificateRequest(certificateRequest));
    const world = testWorld(clock.nowSeconds() + issuer.aheadSeconds);
    const svid = valueOf(issueSvid(domain.issuer, { proof, spiffeId: testId(id), lifetimeSeconds }, world));
    return { chain: svid.chain, generation: 0 };
  };
  const keeper = await SvidKeeper.open({
    request,
    rotated: () => rotations.push(clock.nowSeconds()),
    clock,
    random: () => 0.5,
    log: silentLog,
    signal: closing.signal,
  });
  const pass = async (seconds: number): Promise<void> => {
    for (let step = 0; step < seconds * 10; step += 1) {
      clock.advanceSeconds(0.1);
      await vi.advanceTimersByTimeAsync(100);
    }
  };
  return { keeper, clock, issuer, rotations, pass, startSeconds: clock.nowSeconds() };
}

it("rotates after half of the time that a certificate has left when it comes", async () => {
  const { keeper, rotations, pass, startSeconds } = await openKeeper(20);

  await pass(31);
  keeper[Symbol.dispose]();

  // An issuer counts whole seconds.
  const gaps = rotations.map((seconds, place) => seconds - (rotations[place - 1] ?? startSeconds));
  expect(gaps.length).toBe(3);
  for (const gap of gaps) expect(gap).toBeCloseTo(9.9, 0);
});

it("asks at most once a second for certificates that hardly live", async () => {
  const { keeper, rotations, pass } = await openKeeper(1);

  await pass(5);
  keeper[Symbol.dispose]();

  expect(rotations.length).toBeGreaterThan(3);
  expect(rotations.length).toBeLessThan(6);
});

it("rotates when a machine wakes up from a sleep that stopped its timers", async () => {
  const { keeper, clock, rotations, pass } = await openKeeper(3600);
  const before = keeper.current.sha256;

  clock.setWallSeconds(clock.nowSeconds() + halfOfAnHour + 1);
  await pass(6);
  keeper[Symbol.dispose]();

  expect(rotations.length).toBe(1);
  expect(keeper.current.sha256).not.toBe(before);
});

it("rotates although the wall clock was set back", async () => {
  const { keeper, clock, rotations, pass } = await openKeeper(20);

  clock.setWallSeconds(clock.nowSeconds() - 8);
  await pass(11);
  keeper[Symbol.dispose]();

  expect(rotations.length).toBe(1);
});

it("asks again, ever more seldom, for one that counts by this clock, until the issuer's is right again", async () => {
  const { keeper, issuer, rotations, pass } = await openKeeper(3600);
  issuer.aheadSeconds = 7_200;
  keeper.renew();
  await pass(600);
  const wrong = rotations.length;
  issuer.aheadSeconds = 0;

  await pass(60);
  const right = rotations.length;
  await pass(600);
  keeper[Symbol.dispose]();

  expect(wrong).toBeGreaterThan(10);
  expect(wrong).toBeLessThan(18);
  expect(right - wrong).toBe(1);
  expect(rotations.length).toBe(right);
});

it("asks for no other once its own clock, which had been wrong, is right", async () => {
  const { keeper, clock, issuer, rotations, pass } = await openKeeper(3600);
  issuer.aheadSeconds = 7_200;
  keeper.renew();
  await pass(300);
  const wrong = rotations.length;

  clock.setWallSeconds(clock.nowSeconds() + 7_200);
  issuer.aheadSeconds = 0;
  await pass(600);
  keeper[Symbol.dispose]();

  expect(rotations.length).toBe(wrong);
});

it("replaces an SVID within the time that it is told, at a moment of its own, and once", async () => {
  const { keeper, rotations, pass, startSeconds } = await openKeeper(3600);

  keeper.renewWithin(5_000);
  keeper.renewWithin(60_000);
  await pass(6);
  keeper[Symbol.dispose]();

  expect(rotations.length).toBe(1);
  // Half of the time, since every draw of chance here is one half.
  expect((rotations[0] ?? 0) - startSeconds).toBeCloseTo(2.5, 0);
});

it("shows a new key with every certificate", async () => {
  const { keeper, pass } = await openKeeper(4);
  const keys = new Set([keeper.current.privateKeyPem]);

  await pass(2.5);
  keys.add(keeper.current.privateKeyPem);
  keeper[Symbol.dispose]();

  expect(keys.size).toBe(2);
});

it("keeps its SVID when what is issued is for another key, and asks again", async () => {
  const clock = fakeClock();
  const rotated: SvidInUse[] = [];
  let asked = 0;
  const keeper = await SvidKeeper.open({
    request: async (certificateRequest) => {
      asked += 1;
      if (asked > 1) return { chain: testSvid(domain.issuer, id, generateP256()).chain, generation: 2 };
      const proof = valueOf(parseCertificateRequest(certificateRequest));
      const { chain } = valueOf(issueSvid(domain.issuer, { proof, spiffeId: testId(id) }, testWorld()));
      return { chain, generation: 1 };
    },
    rotated: (svid) => rotated.push(svid),
    clock,
    random: () => 0,
    log: silentLog,
    signal: closing.signal,
  });
  const before = keeper.current.sha256;

  keeper.renew();
  keeper.renew();
  await sleep(250);
  keeper[Symbol.dispose]();

  expect(asked).toBe(3);
  expect(rotated).toEqual([]);
  expect(keeper.current.sha256).toBe(before);
});

it("asks again with the same key and generation while no answer has come, and goes on from the one that came", async () => {
  const asked: { readonly key: string; readonly generation: number }[] = [];
  const clock = fakeClock();
  const keeper = await SvidKeeper.open({
    request: async (certificateRequest, generation) => {
      const proof = valueOf(parseCertificateRequest(certificateRequest));
      asked.push({ key: Buffer.from(proof.publicKeyInfo).toString("hex"), generation });
      // The issuer has made one each time; the first answer to the second question is lost.
      if (asked.length === 2) throw new Error("lost");
      const { chain } = valueOf(issueSvid(domain.issuer, { proof, spiffeId: testId(id) }, testWorld()));
      return { chain, generation: asked.length === 1 ? 1 : 2 };
    },
    rotated: () => {},
    clock,
    random: () => 0,
    log: silentLog,
    signal: closing.signal,
  });

  keeper.renew();
  await vi.waitFor(() => expect(asked).toHaveLength(3));
  await sleep(5);
  keeper.renew();
  await vi.waitFor(() => expect(asked).toHaveLength(4));
  keeper[Symbol.dispose]();

  expect(asked.map(({ generation }) => generation)).toEqual([0, 1, 1, 2]);
  expect(asked[2]?.key).toBe(asked[1]?.key);
  expect(new Set(asked.map(({ key }) => key)).size).toBe(3);
});

it("stops waiting for its first SVID when it is closed", async () => {
  const stopped = new AbortController();
  const opening = SvidKeeper.open({
    request: () => Promise.reject(new Error("nobody there")),
    rotated: () => {},
    clock: fakeClock(),
    random: () => 0,
    log: silentLog,
    signal: stopped.signal,
  });
  setTimeout(() => stopped.abort(), 20);
  const startedMillis = performance.now();

  await expect(opening).rejects.toThrow("closed before the first SVID came");

  expect(performance.now() - startedMillis).toBeLessThan(150);
});
