import { beforeEach, expect, it } from "vitest";
import { type FakeClock, fakeClock } from "../../test/fakes/fake-clock.ts";
import { svidNamed } from "../../test/fakes/svid-in-use.ts";
import { fail, ok, type Result } from "../base/result.ts";
import type { SvidInUse } from "../transport/index.ts";
import type { AskRefusal, AskTokenIssuer, Given } from "./ask-token-issuer.ts";
import { CoarseTimer } from "./coarse-timer.ts";
import { grantsMax, grantsOfInstanceMax, RequestTokenGrants } from "./request-token-grants.ts";

const firstKeyPeriod = 3_000_000;
const svid = svidNamed("aa");

let clock: FakeClock;
let timer: CoarseTimer;
let asked: string[];
let answer: () => Result<Given, AskRefusal>;
let current: SvidInUse;
let grants: RequestTokenGrants;
/** Where the jitter is. */
let random: number;

beforeEach(() => {
  clock = fakeClock();
  timer = new CoarseTimer(clock);
  asked = [];
  random = 0;
  current = svid;
  answer = () => keys(3);
  grants = new RequestTokenGrants({ ask, currentSvid: () => current, timer, clock, random: () => random });
});

const ask: AskTokenIssuer = async (_signer, wanted) => {
  asked.push(wanted.case === "grant" ? (wanted.value.destination ?? "") : String(wanted.case));
  await Promise.resolve();
  return answer();
};

function keys(count: number): Result<Given, AskRefusal> {
  const given = Array.from({ length: count }, (_, place) => new Uint8Array(32).fill(place + 1));
  const $typeName = "troth.v1.RequestTokenKeys";
  return ok({ case: "keys", value: { $typeName, firstKeyPeriod, keys: given } });
}

function grantFor(destination = "/shop/ledger", by = svid): ReturnType<RequestTokenGrants["grantFor"]> {
  return grants.grantFor({ svid: by, audience: "a/1", destination });
}

function grantAt(audience: string): ReturnType<RequestTokenGrants["grantFor"]> {
  return grants.grantFor({ svid, audience, destination: "/shop/ledger" });
}

/** Lets so much time pass, a second at a time, as the timer of a process does. */
async function pass(seconds: number): Promise<void> {
  for (let second = 0; second < seconds; second += 1) {
    clock.advanceSeconds(1);
    timer.tick();
    await new Promise((resolve) => setImmediate(resolve));
  }
}

it("has no key before it has asked, and then one for each key period that it was given", async () => {
  const grant = grantFor();
  expect(grant.keyOf(firstKeyPeriod)).toBeUndefined();

  expect(await grant.obtain()).toMatchObject({ ok: true });

  const held = [-1, 0, 1, 2, 3].map((step) => grant.keyOf(firstKeyPeriod + step)?.export()[0]);
  expect(held).toEqual([undefined, 1, 2, 3, undefined]);
});

it("asks once for all who wait, and gives the same grant for the same purpose", async () => {
  const grant = grantFor();
  await Promise.all([grant.obtain(), grant.obtain(), grantFor().obtain()]);

  expect(asked).toHaveLength(1);
  expect(grantFor()).toBe(grant);
  expect(grantFor("/shop/web")).not.toBe(grant);
  expect(grantFor("/shop/ledger", svidNamed("bb"))).not.toBe(grant);
});

it.each([
  ["a no", "no-rule", 2],
  ["that nobody answered", "issuer-unreachable", 0.5],
] as const)(
  "remembers %s for a moment, and forgets it when the log has something new",
  async (_, reason, seconds) => {
    answer = () => fail(reason);
    const grant = grantFor();
    expect(await grant.obtain()).toMatchObject({ reason });
    clock.advanceSeconds(seconds - 0.1);
    expect(await grant.obtain()).toMatchObject({ reason });
    expect(asked).toHaveLength(1);
    grants.stepped();
    await grant.obtain();
    expect(asked).toHaveLength(2);

    clock.advanceSeconds(seconds);
    await grant.obtain();

    expect(asked).toHaveLength(3);
  },
);

it.each([
  [0, 450],
  [0.999, 570],
])(
  "asks for a grant in use again within each key period, with jitter %d after %d s",
  async (jitter, seconds) => {
    random = jitter;
    await grantFor().obtain();
    await pass(seconds - 5);
    expect(asked).toHaveLength(1);

    await pass(10);
    expect(asked).toHaveLength(2);
    await pass(seconds + 10);

    expect(asked).toHaveLength(3);
  },
);

it.each<AskRefusal>(["no-rule", "unknown-certificate", "request-tokens-off", "refused-otherwise"])(
  "has no key any more once the issuer says no at a renewal: %s",
  async (reason) => {
    const grant = grantFor();
    await grant.obtain();
    answer = () => fail(reason);

    await pass(600);

    expect(grant.keyOf(firstKeyPeriod)).toBeUndefined();
  },
);

it.each<AskRefusal>([
  "issuer-unreachable",
  "answer-forged",
  "log-not-current",
  "too-many-questions",
  "stale-question",
])("keeps its keys where a renewal fails because of %s, and goes on asking", async (reason) => {
  const grant = grantFor();
  await grant.obtain();
  answer = () => fail(reason);

  await pass(600);

  expect(grant.keyOf(firstKeyPeriod)).toBeDefined();
  expect(asked.length).toBeGreaterThan(5);
});

it("hands on what an issuer mints only where it is a request token, since it goes into a head as it is", async () => {
  const wanted = { svid, audience: "a/1", destination: "/shop/ledger" };
  const bytes = new Uint8Array(32);
  const obtain = () => grants.obtainToken({ ...wanted, channelBinding: bytes, requestDigest: bytes });
  const minted = Buffer.concat([Buffer.of(1, 1), Buffer.alloc(124)]).toString("base64url");
  for (const value of ["", `${minted}\r\nx-user: admin`, `${minted.slice(0, -1)}\n`]) {
    answer = () => ok({ case: "token", value });
    expect(await obtain()).toMatchObject({ reason: "refused-otherwise" });
  }
  answer = () => ok({ case: "token", value: minted });
  expect(await obtain()).toEqual(ok(minted));
});

it("renews what is used, and forgets what nothing was minted by for an hour", async () => {
  const [used] = [grantFor("/used"), grantFor("/idle")];
  await Promise.all([used.obtain(), grantFor("/idle").obtain()]);

  for (let minute = 0; minute < 120; minute += 1) {
    used.keyOf(firstKeyPeriod);
    await pass(60);
  }

  expect(grants.size).toBe(1);
  expect(grantFor("/used")).toBe(used);
});

it("forgets grants of a certificate that was replaced, which can be asked for again", async () => {
  const grant = grantFor();
  await grant.obtain();
  current = svidNamed("bb");

  await pass(600);

  expect([grants.size, asked.length]).toEqual([0, 1]);
  // A connection that is still open under the old one goes on.
  expect(grant.keyOf(firstKeyPeriod)).toBeDefined();
  expect(await grant.obtain()).toMatchObject({ ok: true });
  expect(grants.size).toBe(1);
});

it("keeps a bounded number of grants, and forgets the oldest first", () => {
  const first = grantAt("0/1");
  for (let count = 1; count <= grantsMax; count += 1) grantAt(`${count}/1`);

  expect(grants.size).toBe(grantsMax);
  expect(grantAt("0/1")).not.toBe(first);
});

it("keeps a bounded number of grants for one instance, and all of others", () => {
  const other = grantAt("b/1");
  const [first, second] = [grantFor("/0"), grantFor("/1")];
  for (let count = 2; count <= grantsOfInstanceMax; count += 1) grantFor(`/${count}`);

  expect(grants.size).toBe(grantsOfInstanceMax + 1);
  expect([grantAt("b/1"), grantFor("/1")]).toEqual([other, second]);
  expect(grantFor("/0")).not.toBe(first);
});

it("forgets those by which tokens are minted after those that were only asked for", async () => {
  const used = grantAt("0/1");
  await used.obtain();
  // It was obtained long ago, and is the oldest.
  await pass(70);
  for (let count = 1; count < 3 * grantsMax; count += 1) {
    if (count % 1_000 === 0) used.keyOf(firstKeyPeriod);
    grantAt(`${count}/1`);
  }
  expect(grants.size).toBe(grantsMax);
  expect(grantAt("0/1")).toBe(used);

  clock.advanceSeconds(61);
  // Its last use is noted, and is not of late a minute after that.
  grantAt("a/1");
  clock.advanceSeconds(61);
  grantAt("b/1");

  expect(grantAt("0/1")).not.toBe(used);
});

it("keeps one grant of an instance for a purpose, whatever process it says that it is", async () => {
  const honest = grantAt("b/1");
  await honest.obtain();
  for (let boot = 0; boot < 2 * grantsMax; boot += 1) grantAt(`a/${boot}`);

  expect(grants.size).toBe(2);
  expect(grantAt("b/1")).toBe(honest);
  asked = [];
  for (let look = 0; look < 3; look += 1) {
    honest.keyOf(firstKeyPeriod);
    await pass(200);
  }
  expect(asked).toEqual(["/shop/ledger"]);
});

it("renews what is minted for the process that an instance is now, and no more for the one before", async () => {
  const before = grantAt("a/1");
  await before.obtain();
  const now = grantAt("a/2");
  await now.obtain();
  expect(now).not.toBe(before);
  asked = [];

  await pass(600);

  expect(asked).toHaveLength(1);
  // What a connection still has is as good as before.
  expect(before.keyOf(firstKeyPeriod)).toBeDefined();
});

it("renews a bounded number at once, and the others soon after", async () => {
  const waiting = Promise.withResolvers<void>();
  let isHeld = false;
  const slow: AskTokenIssuer = async (signer, wanted) => {
    const given = await ask(signer, wanted);
    if (isHeld) await waiting.promise;
    return given;
  };
  grants[Symbol.dispose]();
  grants = new RequestTokenGrants({ ask: slow, currentSvid: () => current, timer, clock, random: () => 0 });
  for (let count = 0; count < 40; count += 1) await grantFor(`/${count}`).obtain();
  isHeld = true;
  asked = [];
  await pass(460);
  expect(asked).toHaveLength(16);

  isHeld = false;
  waiting.resolve();
  await pass(5);

  expect(asked).toHaveLength(40);
});

const $typeName = "troth.v1.RequestTokenKeys";

it.each<readonly [string, Given]>([
  ["of another length", { case: "keys", value: { $typeName, firstKeyPeriod, keys: [new Uint8Array(31)] } }],
  ["that are none", { case: "keys", value: { $typeName, firstKeyPeriod, keys: [] } }],
  ["in an answer of another kind", { case: "token", value: "a token" }],
])("takes no keys %s", async (_, given) => {
  answer = () => ok(given);

  expect(await grantFor().obtain()).toMatchObject({ reason: "refused-otherwise" });
  expect(grantFor().keyOf(firstKeyPeriod)).toBeUndefined();
});
