import { randomBytes, randomUUID } from "node:crypto";
import { beforeEach, expect, it } from "vitest";
import { type FakeClock, fakeClock } from "../../test/fakes/fake-clock.ts";
import { generateEd25519, generateP256 } from "../crypto/index.ts";
import { testDomain, testSvid, testWorld } from "../identity/svid-for-tests.ts";
import type { RequestTokenAnswer } from "../protocol/index.ts";
import {
  deriveClientKey,
  importRequestTokenKey,
  keyPeriodAt,
  nonceWheel,
  requestDigest,
  requestTokenChecker,
} from "../request-token/index.ts";
import { openMemoryKeyStore } from "../storage/index.ts";
import {
  askQuestion,
  type PresentedQuestion,
  type QuestionWanted,
  readQuestion,
  type UnsealedRefusal,
} from "../transport/index.ts";
import { type DataClass, defaultStaleness, TrustState } from "../trust-log/index.ts";
import {
  keyPeriodsAheadMax,
  questionEpochsMax,
  RequestTokenIssuer,
  waitingQuestionsMax,
} from "./request-token-issuer.ts";
import { RequestTokenRoots } from "./request-token-roots.ts";

const nowSeconds = 1_800_000_300;
const nowPeriod = keyPeriodAt(nowSeconds * 1000);
const epochNumber = 100;
const bootId = "0123456789abcdef";
const spiffeId = "spiffe://test.example/shop/web";
const issuerKeys = generateEd25519();
const authority = testDomain("test.example", testWorld(nowSeconds)).issuer;
const holder = generateP256();
const svid = testSvid(authority, spiffeId, holder, testWorld(nowSeconds));

let clock: FakeClock;
const quarantine = {
  state: "quarantined",
  reason: "unspecified",
  evidence: {},
  decision: 1,
  atSeconds: 0,
  liftedBy: "operator",
} as const;
let state: TrustState;
let facts: { isTrusted: boolean; isBroken: boolean };
let issuer: RequestTokenIssuer;
let issuerKey: typeof issuerKeys.privateKey | undefined;
let answered: string[];
let caller: string;
let callee: string;

beforeEach(() => {
  clock = fakeClock(nowSeconds);
  state = new TrustState();
  facts = { isTrusted: true, isBroken: false };
  issuerKey = issuerKeys.privateKey;
  answered = [];
  setEpoch(nowSeconds);
  putService("/shop/web", "internal");
  putService("/shop/ledger", "restricted");
  caller = register("/shop/web", "edge-1");
  callee = register("/shop/ledger", "edge-2");
  nameCertificate(nowSeconds + 86_400);
  putRule("allow");
  state.requestTokens.set("/*", { mode: "granted" });
  issuer = new RequestTokenIssuer({
    writer: {
      get state() {
        return state;
      },
      get isBroken() {
        return facts.isBroken;
      },
    },
    guard: {
      get isTrusted() {
        return facts.isTrusted;
      },
    },
    roots: new RequestTokenRoots({ keyStore: openMemoryKeyStore(), randomBytes }),
    issuerKey: () => issuerKey,
    clock,
    randomBytes,
    answered: (outcome) => answered.push(outcome),
  });
});

function setEpoch(epochTimeSeconds: number): void {
  state.domain.set("", {
    genesis: "",
    trustDomain: "test.example",
    isTestDomain: true,
    logKey: "",
    recoveredSizes: [],
    epochNumber,
    epochTimeSeconds,
    staleness: defaultStaleness,
  });
}

function putService(name: string, dataClass: DataClass): void {
  state.services.set(name, { nodes: ["*"], dataClass, team: "", environment: "", labels: {} });
}

function register(service: string, node: string): string {
  const instance = randomUUID();
  const rest = { auditKey: "", registeredAtSeconds: nowSeconds, isDraining: false };
  state.instances.set(instance, { service, node, ...rest });
  return instance;
}

function nameCertificate(notAfterSeconds: number): void {
  const id = Buffer.from(svidFingerprint).toString("hex");
  state.certificates.set(id, { spiffeId, instance: caller, serial: "01", notAfterSeconds });
}

function putRule(effect: "allow" | "deny", to = "/shop/ledger"): void {
  state.rules.set(`/shop/web ${to}`, { from: "/shop/web", to, effect, methods: [], paths: [], index: 1 });
}

const certificate = svid.chain[0] ?? new Uint8Array(0);
const svidFingerprint = new Uint8Array(await crypto.subtle.digest("SHA-256", Uint8Array.from(certificate)));

function grant(audience = `${callee}/${bootId}`, destination = "/shop/ledger"): QuestionWanted {
  return { case: "grant", value: { audience, destination } };
}

interface Unusual {
  readonly node?: string;
  readonly epoch?: number;
  readonly key?: typeof holder;
}

async function ask(wanted: QuestionWanted, unusual: Unusual = {}): Promise<RequestTokenAnswer["outcome"]> {
  const { node = "edge-1", epoch = epochNumber, key = holder } = unusual;
  const asked = askQuestion({ certificate, privateKey: key.privateKey }, { epoch, wanted });
  const question = readQuestion({ ...asked.request });
  if (!question.ok) throw new Error(question.detail);
  const said = await issuer.answer(node, question.value);
  if (!said.ok) return unsealed(said.reason);
  const answer = asked.open(said.value, [issuerKeys.publicKey]);
  if (!answer.ok) throw new Error(answer.detail);
  expect(answer.value.issuerMillis).toBe(BigInt(clock.nowSeconds() * 1000));
  return answer.value.outcome;
}

/** A refusal that is no answer, which an agent could have made up. */
function unsealed(reason: string): RequestTokenAnswer["outcome"] {
  return {
    case: "refusal",
    value: { $typeName: "troth.v1.RequestTokenRefusal", reason, detail: "unsealed" },
  };
}

async function verdict(wanted: QuestionWanted, unusual: Unusual = {}): Promise<string> {
  const outcome = await ask(wanted, unusual);
  return outcome.case === "refusal" ? outcome.value.reason : (outcome.case ?? "nothing");
}

/** The keys that an audience gets of its own, which shows an SVID of its own instance. */
async function audienceKeys(): Promise<Awaited<ReturnType<typeof keys>>> {
  caller = callee;
  nameCertificate(nowSeconds + 86_400);
  return keys({ case: "audienceKeys", value: { bootId } }, { node: "edge-2" });
}

async function keys(
  wanted: QuestionWanted,
  unusual: Unusual = {},
): Promise<{ first: number; keys: readonly Uint8Array[] }> {
  const outcome = await ask(wanted, unusual);
  if (outcome.case !== "keys") throw new Error(outcome.case);
  return { first: outcome.value.firstKeyPeriod, keys: outcome.value.keys };
}

it("gives a caller the keys by which the audience's own keys let its tokens in, and no others", async () => {
  const grants = await keys(grant());
  const own = await audienceKeys();

  expect(own.first).toBe(nowPeriod - 1);
  expect(grants.first).toBe(nowPeriod - 1);
  const binding = {
    mode: "granted",
    destination: "/shop/ledger",
    certificateFingerprint: svidFingerprint,
    spiffeId,
  } as const;
  const derived = own.keys.map((key) =>
    Uint8Array.from(deriveClientKey(importRequestTokenKey(key), binding).export()),
  );
  expect(grants.keys).toEqual(derived);
});

it("mints one token for one request, which the audience takes once", async () => {
  state.requestTokens.set("/*", { mode: "per-request" });
  const request = { method: "GET", destination: "/shop/ledger", path: "/x", contentDigest: "" };
  const channelBinding = Uint8Array.from(randomBytes(32));
  const audience = `${callee}/${bootId}`;
  const value = {
    audience,
    destination: "/shop/ledger",
    channelBinding,
    requestDigest: requestDigest(request),
  };
  const outcome = await ask({ case: "token", value });
  if (outcome.case !== "token") throw new Error(outcome.case);
  const own = await audienceKeys();
  const issuerMillis = (): number => clock.nowSeconds() * 1000;
  const window = { pastMillis: 30_000, futureMillis: 5_000 };
  const check = requestTokenChecker(
    {
      audience,
      keyOf: (period) => {
        const key = own.keys[period - own.first];
        return key === undefined ? undefined : importRequestTokenKey(key);
      },
      issuerMillis,
      window,
      nonces: nonceWheel({ window, randomBytes }),
    },
    {
      spiffeId,
      source: "/shop/web",
      channelBinding,
      certificateFingerprint: svidFingerprint,
      isRevoked: () => false,
    },
  );

  expect(check(outcome.value, { ...request, path: "/y" }, "per-request")).toMatchObject({ ok: false });
  expect(check(outcome.value, request, "per-request")).toMatchObject({ ok: true });
  expect(check(outcome.value, request, "per-request")).toMatchObject({ reason: "request-token-replayed" });
});

it.each([
  ["public", 145],
  ["internal", 145],
  ["confidential", 7],
  ["restricted", 3],
] as const)("gives keys ahead for as long as a %s service goes on without news", async (dataClass, ahead) => {
  putService("/shop/ledger", dataClass);
  nameCertificate(nowSeconds + 2 * 86_400);

  expect((await keys(grant())).keys).toHaveLength(1 + 1 + ahead);
  expect(ahead).toBeLessThanOrEqual(keyPeriodsAheadMax);
});

it("gives no keys for after the certificate's end", async () => {
  putService("/shop/ledger", "internal");
  nameCertificate((nowPeriod + 3) * 600 - 1);

  expect((await keys(grant())).keys).toHaveLength(1 + 3);
});

it.each<readonly [string, string, () => void]>([
  ["log-not-current", "the log may have gone back", () => (facts.isTrusted = false)],
  ["log-not-current", "the log can be written no more", () => (facts.isBroken = true)],
  ["log-not-current", "the last epoch is old", () => setEpoch(nowSeconds - 61)],
  [
    "unknown-certificate",
    "the log does not name the certificate",
    () => state.certificates.delete(Buffer.from(svidFingerprint).toString("hex")),
  ],
  ["unknown-certificate", "the log does not name the instance", () => state.instances.delete(caller)],
  ["unknown-certificate", "the certificate has ended", () => nameCertificate(nowSeconds)],
  ["quarantined", "the caller is in quarantine", () => state.standings.set(caller, quarantine)],
  ["unknown-audience", "the callee is not registered any more", () => state.instances.delete(callee)],
  ["not-served-there", "the callee is of another service", () => (callee = register("/shop/web", "edge-2"))],
  ["not-served-there", "the service is no more", () => state.services.delete("/shop/ledger")],
  ["request-tokens-off", "no policy asks for tokens", () => state.requestTokens.delete("/*")],
  [
    "request-tokens-off",
    "the owner asks for none",
    () => state.requestTokens.set("/shop/ledger", { mode: "off" }),
  ],
  [
    "per-request-only",
    "each token is the issuer's",
    () => state.requestTokens.set("/*", { mode: "per-request" }),
  ],
  ["no-rule", "no rule lets the caller", () => state.rules.delete("/shop/web /shop/ledger")],
  ["rule-denies", "a rule denies it", () => putRule("deny", "/shop/*")],
])("refuses a grant, %s, where %s", async (reason, _, change) => {
  expect(await verdict(grant())).toBe("keys");

  change();

  expect(await verdict(grant())).toBe(reason);
  expect(answered).toEqual(["keys", reason]);
});

it.each<readonly [string, string, Unusual]>([
  ["not-on-this-node", "by the agent of another node", { node: "edge-2" }],
  ["bad-proof", "by somebody who has the certificate and not its key", { key: generateP256() }],
  ["stale-question", "that somebody has kept", { epoch: epochNumber - questionEpochsMax - 1 }],
  ["stale-question", "of an epoch that is not there yet", { epoch: epochNumber + 1 }],
])("refuses a question, %s, %s", async (reason, _, unusual) => {
  for (const wanted of [grant(), { case: "audienceKeys", value: { bootId } } as const])
    expect(await verdict(wanted, unusual)).toBe(reason);
});

it("takes a question of a view that is a little behind", async () => {
  expect(await verdict(grant(), { epoch: epochNumber - questionEpochsMax })).toBe("keys");
});

it.each<readonly [string, string, QuestionWanted]>([
  ["malformed-question", "keys of a boot that is none", { case: "audienceKeys", value: { bootId: "boot" } }],
  ["malformed-question", "nothing at all", { case: undefined }],
  [
    "unknown-audience",
    "an audience that is none",
    { case: "grant", value: { audience: "x", destination: "/" } },
  ],
  [
    "malformed-question",
    "a token for a short digest",
    {
      case: "token",
      value: {
        audience: "",
        destination: "/shop/ledger",
        channelBinding: new Uint8Array(32),
        requestDigest: new Uint8Array(31),
      },
    },
  ],
  [
    "malformed-question",
    "a token for a short channel binding",
    {
      case: "token",
      value: {
        audience: "",
        destination: "/shop/ledger",
        channelBinding: new Uint8Array(31),
        requestDigest: new Uint8Array(32),
      },
    },
  ],
])("refuses, %s, to give %s", async (reason, _, wanted) => {
  expect(await verdict(wanted)).toBe(reason);
});

it("answers nobody without the key by which it is known", async () => {
  issuerKey = undefined;

  await expect(ask(grant())).rejects.toMatchObject({ code: "ERR_CONTROL_PLANE_KEY" });
});

/** A question of an instance as it is presented, of which nothing is signed but by word. */
function presented(wanted: QuestionWanted, isSigned = true): PresentedQuestion {
  const asked = askQuestion({ certificate, privateKey: holder.privateKey }, { epoch: epochNumber, wanted });
  const question = readQuestion(asked.request);
  if (!question.ok) throw new Error(question.detail);
  return {
    ...question.value,
    isSigned: () => isSigned,
    answer: () => ({ sealed: new Uint8Array(0), signature: new Uint8Array(0) }),
  };
}

async function outcomesOf(count: number, question: PresentedQuestion): Promise<readonly string[]> {
  const before = answered.length;
  for (let asked = 0; asked < count; asked += 1) await issuer.answer("edge-1", question);
  return answered.slice(before);
}

/** Another instance of the caller's service, on its node, has the certificate from now on. */
function beAnother(): void {
  caller = register("/shop/web", "edge-1");
  nameCertificate(nowSeconds + 86_400);
}

const audienceOfNone: QuestionWanted = { case: "grant", value: { audience: "x", destination: "/" } };

it("bounds the questions of an instance, and not those of others", async () => {
  const limit = 4_000;
  const outcomes = await outcomesOf(limit + 1, presented(audienceOfNone));
  expect(outcomes.slice(0, limit)).not.toContain("too-many-questions");
  expect(outcomes.at(-1)).toBe("too-many-questions");

  beAnother();

  expect(await verdict(grant())).toBe("keys");
});

it("bounds the questions of a node, of which what is beyond an instance's share is none", async () => {
  for (let instance = 0; instance < 2; instance += 1) {
    const outcomes = await outcomesOf(6_000, presented(audienceOfNone));
    expect(outcomes.filter((outcome) => outcome !== "too-many-questions")).toHaveLength(4_000);
    beAnother();
  }
  const outcomes = await outcomesOf(3_000, presented(audienceOfNone));
  expect(outcomes.filter((outcome) => outcome !== "too-many-questions")).toHaveLength(2_000);
});

it("bounds the keys of an instance, and mints tokens for it all the same", async () => {
  putService("/shop/ledger", "internal");
  nameCertificate(nowSeconds + 2 * 86_400);
  const days = Math.ceil(100_000 / 147);
  const own: QuestionWanted = { case: "audienceKeys", value: { bootId } };
  const outcomes = [
    ...(await outcomesOf(days - 1, presented(own))),
    ...(await outcomesOf(1, presented(grant()))),
  ];
  expect(outcomes).not.toContain("too-many-questions");
  expect([await verdict(grant()), await verdict(own)]).toEqual(["too-many-questions", "too-many-questions"]);

  state.requestTokens.set("/*", { mode: "per-request" });
  const value = { channelBinding: new Uint8Array(32), requestDigest: new Uint8Array(32) };
  const audience = { audience: `${callee}/${bootId}`, destination: "/shop/ledger" };
  expect(await verdict({ case: "token", value: { ...audience, ...value } })).toBe("token");

  state.requestTokens.set("/*", { mode: "granted" });
  clock.advanceSeconds(1);
  expect(await verdict(grant())).toBe("keys");
  beAnother();
  expect(await verdict(grant())).toBe("keys");
});

it("bounds the keys of a node, and not those of others", async () => {
  nameCertificate(nowSeconds + 2 * 86_400);
  const outcomes: string[] = [];
  for (let instance = 0; instance < 6; instance += 1) {
    beAnother();
    outcomes.push(...(await outcomesOf(682, presented({ case: "audienceKeys", value: { bootId } }))));
  }
  const given = outcomes.filter((outcome) => outcome === "keys");
  expect(given).toHaveLength(Math.ceil(500_000 / 147));

  putService("/shop/ledger", "internal");
  expect((await audienceKeys()).keys).toHaveLength(147);
});

it("looks at a bounded number of questions that an instance has not signed", async () => {
  let looks = 0;
  const forged: PresentedQuestion = {
    ...presented(grant()),
    isSigned: () => {
      looks += 1;
      return false;
    },
  };
  const outcomes = await outcomesOf(500, forged);
  expect([outcomes[0], outcomes.at(-1), looks]).toEqual(["bad-proof", "too-many-questions", 100]);

  beAnother();
  expect(await verdict(grant())).toBe("keys");
});

it("lets the event loop go round between two answers", async () => {
  let rounds = 0;
  let isOver = false;
  const loop = (): void => {
    rounds += 1;
    if (!isOver) setImmediate(loop);
  };
  setImmediate(loop);

  await Promise.all(Array.from({ length: 20 }, () => issuer.answer("edge-1", presented(grant()))));

  isOver = true;
  expect(rounds).toBeGreaterThanOrEqual(19);
});

it("answers one node while another has asked for much", async () => {
  const caught = Array.from({ length: waitingQuestionsMax }, () =>
    issuer.answer("edge-1", presented(audienceOfNone)),
  );
  expect(await issuer.answer("edge-1", presented(audienceOfNone))).toMatchObject({
    reason: "too-many-questions",
  });
  answered = [];
  await audienceKeys();
  expect(answered.length).toBeLessThan(10);
  await Promise.all(caught);
});

it.each<readonly [UnsealedRefusal, () => void]>([
  ["log-not-current", () => (facts.isTrusted = false)],
  ["unknown-certificate", () => state.certificates.delete(Buffer.from(svidFingerprint).toString("hex"))],
  ["not-on-this-node", () => (caller = register("/shop/web", "edge-2"))],
  ["bad-proof", () => {}],
])("seals nothing, and signs nothing, where it says %s", async (reason, change) => {
  change();
  if (reason === "not-on-this-node") nameCertificate(nowSeconds + 86_400);
  let seals = 0;
  const question: PresentedQuestion = {
    ...presented(grant(), false),
    answer: () => {
      seals += 1;
      return { sealed: new Uint8Array(0), signature: new Uint8Array(0) };
    },
  };

  expect(await issuer.answer("edge-1", question)).toMatchObject({ ok: false, reason });
  expect(seals).toBe(0);
});
