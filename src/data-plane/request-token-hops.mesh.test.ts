import { afterAll, beforeAll, expect, it } from "vitest";
import { endpointOf } from "../../test/apparatus/known-endpoints.ts";
import { MeshInProcess, until } from "../../test/apparatus/mesh-in-process.ts";
import type { Workload } from "../../test/apparatus/workload.ts";
import { openRouterIn } from "../../test/apparatus/zone-routers.ts";

let mesh: MeshInProcess;
let web: Workload;
let pay: Workload;
let near: Workload;
let west: string;

beforeAll(async () => {
  mesh = await MeshInProcess.found();
  west = await mesh.joinNode("west-1");
  await mesh.put("node.zone", { node: "here", zone: "east" });
  await mesh.put("node.zone", { node: "west-1", zone: "west" });
  await mesh.put("requesttoken.put", { to: "/*", mode: "granted" });
  web = await mesh.open("/shop/web");
  near = await mesh.open("/shop/near");
  pay = await mesh.open("/shop/pay", { agentSocketPath: west });
  for (const { service } of [near, pay]) await mesh.putRule("/shop/web", service);
  await mesh.settled();
}, 30_000);
afterAll(() => mesh[Symbol.asyncDispose]());

it("shows the router a token for the way, and the callee behind it one for each request", async () => {
  await using router = await openRouterIn(mesh, "/mesh/west", { agentSocketPath: west });
  const entrance = { service: "/mesh/west", instance: router.instance };
  await until(
    () =>
      endpointOf(web, entrance).then(
        ({ zone }) => zone === "west",
        () => false,
      ),
    "the router",
  );
  await until(
    async () => (await web.call(pay.host)).status === 200 && (await endpointOf(web, pay)).via !== "",
    "a way through the router",
  );
  const minted = await web.metric("troth_proxy_request_tokens_total", { outcome: "minted" });

  expect((await web.call(pay.host, { method: "POST", body: "x" })).status).toBe(200);
  expect((await endpointOf(web, pay)).via).toContain(router.instance);
  expect(await web.metric("troth_proxy_request_tokens_total", { outcome: "minted" })).toBe(minted + 1);
});

it("goes on with each connection's own certificate while the caller gets another", async () => {
  await until(async () => (await web.call(near.host)).status === 200, "a route");
  const serials = new Set<string>();
  const failed: string[] = [];
  for (let renewal = 0; renewal < 2; renewal += 1) {
    await mesh.put("instance.renew", { instance: web.instance });
    for (let asked = 0; asked < 30; asked += 1) {
      const { status, reason } = await web.call(near.host, { method: "POST", body: "x" });
      if (status !== 200) failed.push(`${status} ${reason}`);
      const seen = near.app.seen.at(-1);
      serials.add(JSON.stringify(seen?.headers["x-forwarded-client-cert"]));
    }
    const before = serials.size;
    await until(async () => {
      await web.call(near.host);
      serials.add(JSON.stringify(near.app.seen.at(-1)?.headers["x-forwarded-client-cert"]));
      return serials.size > before || serials.size > renewal + 1;
    }, "a connection with the new certificate");
  }

  expect(failed).toEqual([]);
});
