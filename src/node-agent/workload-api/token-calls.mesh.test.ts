import { setTimeout as sleep } from "node:timers/promises";
import { afterEach, beforeEach, expect, it } from "vitest";
import type { MeshInProcess } from "../../../test/apparatus/mesh-in-process.ts";
import type { WorkloadClient } from "../../../test/apparatus/workload-client.ts";
import {
  connectTo,
  foundWorkloadMesh,
  putWorkload,
  reader,
  refusalOf,
} from "../../../test/apparatus/workload-mesh.ts";
import { textOf } from "../../base/bytes.ts";
import { readCompactJws } from "../../crypto/index.ts";

const id = "spiffe://test.example/shop/payments";
const domain = "spiffe://test.example";
let mesh: MeshInProcess;
let client: WorkloadClient;

beforeEach(async () => {
  mesh = await foundWorkloadMesh();
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

it("issues on while the control plane's own key in TLS is replaced", async () => {
  const parts = { isOver: false };
  const asking = (async (): Promise<number> => {
    let count = 0;
    for (; !parts.isOver; count += 1) {
      await client.api.fetchJWTSVID({ audience: ["ledger"] });
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
