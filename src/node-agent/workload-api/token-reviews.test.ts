import { writeFile } from "node:fs/promises";
import { afterEach, beforeEach, expect, it } from "vitest";
import { type ClusterApi, openClusterApi } from "../../../test/apparatus/cluster-api.ts";
import { edgeCertificate } from "../../../test/apparatus/edge-certificate.ts";
import { accountClaims, accountToken, clusterKey } from "../../../test/apparatus/service-account-tokens.ts";
import { shiftedClock } from "../../../test/apparatus/shifted-clock.ts";
import { fakeClock } from "../../../test/fakes/fake-clock.ts";
import { silentLog } from "../../../test/fakes/silent-log.ts";
import { type TokenReviewSource, TokenReviews } from "./token-reviews.ts";

const key = clusterKey("one");
const audience = "https://kubernetes.default.svc";
const podUid = "4a1d3a6e-0000-4000-8000-000000000002";
const tokenOf = (account?: string): string =>
  accountToken(key, accountClaims(shiftedClock().nowSeconds(), account));

let api: ClusterApi;

beforeEach(async () => {
  api = await openClusterApi(key);
});

afterEach(() => api[Symbol.asyncDispose]());

function reviewsOf(source: Partial<TokenReviewSource> = {}) {
  const clock = fakeClock();
  const messages: string[] = [];
  const whole = { url: api.url, authorities: api.ca, tokenFile: api.tokenFile, ...source };
  const log = {
    ...silentLog,
    info: (message: string) => void messages.push(message),
    warn: (message: string) => void messages.push(message),
  };
  return { reviews: new TokenReviews(whole, clock, log), clock, messages };
}

it("asks once about a token, and again after 20 s, when its pod may be gone", async () => {
  const { reviews, clock } = reviewsOf();
  const token = tokenOf();

  const [first, same] = await Promise.all([reviews.review(token, audience), reviews.review(token, audience)]);
  api.deleted.add(podUid);
  const soon = await reviews.review(token, audience);
  expect(api.reviews).toBe(1);
  clock.advanceSeconds(20);

  expect([first, same, soon].map(({ ok }) => ok)).toEqual([true, true, true]);
  expect(await reviews.review(token, audience)).toMatchObject({ ok: false, reason: "not-authenticated" });
  expect(api.reviews).toBe(2);
});

it("goes on for five minutes with what the cluster last said while it does not answer, and for no new token", async () => {
  const { reviews, clock, messages } = reviewsOf();
  const token = tokenOf();
  await reviews.review(token, audience);

  api.instead = { status: 503, text: "" };
  clock.advanceSeconds(299);
  const old = await reviews.review(token, audience);
  const other = await reviews.review(tokenOf("orders"), audience);
  clock.advanceSeconds(1);
  const tooOld = await reviews.review(token, audience);
  api.instead = undefined;

  expect(old.ok).toBe(true);
  expect([other, tooOld]).toMatchObject([{ reason: "no-answer" }, { reason: "no-answer" }]);
  expect((await reviews.review(token, audience)).ok).toBe(true);
  expect(messages).toEqual(["the cluster does not review tokens", "the cluster reviews tokens again"]);
});

it.each([
  ["another CA's server", () => ({ authorities: edgeCertificate("localhost").chainPem }), undefined],
  ["a token of the agent's that is none", () => ({ tokenFile: api.caFile }), undefined],
  ["no token of the agent's", () => ({ tokenFile: `${api.tokenFile}.none` }), undefined],
  ["a page that is too long", () => ({}), { status: 201, text: " ".repeat(70_000) }],
  ["a redirection", () => ({}), { status: 307, text: "" }],
  ["nothing, for two seconds", () => ({}), "silence" as const],
])("takes %s for no answer", async (_, source, instead) => {
  const { reviews } = reviewsOf(source());
  api.instead = instead;

  expect(await reviews.review(tokenOf(), audience)).toMatchObject({ ok: false, reason: "no-answer" });
});

it("is refused by a cluster that does not know the agent, and reads its token anew each time", async () => {
  const { reviews } = reviewsOf();
  await writeFile(api.tokenFile, "of.another.agent");
  const refused = await reviews.review(tokenOf(), audience);
  await writeFile(api.tokenFile, "agent.of.the.node");

  expect(refused).toMatchObject({ reason: "no-answer", detail: "status 401" });
  expect((await reviews.review(tokenOf(), audience)).ok).toBe(true);
});

it("asks so much at a time and no more", async () => {
  const { reviews } = reviewsOf();
  api.instead = "silence";
  const asked = Array.from({ length: 17 }, (_, place) => reviews.review(tokenOf(`one-${place}`), audience));

  const answers = await Promise.all(asked);

  expect(answers.filter(({ ok }) => !ok).map((one) => (one.ok ? "" : one.reason))).toEqual([
    ...Array<string>(16).fill("no-answer"),
    "too-many-questions",
  ]);
});
