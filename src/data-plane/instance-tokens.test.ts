import { randomBytes, randomUUID } from "node:crypto";
import { Socket } from "node:net";
import { TLSSocket } from "node:tls";
import { beforeEach, expect, it } from "vitest";
import { type FakeClock, fakeClock } from "../../test/fakes/fake-clock.ts";
import { SmallTrustLog } from "../../test/fakes/small-trust-log.ts";
import { svidNamed } from "../../test/fakes/svid-in-use.ts";
import { ok } from "../base/result.ts";
import {
  type IssuerClock,
  issuerClock,
  nonceSource,
  parseRequestToken,
  type RequestTokenRefusal,
} from "../request-token/index.ts";
import type { AskTokenIssuer } from "./ask-token-issuer.ts";
import { CoarseTimer } from "./coarse-timer.ts";
import { type ConnectionTokens, type RequestHead, type ResponseHead } from "./forwarding/index.ts";
import { defaultHttp1Limits, noEdits, scanRequestHead } from "./http1/index.ts";
import { headerField } from "./http2/index.ts";
import { InstanceTokens, instanceNewsMillisMin, policyLagMillisMax } from "./instance-tokens.ts";
import { Tally } from "./proxy-metrics.ts";
import { RequestTokenGrants } from "./request-token-grants.ts";
import { tokenAnswerLines } from "./token-answer.ts";

const startSeconds = 1_800_000_000;
const keyPeriodSeconds = 600;
const firstKeyPeriod = startSeconds / keyPeriodSeconds;
const instance = randomUUID();
const request = requestHead();
const svid = svidNamed("aa");

/** Of a handshake that has been. */
class DoneSocket extends TLSSocket {
  override exportKeyingMaterial(length: number): ReturnType<TLSSocket["exportKeyingMaterial"]> {
    return Buffer.alloc(length, 0xcb);
  }
}

let clock: FakeClock;
let log: SmallTrustLog;
let issuerTime: IssuerClock;
/** What the issuer was asked for. */
let asked: string[];
let peer: InstanceTokens;
let tokens: ConnectionTokens;

beforeEach(async () => {
  clock = fakeClock(startSeconds);
  log = new SmallTrustLog();
  log.put("requesttoken.put", { to: "/*", mode: "granted" });
  asked = [];
  issuerTime = issuerClock(clock);
  const timer = new CoarseTimer(clock);
  const grants = new RequestTokenGrants({ ask, currentSvid: () => svid, timer, clock, random: () => 0 });
  const requestTokens = { issuerTime, grants, nonces: nonceSource(randomBytes) };
  const follower = {
    state: log.state,
    get size() {
      return log.entries.length;
    },
  };
  const metrics = { requestTokens: { inbound: new Tally(), outbound: new Tally() } };
  peer = new InstanceTokens(
    { service: "/shop/front", clock, view: { follower }, requestTokens, metrics },
    { service: "/shop/ledger", instance, tokenAudience: bootId(0) },
  );
  const socket = new DoneSocket(new Socket());
  peer.opened(socket, svid);
  await peer.prepare(socket);
  tokens = peer.on(socket);
});

const ask: AskTokenIssuer = async (_signer, wanted) => {
  asked.push(String(wanted.case));
  await Promise.resolve();
  const keys = [1, 2, 3].map((byte) => new Uint8Array(32).fill(byte));
  return ok({ case: "keys", value: { $typeName: "troth.v1.RequestTokenKeys", firstKeyPeriod, keys } });
};

it("stamps by the instance's time from then on, while there are keys for it", () => {
  const isLearnt = tokens.learn(refusal("request-token-expired", { seconds: startSeconds + 700 }));

  expect(isLearnt).toBe(true);
  expect(stampOf(tokens.mint(request, noEdits))).toBe(startSeconds + 700);
  expect(asked).toEqual(["grant"]);
});

it("asks the issuer once where an instance says a time without a key, and stamps by its own", async () => {
  for (let index = 0; index < 10; index += 1) {
    tokens.learn(refusal("request-token-expired", { seconds: startSeconds + 900_000 }));
    const token = tokens.mint(request, noEdits) ?? (await tokens.obtain(request, noEdits));
    expect(stampOf(typeof token === "string" ? token : token.ok ? token.value : "")).toBe(startSeconds);
  }

  expect(asked).toEqual(["grant", "grant"]);
});

it("stamps by its own time again where the instance is another process", () => {
  tokens.learn(refusal("request-token-expired", { seconds: startSeconds + 700 }));
  tokens.learn(refusal("request-token-invalid", { boot: 1 }));

  expect(peer.skewMillis).toBe(0);
});

it("believes at once that the instance is another process, and again only after a while", () => {
  const learnt = (boot: number) => tokens.learn(refusal("request-token-invalid", { boot }));

  expect([1, 2, 3].map(learnt)).toEqual([true, false, false]);
  expect(peer.audience).toBe(`${instance}/${bootId(1)}`);
  clock.advanceSeconds(instanceNewsMillisMin / 1_000);
  expect(learnt(2)).toBe(true);
});

it("believes for a while that the instance wants more than the log says", () => {
  expect(tokens.learn(refusal("request-token-mode"))).toBe(true);
  expect(peer.mode).toBe("per-request");
  clock.advanceSeconds(policyLagMillisMax / 1_000);

  expect(peer.mode).toBe("granted");
});

it("believes for a while that the instance wants tokens of which the log says nothing", () => {
  log.put("requesttoken.remove", { to: "/*" });
  clock.advanceSeconds(1);
  expect(peer.mode).toBe("granted");
  clock.advanceSeconds(policyLagMillisMax / 1_000);
  expect(peer.mode).toBe("off");

  tokens.learn(refusal("request-token-missing"));

  expect(peer.mode).toBe("granted");
  clock.advanceSeconds(policyLagMillisMax / 1_000);
  expect(peer.mode).toBe("granted");
  expect(peer.isLagging).toBe(true);
  clock.advanceSeconds(policyLagMillisMax / 1_000);
  expect(peer.mode).toBe("off");
});

function bootId(number: number): string {
  return number.toString(16).padStart(16, "0");
}

function refusal(
  reason: RequestTokenRefusal,
  said: { readonly seconds?: number; readonly boot?: number } = {},
): ResponseHead {
  const issuerMillis = said.seconds === undefined ? undefined : said.seconds * 1_000;
  const lines = tokenAnswerLines({ reason, audience: `${instance}/${bootId(said.boot ?? 0)}`, issuerMillis });
  const fields = lines.map(([name, value]) => headerField(name, value));
  return { status: 400, fields, contentLength: undefined };
}

function stampOf(token: string | undefined): number {
  const parsed = parseRequestToken(token ?? "");
  return parsed.ok ? parsed.value.issuedAtMillis / 1_000 : Number.NaN;
}

function requestHead(): RequestHead {
  const window = Buffer.from("GET / HTTP/1.1\r\nHost: ledger.shop.mesh\r\n\r\n");
  const head = scanRequestHead(window, 0, window.length, defaultHttp1Limits);
  if (!("method" in head)) throw new Error("no head");
  return head;
}
