import { setTimeout as sleep } from "node:timers/promises";
import { afterEach, beforeEach, expect, it } from "vitest";
import type { MeshInProcess } from "../../../test/apparatus/mesh-in-process.ts";
import { type ShiftedClock, shiftedClock } from "../../../test/apparatus/shifted-clock.ts";
import type { WorkloadClient } from "../../../test/apparatus/workload-client.ts";
import {
  connectTo,
  foundWorkloadMesh,
  putWorkload,
  reader,
  refusalOf,
} from "../../../test/apparatus/workload-mesh.ts";
import { base64Of, hexOf, textOf } from "../../base/bytes.ts";
import { exportPublicKey, generateP256, readCompactJws, sha256 } from "../../crypto/index.ts";

const id = "spiffe://test.example/shop/payments";
const domain = "spiffe://test.example";
let mesh: MeshInProcess;
let client: WorkloadClient;
let agentClock: ShiftedClock;

beforeEach(async () => {
  agentClock = shiftedClock();
  mesh = await foundWorkloadMesh({ agentClock });
  await putWorkload(mesh, "payments", { hint: "main" });
  client = connectTo(mesh);
});

afterEach(async () => {
  client[Symbol.dispose]();
  await mesh[Symbol.asyncDispose]();
});

it("issues a JWT-SVID that it accepts for its audience and no other", async () => {
  const { svids } = await client.api.fetchJWTSVID({ audience: ["ledger"] });
  const svid = svids[0]?.svid ?? "";

  const checked = await client.api.validateJWTSVID({ audience: "ledger", svid });

  expect(svids).toMatchObject([{ spiffeId: id, hint: "main" }]);
  expect(checked.spiffeId).toBe(id);
  expect(checked.claims).toMatchObject({ sub: id, aud: ["ledger"] });
  expect(await refusalOf(client.api.validateJWTSVID({ audience: "other", svid }))).toMatch(
    /^InvalidArgument: wrong-audience/,
  );
});

async function jwtFor(audience: string): Promise<string> {
  const { svids } = await client.api.fetchJWTSVID({ audience: [audience] });
  return svids[0]?.svid ?? "";
}

/** The `jti` and the key of a token. */
function namesOf(token: string): { readonly id: string; readonly kid: string } {
  const read = readCompactJws(token);
  if (!read.ok) throw new Error(read.detail);
  const { jti, kid } = { ...read.value.claims, ...read.value.header };
  if (typeof jti !== "string" || typeof kid !== "string") throw new Error("a token without names");
  return { id: jti, kid };
}

it("hands a JWT-SVID out again for half of its life, to the same audience alone", async () => {
  const first = await jwtFor("ledger");
  agentClock.shiftMonotonic(130);
  const again = await jwtFor("ledger");
  const other = await jwtFor("other");
  agentClock.shiftMonotonic(40);
  const late = await jwtFor("ledger");

  expect(again).toBe(first);
  expect(new Set([first, other, late]).size).toBe(3);
});

it("hands no JWT-SVID out again that is in the second half of its life by the wall clock, as after a sleep", async () => {
  const first = await jwtFor("ledger");
  agentClock.shiftWall(170);

  expect(await jwtFor("ledger")).not.toBe(first);
});

it("hands no JWT-SVID out again that was revoked", async () => {
  const first = await jwtFor("ledger");
  const expiresAtSeconds = Math.floor(agentClock.nowSeconds()) + 300;
  await mesh.put("token.revoke", { id: namesOf(first).id, expiresAtSeconds, reason: "key-compromise" });

  await expect.poll(() => jwtFor("ledger")).not.toBe(first);
});

it("hands no JWT-SVID out again whose key is tainted", async () => {
  const { kid } = namesOf(await jwtFor("ledger"));
  const publicKey = exportPublicKey(generateP256().privateKey);
  const notAfterSeconds = Math.floor(agentClock.nowSeconds()) + 86_400;
  await mesh.put("jwk.put", { use: "jwt-svid", publicKey: base64Of(publicKey), notAfterSeconds });
  await mesh.put("ca.activate", { authority: hexOf(sha256(publicKey)) });
  await mesh.put("ca.taint", { authority: kid });

  // The key that signs from now on is nowhere.
  await expect.poll(() => refusalOf(jwtFor("ledger"))).toMatch("no-token-key");
});

it("replaces a WIT-SVID that was revoked at once, in the same stream, with a new key", async () => {
  const next = reader(client.api.fetchWITSVID({}));
  const [first] = (await next()).svids;
  const expiresAtSeconds = Math.floor(agentClock.nowSeconds()) + 300;
  const { id: jti } = namesOf(first?.witSvid ?? "");
  await mesh.put("token.revoke", { id: jti, expiresAtSeconds, reason: "key-compromise" });

  const [second] = (await next()).svids;

  expect(second?.witSvidKey).not.toBe(first?.witSvidKey);
  expect(namesOf(second?.witSvid ?? "").id).not.toBe(jti);
});

it("replaces a WIT-SVID at half of its life although the wall clock was set back", async () => {
  const next = reader(client.api.fetchWITSVID({}));
  const [first] = (await next()).svids;

  agentClock.shiftWall(-7_200);
  agentClock.shiftMonotonic(170);
  await mesh.putService("/any/news");
  const [second] = (await next()).svids;

  expect(second?.witSvid).not.toBe(first?.witSvid);
});

it("issues on while the control plane's own key in TLS is replaced", async () => {
  const parts = { isOver: false };
  const asking = (async (): Promise<number> => {
    let count = 0;
    for (; !parts.isOver; count += 1) {
      await client.api.fetchJWTSVID({ audience: [`ledger-${count}`] });
      await sleep(30);
    }
    return count;
  })();

  await mesh.addOwnKey("server");
  await mesh.put("key.remove", { name: "test.example/server" });
  await mesh.settled();
  await mesh.putService("/after/that");
  await mesh.settled();
  parts.isOver = true;

  expect(await asking).toBeGreaterThan(0);
});

it("does not accept a JWT-SVID any more whose service is held", async () => {
  await mesh.putService("/shop/ledger");
  await putWorkload(mesh, "ledger", { service: "/shop/ledger" });
  const { svids } = await client.api.fetchJWTSVID({ audience: ["ledger"], spiffeId: id });

  await mesh.put("service.hold", { name: "/shop/payments", reason: "unspecified" });

  const request = { audience: "ledger", svid: svids[0]?.svid ?? "" };
  await expect
    .poll(() => refusalOf(client.api.validateJWTSVID(request)))
    .toMatch(/^InvalidArgument: .*revoked/);
});

it.each([
  [{}, "InvalidArgument: audience must be specified"],
  [{ audience: [""] }, "InvalidArgument: audience must be specified"],
  [
    { audience: ["a"], spiffeId: "spiffe://test.example/shop/ledger" },
    "PermissionDenied: no identity issued",
  ],
])("refuses %j", async (request, refusal) => {
  expect(await refusalOf(client.api.fetchJWTSVID(request))).toBe(refusal);
});

it.each([
  [{ svid: "a.b.c" }, "InvalidArgument: audience must be specified"],
  [{ audience: "a" }, "InvalidArgument: svid must be specified"],
])("refuses to check %j", async (request, refusal) => {
  expect(await refusalOf(client.api.validateJWTSVID(request))).toBe(refusal);
});

it("says by which keys tokens of either use are checked", async () => {
  const jwt = await reader(client.api.fetchJWTBundles({}))();
  const wit = await reader(client.api.fetchWITBundles({}))();

  const keysOf = (text = ""): object[] => JSON.parse(text).keys;
  expect(keysOf(textOf(jwt.bundles[domain] ?? new Uint8Array(0)))).toMatchObject([
    { kty: "EC", use: "jwt-svid" },
  ]);
  expect(keysOf(wit.bundles[domain])).toMatchObject([{ kty: "EC", use: "wit-svid" }]);
});

it("binds a WIT-SVID to the key that comes with it", async () => {
  const { svids } = await reader(client.api.fetchWITSVID({}))();
  const token = readCompactJws(svids[0]?.witSvid ?? "");
  const { d, ...publicPart }: Record<string, string> = JSON.parse(svids[0]?.witSvidKey ?? "{}");
  const { sub, cnf, aud } = token.ok ? token.value.claims : {};

  expect([svids[0]?.spiffeId, sub, aud]).toEqual([id, id, undefined]);
  expect(d).toMatch(/^[\w-]{43}$/);
  expect(cnf).toEqual({ jwk: publicPart });
});

it("refuses calls for tokens without the header", async () => {
  const { headerless } = client;
  const refusals = [
    await refusalOf(headerless.fetchJWTSVID({ audience: ["a"] })),
    await refusalOf(reader(headerless.fetchJWTBundles({}))()),
    await refusalOf(headerless.validateJWTSVID({ audience: "a", svid: "a.b.c" })),
    await refusalOf(reader(headerless.fetchWITSVID({}))()),
    await refusalOf(reader(headerless.fetchWITBundles({}))()),
  ];

  expect(new Set(refusals)).toEqual(new Set(["InvalidArgument: security header missing from request"]));
});
