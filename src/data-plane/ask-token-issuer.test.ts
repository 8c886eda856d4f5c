import { beforeEach, expect, it } from "vitest";
import { type FakeClock, fakeClock } from "../../test/fakes/fake-clock.ts";
import { silentLog } from "../../test/fakes/silent-log.ts";
import { base64Of } from "../base/bytes.ts";
import { generateEd25519, generateP256, type KeyPair, publicKeyBytes } from "../crypto/index.ts";
import { testDomain, testSvid } from "../identity/svid-for-tests.ts";
import { type IssuerClock, issuerClock } from "../request-token/index.ts";
import { type PresentedQuestion, readQuestion } from "../transport/index.ts";
import { type AuthorRole, TrustState } from "../trust-log/index.ts";
import { type AskTokenIssuer, isIssuersNo, openTokenIssuer, type RelayQuestion } from "./ask-token-issuer.ts";

const holder = generateP256();
const { issuer } = testDomain("test.example");
const [certificate = new Uint8Array(0)] = testSvid(issuer, "spiffe://test.example/shop/web", holder).chain;
const signer = { certificate, privateKey: holder.privateKey };
const issuerKeys = generateEd25519();
const wanted = { case: "audienceKeys", value: { bootId: "0123456789abcdef" } } as const;
const issuerMillis = 1_900_000_000_000n;

type Content = Parameters<PresentedQuestion["answer"]>[0];

let clock: FakeClock;
let state: TrustState;
let issuerTime: IssuerClock;
let forged: string[];
/** What happens while an answer waits for news of the log. */
let news: () => void;

beforeEach(() => {
  clock = fakeClock();
  state = new TrustState();
  issuerTime = issuerClock(clock);
  forged = [];
  news = () => {};
  name("test.example/issuer", issuerKeys, "issuer");
});

function name(author: string, { publicKey }: KeyPair, role: AuthorRole, isRemoved = false): void {
  const key = base64Of(publicKeyBytes(publicKey));
  state.authors.set(author, { role, publicKey: key, sequence: 0, open: [], isRemoved });
}

function asking(relay: RelayQuestion): AskTokenIssuer {
  return openTokenIssuer({
    relay,
    view: {
      follower: { state },
      waitUntil: async (isSo) => {
        news();
        return isSo();
      },
    },
    issuerTime,
    clock,
    log: silentLog,
    forged: (detail) => forged.push(detail),
  });
}

/** A relay to an issuer that answers so, by this key, after a second's way each way. */
function issuerThat(content: Content, { privateKey }: KeyPair = issuerKeys): RelayQuestion {
  return async (request) => {
    clock.advanceSeconds(2);
    const question = readQuestion({ ...request });
    if (!question.ok) throw new Error(question.detail);
    return question.value.answer(content, privateKey);
  };
}

const token: Content = { issuerMillis, outcome: { case: "token", value: "a token" } };

it("answers with what the issuer gives, and knows the issuer's time from then on", async () => {
  const given = await asking(issuerThat(token))(signer, wanted);

  expect(given).toMatchObject({ ok: true, value: token.outcome });
  expect(issuerTime.nowMillis()).toBe(Number(issuerMillis) + 1_000);
  expect(issuerTime.errorMillis()).toBe(1_000);
});

it.each([
  ["no-rule", "no-rule"],
  ["what-is-this", "refused-otherwise"],
])("hears the refusal %s as %s, with its detail, and the time all the same", async (said, reason) => {
  const outcome = { case: "refusal", value: { reason: said, detail: "because" } } as const;
  const given = await asking(issuerThat({ issuerMillis, outcome }))(signer, wanted);

  expect(given).toMatchObject({ ok: false, reason, detail: "because" });
  expect(issuerTime.errorMillis()).toBe(1_000);
});

it("refuses an answer of a kind that it does not know", async () => {
  const given = await asking(issuerThat({ issuerMillis }))(signer, wanted);

  expect(given).toMatchObject({ reason: "refused-otherwise" });
});

it("says so where nobody answers", async () => {
  const relay = (): Promise<never> => Promise.reject(new Error("no control plane at the moment"));

  expect(await asking(relay)(signer, wanted)).toMatchObject({
    reason: "issuer-unreachable",
    detail: "no control plane at the moment",
  });
  expect(forged).toEqual([]);
});

it.each<readonly [string, KeyPair, AuthorRole, boolean]>([
  ["nobody has", generateEd25519(), "viewer", false],
  ["an operator has", issuerKeys, "operator", false],
  ["the issuer had", issuerKeys, "issuer", true],
])(
  "believes no answer by a key that %s, learns no time from it, and raises an alarm",
  async (_, key, role, isRemoved) => {
    name("test.example/issuer", generateEd25519(), "issuer");
    name("test.example/other", key, role, isRemoved);

    expect(await asking(issuerThat(token))(signer, wanted)).toMatchObject({ reason: "answer-forged" });
    expect(issuerTime.errorMillis()).toBe(Number.POSITIVE_INFINITY);
    expect(forged).toHaveLength(1);
  },
);

it("believes an answer by a key whose entry is on its way here, and by one that is replaced meanwhile", async () => {
  const next = generateEd25519();
  news = () => name("test.example/issuer-2", next, "issuer");
  expect(await asking(issuerThat(token, next))(signer, wanted)).toMatchObject({ ok: true });

  const removing: RelayQuestion = (request) => {
    name("test.example/issuer", issuerKeys, "issuer", true);
    return issuerThat(token)(request);
  };
  expect(await asking(removing)(signer, wanted)).toMatchObject({ ok: true });
  expect(forged).toEqual([]);
});

it("tells what asking again may change from what it does not", () => {
  expect((["no-rule", "unknown-certificate", "refused-otherwise"] as const).map(isIssuersNo)).not.toContain(
    false,
  );
  expect(
    (["issuer-unreachable", "log-not-current", "stale-question"] as const).map(isIssuersNo),
  ).not.toContain(true);
});
