import { randomBytes as draw } from "node:crypto";
import { afterEach, expect, it } from "vitest";
import { MeshInProcess, until } from "../../test/apparatus/mesh-in-process.ts";
import { shiftedClock } from "../../test/apparatus/shifted-clock.ts";
import { keyPeriodAt } from "../request-token/index.ts";
import { openCore } from "./open-core.ts";
import type { GrantWanted, RequestTokenGrant } from "./request-token-grants.ts";
import type { RequestTokenKeys } from "./request-token-keys.ts";
import type { SidecarCore } from "./sidecar-core.ts";

const opened: AsyncDisposable[] = [];

afterEach(async () => {
  for (const one of opened.splice(0).reverse()) await one[Symbol.asyncDispose]();
});

async function foundMesh(): Promise<MeshInProcess> {
  const mesh = await MeshInProcess.found();
  opened.push(mesh);
  await mesh.putService("/shop/web");
  await mesh.putService("/shop/ledger", "restricted");
  return mesh;
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
