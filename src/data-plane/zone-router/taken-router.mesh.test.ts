import { afterAll, beforeAll, expect, it } from "vitest";
import { endpointOf } from "../../../test/apparatus/known-endpoints.ts";
import { MeshInProcess, until } from "../../../test/apparatus/mesh-in-process.ts";
import { openPlainApp } from "../../../test/apparatus/plain-app.ts";
import type { Workload } from "../../../test/apparatus/workload.ts";
import { type Attack, type HostileRouter, openHostileRouter } from "../../../test/apparatus/zone-routers.ts";

const secret = "only-for-the-two-of-them";
const long = secret.repeat(1_000);

let mesh: MeshInProcess;
let west: string;
let web: Workload;
let router: HostileRouter;

beforeAll(async () => {
  mesh = await MeshInProcess.found();
  west = await mesh.joinNode("west-1");
  await mesh.put("node.zone", { node: "here", zone: "east" });
  await mesh.put("node.zone", { node: "west-1", zone: "west" });
  router = await openHostileRouter(mesh, "/mesh/west", west);
  web = await mesh.open("/shop/web");
}, 30_000);
afterAll(async () => {
  await router[Symbol.asyncDispose]();
  await mesh[Symbol.asyncDispose]();
});

/** An instance that the caller has no connection to yet, so that the first one goes through the router as it is now. */
async function openCallee(attack: Attack): Promise<Workload> {
  router.attack = attack;
  const app = await openPlainApp({ answer: (_request, response) => response.end(`answer ${long}`) });
  const callee = await mesh.open(`/shop/under-${attack}`, { agentSocketPath: west, app });
  await mesh.putRule("/shop/web", callee.service);
  await mesh.settled();
  await until(async () => {
    const config = await endpointOf(web, callee).catch(() => undefined);
    return config?.zone === "west";
  }, "the endpoint");
  return callee;
}

it("sees, when it has been taken over, who talks to whom, and nothing of what they say", async () => {
  const callee = await openCallee("read");

  const reply = await web.call(callee.host, { method: "POST", path: `/${secret}`, body: long });

  expect([reply.status, reply.body]).toEqual([200, `answer ${long}`]);
  expect(callee.app.seen.at(-1)?.body).toBe(long);
  expect((await endpointOf(web, callee)).via).toBe(`/mesh/west ${router.instance}`);
  expect(router.seen().length).toBeGreaterThan(2 * long.length);
  expect(router.seen().includes(secret)).toBe(false);
});

it.each(["flip-to-callee", "flip-to-caller"] as const)(
  "what it alters ends the connection, and no end takes it for the other's word: %s",
  async (attack) => {
    const callee = await openCallee(attack);
    const before = router.tunnels();

    const reply = await web.call(callee.host, { method: "POST", body: long });

    expect(router.tunnels()).toBeGreaterThan(before);
    // Through the router nothing comes about; whatever does is true.
    if (reply.status === 200) expect(reply.body).toBe(`answer ${long}`);
    else expect(reply.status).toBe(502);
    for (const { body } of callee.app.seen) expect(body).toBe(long);
  },
);

it("cannot answer in a destination's place: other-instance, and it is told nothing", async () => {
  const callee = await openCallee("impersonate");
  const before = router.tunnels();

  const reply = await web.call(callee.host, { method: "POST", body: long });

  expect(router.tunnels()).toBe(before + 1);
  expect(router.told()).toBe("");
  const isRecorded = async (): Promise<boolean> =>
    (await web.audit()).some(
      ({ type, reason }) => type === "connection-refused" && reason === "other-instance",
    );
  await until(isRecorded, "the record");
  // It is left alone then, and the instance reached without.
  expect([reply.status, reply.body]).toEqual([200, `answer ${long}`]);
  expect((await endpointOf(web, callee)).via).toBe("");
});
