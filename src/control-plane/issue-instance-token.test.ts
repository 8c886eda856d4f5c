import { randomBytes, randomUUID } from "node:crypto";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it, test } from "vitest";
import { temporaryFolder } from "../../test/contracts/temporary-folder.ts";
import { type FakeClock, fakeClock } from "../../test/fakes/fake-clock.ts";
import { silentLog } from "../../test/fakes/silent-log.ts";
import {
  foundSmallDomain,
  putAsOperator,
  putNode,
  putService,
  type SmallDomain,
} from "../../test/fakes/small-domain.ts";
import { signerNamed } from "../../test/fakes/small-trust-log.ts";
import { generateP256, publicJwkOf } from "../crypto/index.ts";
import {
  checkJwtSvid,
  checkWitSvid,
  parseTrustDomain,
  type TokenChecks,
  tokenKeysOf,
} from "../identity/index.ts";
import {
  type EntryKind,
  isTokenInForce,
  publishedTokenKeys,
  type TokenUse,
  verifierKeyOf,
} from "../trust-log/index.ts";
import { type InstanceTokenRequest, issueInstanceToken, type TokenIssuer } from "./issue-instance-token.ts";
import { openLogFiles } from "./log-files.ts";
import { LogWriter } from "./log-writer.ts";
import { HeldTokenKeys } from "./token-keys.ts";

const open = new AsyncDisposableStack();
const holder = generateP256();
const confirmationKey = JSON.stringify(publicJwkOf(holder.publicKey));
let clock: FakeClock;
let domain: SmallDomain;
let issuer: TokenIssuer;

beforeAll(async () => {
  const folder = open.use(await temporaryFolder());
  clock = fakeClock();
  domain = await foundSmallDomain(folder.path, clock, { hasTokenKeys: true });
  const storage = open.use(await openLogFiles(join(folder.path, "log")));
  const writer = open.use(
    await LogWriter.open({
      storage,
      keys: domain.keys,
      clock,
      log: silentLog,
      epochIntervalMillis: 3_600_000,
    }),
  );
  const trustDomain = parseTrustDomain("example.org");
  if (!trustDomain.ok) throw new Error(trustDomain.reason);
  const { keyStore } = domain;
  const keys = new HeldTokenKeys({ trustDomain: trustDomain.value, keyStore, writer, clock, log: silentLog });
  issuer = { writer, guard: { isTrusted: true }, keys, clock, randomBytes };
  await putNode(domain, writer, "edge-1");
  await putNode(domain, writer, "edge-2");
  await putService(domain, writer, "/shop/web");
  await putService(domain, writer, "/shop/ledger");
});
afterAll(() => open.disposeAsync());

async function register(service: string, node: string): Promise<string> {
  const instance = randomUUID();
  const auditKey = verifierKeyOf(signerNamed(`example.org/audit/${instance}`));
  const body = { instance, service, node, auditKey };
  const written = await issuer.writer.write([{ role: "issuer", kind: "instance.register", body }]);
  if (!written.ok) throw new Error(written.detail);
  return instance;
}

async function put(kind: EntryKind, body: Readonly<Record<string, string | number>>): Promise<void> {
  await putAsOperator(domain, issuer.writer, { kind, body });
}

function ask(
  instance: string,
  unusual: Partial<InstanceTokenRequest> = {},
): ReturnType<typeof issueInstanceToken> {
  return issueInstanceToken(issuer, {
    node: "edge-1",
    instance,
    audience: ["api"],
    confirmationKey: "",
    ...unusual,
  });
}

async function tokenFor(instance: string, node = "edge-1"): Promise<string> {
  const issued = await ask(instance, { node });
  if (!issued.ok) throw new Error(`${issued.reason} ${issued.detail}`);
  return issued.value.token;
}

function checks(use: TokenUse): TokenChecks {
  const { state } = issuer.writer;
  const keys = tokenKeysOf(publishedTokenKeys(state, use).map(({ publicKey }) => publicKey));
  return {
    keysOf: (trustDomain) => (trustDomain === "example.org" ? keys : undefined),
    nowSeconds: clock.nowSeconds(),
    isRevoked: (token) => !isTokenInForce(state, token),
  };
}

function verdictOf(token: string): string {
  const checked = checkJwtSvid(token, { ...checks("jwt-svid"), audience: "api" });
  return checked.ok ? "accepted" : checked.reason;
}

it("issues a JWT-SVID for five minutes that says what the log says of the instance", async () => {
  const instance = await register("/shop/web", "edge-1");
  const { size } = issuer.writer.tree;

  const checked = checkJwtSvid(await tokenFor(instance), { ...checks("jwt-svid"), audience: "api" });

  expect(checked).toMatchObject({
    ok: true,
    value: {
      spiffeId: "spiffe://example.org/shop/web",
      audience: ["api"],
      expiresAtSeconds: clock.nowSeconds() + 300,
      claims: { instance },
    },
  });
  expect(issuer.writer.tree.size).toBe(size);
});

it("issues a WIT-SVID for the key of the request, by another key than a JWT-SVID", async () => {
  const instance = await register("/shop/web", "edge-1");

  const issued = await ask(instance, { audience: [], confirmationKey });

  if (!issued.ok) throw new Error(issued.reason);
  expect(checkWitSvid(issued.value.token, checks("wit-svid"))).toMatchObject({
    ok: true,
    value: { spiffeId: "spiffe://example.org/shop/web", confirmationAlgorithm: "ES256" },
  });
  expect(checkWitSvid(issued.value.token, checks("jwt-svid"))).toMatchObject({ reason: "unknown-key" });
});

test.each([
  ["unknown-instance", { node: "edge-2" }],
  ["unknown-instance", { instance: randomUUID() }],
  ["unknown-instance", { instance: "" }],
  ["malformed-request", { audience: [] }],
  ["malformed-request", { confirmationKey }],
  ["bad-audience", { audience: [""] }],
  ["bad-audience", { audience: Array.from({ length: 9 }, (_, at) => `${at}`) }],
  ["bad-confirmation-key", { audience: [], confirmationKey: "{" }],
  ["bad-confirmation-key", { audience: [], confirmationKey: "[]" }],
  ["bad-confirmation-key", { audience: [], confirmationKey: `{"kty":"EC","kty":"EC"}` }],
  ["bad-confirmation-key", { audience: [], confirmationKey: " ".repeat(5_000) }],
  [
    "bad-confirmation-key",
    { audience: [], confirmationKey: JSON.stringify(holder.privateKey.export({ format: "jwk" })) },
  ],
] as const)("refuses with %s: %j", async (reason, unusual) => {
  const instance = await register("/shop/web", "edge-1");

  expect(await ask(instance, unusual)).toMatchObject({ ok: false, reason });
});

test.each<[string, (instance: string, token: string) => Promise<void>]>([
  ["the instance is revoked", (instance) => put("instance.revoke", { instance, reason: "key-compromise" })],
  ["its service is held", () => put("service.hold", { name: "/shop/ledger", reason: "unspecified" })],
  ["its node is held", () => put("node.hold", { node: "edge-2", reason: "unspecified" })],
  ["its node is removed", () => put("node.remove", { node: "edge-2" })],
])("issues nothing any more, and what was issued counts no more, once %s", async (_, end) => {
  const instance = await register("/shop/ledger", "edge-2");
  const token = await tokenFor(instance, "edge-2");
  expect(verdictOf(token)).toBe("accepted");

  await end(instance, token);

  expect(verdictOf(token)).toBe("revoked");
  expect(await ask(instance, { node: "edge-2" })).toMatchObject({ reason: "unknown-instance" });
  if (issuer.writer.state.holds.has("service:/shop/ledger"))
    await put("service.lift", { name: "/shop/ledger" });
  if (issuer.writer.state.holds.has("node:edge-2")) await put("node.lift", { node: "edge-2" });
});

it("does not count one token by its id, and the instance's others still", async () => {
  const instance = await register("/shop/web", "edge-1");
  const issued = await ask(instance);
  if (!issued.ok) throw new Error(issued.reason);

  const { id, expiresAtSeconds } = issued.value;
  await put("token.revoke", { id, expiresAtSeconds, reason: "key-compromise" });

  expect(verdictOf(issued.value.token)).toBe("revoked");
  expect(verdictOf(await tokenFor(instance))).toBe("accepted");
});

it("does not count a token from before its instance was registered anew", async () => {
  const instance = await register("/shop/web", "edge-1");
  const { state } = issuer.writer;
  const token = { spiffeId: "spiffe://example.org/shop/web", id: "1", instance };
  const { registeredAtSeconds = 0 } = state.instances.get(instance) ?? {};

  expect(isTokenInForce(state, { ...token, issuedAtSeconds: registeredAtSeconds })).toBe(true);
  expect(isTokenInForce(state, { ...token, issuedAtSeconds: registeredAtSeconds - 1 })).toBe(false);
});

test.each([
  ["without an id", { id: undefined }],
  ["without an instance", { instance: undefined }],
  ["without a time of issue", { issuedAtSeconds: undefined }],
  ["of another service", { spiffeId: "spiffe://example.org/shop/ledger" }],
  ["of another trust domain", { spiffeId: "spiffe://evil.example/shop/web" }],
])("counts no token %s", async (_, unusual) => {
  const instance = await register("/shop/web", "edge-1");
  const token = {
    spiffeId: "spiffe://example.org/shop/web",
    id: "1",
    instance,
    issuedAtSeconds: clock.nowSeconds(),
  };

  expect(isTokenInForce(issuer.writer.state, token)).toBe(true);
  expect(isTokenInForce(issuer.writer.state, { ...token, ...unusual })).toBe(false);
});

it("issues nothing while the log may be older than what the nodes know, or stands still", async () => {
  const instance = await register("/shop/web", "edge-1");

  const distrusted = await issueInstanceToken(
    { ...issuer, guard: { isTrusted: false } },
    { node: "edge-1", instance, audience: ["api"], confirmationKey: "" },
  );
  const late = { ...clock, nowSeconds: () => clock.nowSeconds() + 61 };
  const stale = await issueInstanceToken(
    { ...issuer, clock: late },
    { node: "edge-1", instance, audience: ["api"], confirmationKey: "" },
  );

  expect([distrusted, stale]).toMatchObject([{ reason: "log-not-current" }, { reason: "log-not-current" }]);
});
