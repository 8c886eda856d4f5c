import { writeFile } from "node:fs/promises";
import { afterAll, beforeAll, expect, test } from "vitest";
import { z } from "zod";
import { processesMarked } from "../../test/apparatus/marked-processes.ts";
import {
  apparatus,
  openMesh,
  openService,
  type RunningMesh,
  servingInstance,
  startTroth,
  statusOf,
  troth,
} from "../../test/apparatus/running-mesh.ts";
import { inviteNode, openSecondMachine, type SecondMachine } from "../../test/apparatus/second-machine.ts";

const nodesSchema = z.looseObject({ items: z.array(z.looseObject({ node: z.string(), zone: z.string() })) });
const endpointsSchema = z.looseObject({
  zone: z.string(),
  items: z.array(z.looseObject({ service: z.string(), zone: z.string(), standing: z.string() })),
});

const open = new AsyncDisposableStack();
let mesh: RunningMesh;
let second: SecondMachine;

beforeAll(async () => {
  mesh = open.use(await openMesh({ kind: "up" }));
  second = open.use(await openSecondMachine());
  await second.join(await inviteNode(mesh.path, "box2"));
  open.use(startTroth(second.path, ["node-agent"]));
}, 120_000);

afterAll(() => open.disposeAsync(), 60_000);

test("a node that has only joined runs a service once it is registered, and can be stopped before", async () => {
  const command = ["run", "--service", "/shop/pay", "--", ...apparatus("small-app.ts")];
  const givenUp = open.use(startTroth(second.path, command));
  await expect
    .poll(() => givenUp.stderr, { timeout: 30_000 })
    .toContain("/shop/pay waits for its certificate");
  process.kill(givenUp.pid, "SIGTERM");
  expect((await givenUp.ended(10_000)).code).toBe(128 + 15);
  await expect.poll(() => processesMarked(givenUp.mark), { timeout: 10_000 }).toEqual([]);

  open.use(startTroth(second.path, command));
  const manifest = "apiVersion: troth/v1\nkind: Service\nmetadata: { name: /shop/pay }\nspec: {}\n";
  const file = `${second.path}/pay.yaml`;
  await writeFile(file, manifest);
  expect((await troth(mesh.path, "apply", "-f", file)).code).toBe(0);

  const { instance } = await servingInstance(mesh.path, "/shop/pay");
  expect((await statusOf(mesh.path)).instances.map((one) => one.instance)).toContain(instance);
}, 120_000);

test("troth says where a node is, and callers' proxies know", async () => {
  open.use(await openService(mesh, "/shop/web"));

  const zoned = await troth(mesh.path, "node", "zone", "box2", "eu-2", "--wait");
  const bad = await troth(mesh.path, "node", "zone", "box2", "eu 2");
  const unknown = await troth(mesh.path, "node", "zone", "box3", "eu-2");
  const none = await troth(mesh.path, "node", "zone", "box2");

  expect([zoned.code, bad.code, unknown.code, none.code]).toEqual([0, 2, 4, 2]);
  expect(bad.stderr).toContain('"eu 2" is no name of a zone');
  const nodes = nodesSchema.parse(JSON.parse((await troth(mesh.path, "node", "list", "-o", "json")).stdout));
  expect(nodes.items.find(({ node }) => node === "box2")?.zone).toBe("eu-2");
  const shown = await troth(
    mesh.path,
    "proxy",
    "endpoints",
    "/shop/web",
    "--service",
    "shop/pay",
    "-o",
    "json",
  );
  expect(endpointsSchema.parse(JSON.parse(shown.stdout))).toMatchObject({
    zone: "",
    items: [{ service: "/shop/pay", zone: "eu-2", standing: "in" }],
  });

  const described = await troth(mesh.path, "describe", "service", "/shop/pay");
  expect(described.stdout).toMatch(/Instance +: \S+ on box2, in the zone eu-2/);
  expect(described.stdout).toMatch(/Left out here +: by no caller's proxy on this machine/);

  expect((await troth(mesh.path, "node", "zone", "box2", "--none")).code).toBe(0);
}, 120_000);
