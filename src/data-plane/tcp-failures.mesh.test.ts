import { afterAll, beforeAll, expect, it } from "vitest";
import { MeshInProcess, until } from "../../test/apparatus/mesh-in-process.ts";
import { connectTo, openTcpApp, type TcpApp, type TcpEnd } from "../../test/apparatus/tcp-app.ts";
import type { Workload } from "../../test/apparatus/workload.ts";

let mesh: MeshInProcess;
let front: Workload;
let database: Workload;
let one: TcpApp;
let other: TcpApp;
const minute = 60;

beforeAll(async () => {
  mesh = await MeshInProcess.found();
  const echo = ({ socket }: TcpEnd): unknown => socket.pipe(socket);
  one = await openTcpApp(echo);
  other = await openTcpApp(echo);
  await mesh.putService("/shop/db", "restricted");
  await mesh.putTcp("/shop/db");
  await mesh.putRule("/shop/front", "/shop/db");
  [front, database] = await Promise.all([
    mesh.open("/shop/front", { tcp: ["/shop/db"] }),
    mesh.open("/shop/db", { app: one }),
  ]);
  await mesh.open("/shop/db", { app: other });
  await until(async () => {
    await echoed("x");
    return [one, other].every((app) => app.connections().length > 0);
  }, "connections to both instances");
}, 30_000);
afterAll(() => mesh[Symbol.asyncDispose]());

async function connect(): Promise<TcpEnd> {
  return connectTo(front.sidecar.tcpAddresses[0] ?? "");
}

/** Whether a new connection is let in. */
async function echoed(text: string): Promise<boolean> {
  const end = await connect();
  end.socket.write(text);
  await until(() => end.text === text || end.closed !== undefined);
  end.socket.resetAndDestroy();
  return end.text === text;
}

it("keeps open connections while its view is old, and cuts them once it is too old to be believed", async () => {
  const near: TcpEnd[] = [];
  for (let count = 0; count < 8; count += 1) near.push(await connect());
  for (const { socket } of near) socket.write("a");
  await until(() => near.every(({ text }) => text === "a"), "the echoes");
  await mesh.stopControlPlane();

  database.clock.shiftMonotonic(minute + 1);
  await until(
    async () => (await database.metric("troth_proxy_view_staleness_seconds")) > minute,
    "an old view",
  );
  for (const { socket } of near) socket.write("b");
  await until(() => near.every(({ text }) => text === "ab"), "the echoes under an old view");
  database.clock.shiftMonotonic(15 * minute);
  await until(() => near.some(({ closed }) => closed === "reset"), "the cut");
  await mesh.startControlPlane();

  expect(await database.audit()).toContainEqual(
    expect.objectContaining({ effect: "deny", reason: "view-stale", method: "CONNECT", freshness: "stale" }),
  );
  for (const { socket } of near) socket.destroy();
});

it("brings a connection to another instance where the application of one has gone", async () => {
  await one.kill();

  for (let count = 0; count < 20; count += 1) expect(await echoed(`to the other ${count}`)).toBe(true);
});
