import { randomBytes as draw, type KeyObject, randomUUID } from "node:crypto";
import { join } from "node:path";
import { createClient } from "@connectrpc/connect";
import { afterEach, describe, expect, it } from "vitest";
import { type HandOn, openDeceitfulAgent } from "../../test/apparatus/deceitful-agent.ts";
import { MeshInProcess, until } from "../../test/apparatus/mesh-in-process.ts";
import { shiftedClock } from "../../test/apparatus/shifted-clock.ts";
import { generateP256, sha256 } from "../crypto/index.ts";
import { type AskRequestTokenIssuerRequest, Mesh, protocolVersion } from "../protocol/index.ts";
import {
  deriveClientKey,
  keyPeriodAt,
  nonceWheel,
  parseRequestToken,
  requestDigest,
  requestTokenChecker,
} from "../request-token/index.ts";
import { askQuestion, openRpcConnection } from "../transport/index.ts";
import { openCore } from "./open-core.ts";
import type { GrantWanted, RequestTokenGrant } from "./request-token-grants.ts";
import type { RequestTokenKeys } from "./request-token-keys.ts";
import type { SidecarCore } from "./sidecar-core.ts";

const opened: AsyncDisposable[] = [];

afterEach(async () => {
  for (const one of opened.splice(0).reverse()) await one[Symbol.asyncDispose]();
});

/** A mesh of two services, of which the first may call the second; no request tokens are asked for yet. */
async function foundMesh(isAllowed = true): Promise<MeshInProcess> {
  const mesh = await MeshInProcess.found();
  opened.push(mesh);
  await mesh.putService("/shop/web");
  await mesh.putService("/shop/ledger", "restricted");
  if (isAllowed) await mesh.putRule("/shop/web", "/shop/ledger");
  return mesh;
}

function askForTokens(mesh: MeshInProcess, mode = "granted"): Promise<void> {
  return mesh.put("requesttoken.put", { to: "/shop/ledger", mode });
}

type Relayed = (question: AskRequestTokenIssuerRequest, handOn: HandOn) => ReturnType<HandOn>;

/** A relay between a proxy and its agent that does with questions what it likes. */
async function openRelay(mesh: MeshInProcess, relayed: Relayed): ReturnType<typeof openDeceitfulAgent> {
  const relay = await openDeceitfulAgent(
    join(mesh.folder, `${randomUUID().slice(0, 8)}.sock`),
    mesh.agentSocketPath,
    (update) => update,
    relayed,
  );
  opened.push(relay);
  return relay;
}

async function openProxy(
  mesh: MeshInProcess,
  service: string,
  options: Parameters<MeshInProcess["proxyOptions"]>[1] = {},
): Promise<SidecarCore> {
  const { core, ...one } = await openCore(mesh.proxyOptions(service, options), {
    role: "sidecar",
    describe: () => ({}),
  });
  opened.push(one);
  return core;
}

function keysOf(core: SidecarCore): RequestTokenKeys {
  return core.context.requestTokens;
}

function wantedOf(caller: SidecarCore, callee: SidecarCore, destination = "/shop/ledger"): GrantWanted {
  const { svid } = caller;
  if (svid === undefined) throw new Error("no SVID");
  return { svid, audience: keysOf(callee).audienceKeys.audience, destination };
}

function grantOf(caller: SidecarCore, callee: SidecarCore, destination?: string): RequestTokenGrant {
  return keysOf(caller).grants.grantFor(wantedOf(caller, callee, destination));
}

function exported(key: KeyObject | undefined): string {
  return key?.export().toString("hex") ?? "none";
}

/** The key of a caller as its audience derives it. */
function derivedBy(callee: SidecarCore, caller: SidecarCore, keyPeriod: number): KeyObject | undefined {
  const { svid } = wantedOf(caller, callee);
  const key = keysOf(callee).audienceKeys.keyOf(keyPeriod);
  return key === undefined
    ? undefined
    : deriveClientKey(key, {
        mode: "granted",
        destination: "/shop/ledger",
        certificateFingerprint: sha256(svid.certificate),
        spiffeId: `spiffe://test.example${caller.context.service}`,
      });
}

async function refusalOf(grant: RequestTokenGrant): Promise<string> {
  const result = await grant.obtain();
  return result.ok ? "granted" : result.reason;
}

it("gives a proxy keys of its own as soon as a policy asks for request tokens, and none before", async () => {
  const mesh = await foundMesh();
  const ledger = await openProxy(mesh, "/shop/ledger");
  expect(keysOf(ledger).audienceKeys.isReady).toBe(false);

  await mesh.put("requesttoken.put", { to: "/shop/ledger", mode: "granted" });
  await until(() => keysOf(ledger).audienceKeys.isReady, "keys");

  const now = keyPeriodAt(keysOf(ledger).issuerTime.nowMillis());
  const held = [-2, -1, 0, 1, 2, 3, 4].filter(
    (step) => keysOf(ledger).audienceKeys.keyOf(now + step) !== undefined,
  );
  // A restricted service goes on for a quarter of an hour without news: two periods, and one for the renewal.
  expect(held).toEqual([-1, 0, 1, 2, 3]);
});

it("gives a caller keys by which the audience lets it in, and asks once for all who wait", async () => {
  const mesh = await foundMesh();
  let questions = 0;
  const { socketPath } = await openRelay(mesh, (question, handOn) => {
    questions += 1;
    return handOn(question);
  });
  await askForTokens(mesh);
  const ledger = await openProxy(mesh, "/shop/ledger");
  const web = await openProxy(mesh, "/shop/web", { agentSocketPath: socketPath });
  questions = 0;

  const grant = grantOf(web, ledger);
  const results = await Promise.all([grant.obtain(), grant.obtain(), grantOf(web, ledger).obtain()]);

  expect(results.every((result) => result.ok)).toBe(true);
  expect(questions).toBe(1);
  const now = keyPeriodAt(keysOf(web).issuerTime.nowMillis());
  for (const period of [now, now + 1, now + 3])
    expect(exported(grant.keyOf(period))).toBe(exported(derivedBy(ledger, web, period)));
  expect(keysOf(web).issuerTime.errorMillis()).toBeLessThan(5_000);
});

it("gets a token for one request from the issuer, where the service wants each to be the issuer's", async () => {
  const mesh = await foundMesh();
  await askForTokens(mesh, "per-request");
  const ledger = await openProxy(mesh, "/shop/ledger");
  const web = await openProxy(mesh, "/shop/web");
  const request = { method: "GET", destination: "/shop/ledger", path: "/x", contentDigest: "" };
  const channelBinding = Uint8Array.from(draw(32));

  const wanted = { ...wantedOf(web, ledger), channelBinding, requestDigest: requestDigest(request) };
  const token = await keysOf(web).grants.obtainToken(wanted);

  if (!token.ok) throw new Error(token.detail);
  const parsed = parseRequestToken(token.value);
  expect(parsed).toMatchObject({ ok: true, value: { mode: "per-request" } });
  const { audienceKeys, issuerTime } = keysOf(ledger);
  const window = { pastMillis: 30_000, futureMillis: 5_000 };
  const check = requestTokenChecker(
    {
      audience: audienceKeys.audience,
      keyOf: (period) => audienceKeys.keyOf(period),
      issuerMillis: issuerTime.nowMillis,
      window,
      nonces: nonceWheel({ window, randomBytes: ledger.context.randomBytes }),
    },
    {
      spiffeId: "spiffe://test.example/shop/web",
      source: "/shop/web",
      channelBinding,
      certificateFingerprint: sha256(wanted.svid.certificate),
      isRevoked: () => false,
    },
  );
  expect(check(token.value, request, "per-request")).toMatchObject({ ok: true });
  // It holds no key all the same.
  expect(await refusalOf(grantOf(web, ledger))).toBe("per-request-only");
});

it("remembers a refusal until the log has something new", async () => {
  const mesh = await foundMesh(false);
  await askForTokens(mesh);
  const ledger = await openProxy(mesh, "/shop/ledger");
  const web = await openProxy(mesh, "/shop/web");
  const grant = grantOf(web, ledger);
  expect(await refusalOf(grant)).toBe("no-rule");

  await mesh.putRule("/shop/web", "/shop/ledger");
  await until(async () => (await refusalOf(grant)) === "granted", "a grant");
});

it("ends a grant at its renewal once a rule denies what it is for", async () => {
  const mesh = await foundMesh();
  await askForTokens(mesh);
  const ledger = await openProxy(mesh, "/shop/ledger");
  const clock = shiftedClock();
  const web = await openProxy(mesh, "/shop/web", { clock });
  const grant = grantOf(web, ledger);
  expect(await refusalOf(grant)).toBe("granted");
  const period = keyPeriodAt(keysOf(web).issuerTime.nowMillis());
  await mesh.putRule("/shop/web", "/shop/ledger", { effect: "deny" });

  clock.shiftMonotonic(590);
  await until(() => grant.keyOf(period) === undefined, "the end of the grant");

  expect(await refusalOf(grant)).toBe("rule-denies");
});

it("goes on without the control plane for as long as the staleness table lets the service", async () => {
  const mesh = await foundMesh();
  await askForTokens(mesh);
  const clock = shiftedClock();
  const ledger = await openProxy(mesh, "/shop/ledger", { clock });
  const web = await openProxy(mesh, "/shop/web", { clock });
  const grant = grantOf(web, ledger);
  expect(await refusalOf(grant)).toBe("granted");
  await mesh.stopControlPlane();
  const keyNow = (): unknown => grant.keyOf(keyPeriodAt(keysOf(web).issuerTime.nowMillis()));

  // /shop/ledger is restricted: a quarter of an hour. That the issuer cannot be asked ends nothing.
  for (let minute = 1; minute <= 15; minute += 1) {
    clock.shiftMonotonic(60);
    expect(await refusalOf(grant)).toBe("issuer-unreachable");
    expect(keyNow(), `after ${minute} min`).toBeDefined();
    const { audienceKeys, issuerTime } = keysOf(ledger);
    expect(audienceKeys.keyOf(keyPeriodAt(issuerTime.nowMillis())), `after ${minute} min`).toBeDefined();
  }
  clock.shiftMonotonic(30 * 60);
  expect(keyNow()).toBeUndefined();
});

it("does not renew a grant of a certificate that was replaced", async () => {
  const mesh = await foundMesh();
  await askForTokens(mesh);
  const ledger = await openProxy(mesh, "/shop/ledger");
  const clock = shiftedClock();
  const web = await openProxy(mesh, "/shop/web", { clock });
  expect(await refusalOf(grantOf(web, ledger))).toBe("granted");
  const before = web.svid;
  await mesh.put("instance.renew", { instance: web.context.instance });
  await until(() => web.svid !== before, "another certificate");
  expect(await refusalOf(grantOf(web, ledger))).toBe("granted");
  expect(keysOf(web).grants.size).toBe(2);

  clock.shiftMonotonic(590);
  await until(() => keysOf(web).grants.size === 1, "the end of the first");
});

it("tells callers by which boot identifier a proxy checks request tokens", async () => {
  const mesh = await foundMesh();
  const { instance } = await mesh.open("/shop/ledger");
  using connection = await openRpcConnection({ kind: "unix", path: mesh.agentSocketPath });
  const follow = { fromSize: 0n, instance: randomUUID(), protocolVersion, checkpoint: new Uint8Array(0) };
  let found: string | undefined;
  for await (const { content } of createClient(Mesh, connection.transport).follow(follow)) {
    if (content.case !== "endpoints") continue;
    found = content.value.endpoints.find((one) => one.instance === instance)?.tokenAudience;
    if (found !== undefined) break;
  }

  expect(found).toMatch(/^[0-9a-f]{16}$/);
});

describe("a relay between a proxy and the issuer", () => {
  const flip = (bytes: Uint8Array, place: number): Uint8Array =>
    bytes.map((byte, at) => (at === place ? byte ^ 1 : byte));

  it.each<readonly [string, Relayed]>([
    ["says nothing", async () => ({ sealed: new Uint8Array(0), signature: new Uint8Array(0) })],
    ["answers itself", async () => ({ sealed: new Uint8Array(100), signature: new Uint8Array(64) })],
    [
      "changes what is sealed",
      async (question, handOn) => {
        const { sealed, signature } = await handOn(question);
        return { sealed: flip(sealed, 40), signature };
      },
    ],
    [
      "changes the signature",
      async (question, handOn) => {
        const { sealed, signature } = await handOn(question);
        return { sealed, signature: flip(signature, 0) };
      },
    ],
  ])("is found out when it %s", async (_, relayed) => {
    const mesh = await foundMesh();
    const relay = await openRelay(mesh, relayed);
    await askForTokens(mesh);
    const ledger = await openProxy(mesh, "/shop/ledger");
    const web = await openProxy(mesh, "/shop/web", { agentSocketPath: relay.socketPath });
    const grant = grantOf(web, ledger);

    expect(await refusalOf(grant)).toBe("answer-forged");
    expect(grant.keyOf(keyPeriodAt(keysOf(web).issuerTime.nowMillis()))).toBeUndefined();
    expect(keysOf(web).audienceKeys.isReady).toBe(false);
    // Nor does it learn the time from there.
    expect(keysOf(web).issuerTime.errorMillis()).toBe(Number.POSITIVE_INFINITY);
    await until(
      () => relay.alarms.some(({ reason }) => reason === "request-token-answer-forged"),
      "an alarm",
    );
  });

  it("is found out when it answers one question with the answer to another, of before or of the same time", async () => {
    const mesh = await foundMesh();
    const answers: Awaited<ReturnType<HandOn>>[] = [];
    let isReplaying = false;
    const relay = await openRelay(mesh, async (question, handOn) => {
      const answer = await handOn(question);
      answers.push(answer);
      return isReplaying ? (answers.at(-2) ?? answer) : answer;
    });
    await askForTokens(mesh);
    const ledger = await openProxy(mesh, "/shop/ledger");
    const web = await openProxy(mesh, "/shop/web", { agentSocketPath: relay.socketPath });
    expect(await refusalOf(grantOf(web, ledger))).toBe("granted");

    isReplaying = true;
    // The very same question, as far as its content goes.
    const other = keysOf(web).grants.obtainToken({
      ...wantedOf(web, ledger),
      channelBinding: new Uint8Array(32),
      requestDigest: new Uint8Array(32),
    });

    expect(await other).toMatchObject({ reason: "answer-forged" });
  });

  it("is found out by the control plane when it changes the question, and gets no answer", async () => {
    const mesh = await foundMesh();
    const relay = await openRelay(mesh, (question, handOn) =>
      handOn({ ...question, question: flip(question.question, 1) }),
    );
    await askForTokens(mesh);
    const ledger = await openProxy(mesh, "/shop/ledger");
    const web = await openProxy(mesh, "/shop/web", { agentSocketPath: relay.socketPath });

    expect(await grantOf(web, ledger).obtain()).toMatchObject({
      reason: "issuer-unreachable",
      detail: expect.stringContaining("bad-proof"),
    });
    expect(keysOf(web).audienceKeys.isReady).toBe(false);
    expect(keysOf(web).issuerTime.errorMillis()).toBe(Number.POSITIVE_INFINITY);
    expect((await mesh.alarms()).map(({ reason }) => reason)).toContain("request-token-question-forged");
  });

  it("gets nothing by asking in the proxy's name, nor by handing its question to another node's agent", async () => {
    const mesh = await foundMesh();
    const otherNode = await mesh.joinNode("elsewhere");
    const relay = await openRelay(mesh, async (question) => {
      using connection = await openRpcConnection({ kind: "unix", path: otherNode });
      return await createClient(Mesh, connection.transport).askRequestTokenIssuer(question);
    });
    await askForTokens(mesh);
    const ledger = await openProxy(mesh, "/shop/ledger");
    const web = await openProxy(mesh, "/shop/web", { agentSocketPath: relay.socketPath });
    const { svid, ...value } = wantedOf(web, ledger);

    expect(await grantOf(web, ledger).obtain()).toMatchObject({
      reason: "issuer-unreachable",
      detail: expect.stringContaining("not-on-this-node"),
    });

    const { epochNumber = 0 } = web.context.view.follower.state.genesis ?? {};
    const { certificate } = svid;
    const own = { certificate, privateKey: generateP256().privateKey };
    const asked = askQuestion(own, { epoch: epochNumber, wanted: { case: "grant", value } });
    using connection = await openRpcConnection({ kind: "unix", path: mesh.agentSocketPath });
    await expect(
      createClient(Mesh, connection.transport).askRequestTokenIssuer(asked.request),
    ).rejects.toThrow("bad-proof");
  });
});
