import { afterEach, expect, it } from "vitest";
import { MeshInProcess, until } from "../../test/apparatus/mesh-in-process.ts";
import { shiftedClock } from "../../test/apparatus/shifted-clock.ts";

const open: AsyncDisposable[] = [];

afterEach(async () => {
  for (const one of open.splice(0).reverse()) await one[Symbol.asyncDispose]();
});

it("lets callers go on without a control plane until the staleness table stops them, and not before", async () => {
  const mesh = await MeshInProcess.found();
  open.push(mesh);
  await mesh.putService("/shop/ledger", "restricted");
  await mesh.putService("/shop/web", "internal");
  await mesh.putRule("/shop/web", "/shop/ledger");
  await mesh.put("requesttoken.put", { to: "/*", mode: "granted" });
  const clock = shiftedClock();
  const ledger = await mesh.open("/shop/ledger", { clock });
  const web = await mesh.open("/shop/web", { clock });
  await until(async () => (await web.call(ledger.host)).status === 200, "the first call");
  const accepted = (): Promise<number> =>
    ledger.metric("troth_proxy_request_tokens_total", { direction: "inbound", outcome: "accepted" });
  const before = await accepted();

  await mesh.stopControlPlane();

  // A restricted service reads on for a quarter of an hour, in which key periods end and renewals are not answered.
  for (let minute = 1; minute <= 14; minute += 1) {
    clock.shiftMonotonic(60);
    expect(await web.call(ledger.host), `after ${minute} min`).toMatchObject({ status: 200 });
  }
  expect((await accepted()) - before).toBe(14);
  clock.shiftMonotonic(120);
  // The callee says so, or has already ended the connection, and takes no new one either.
  expect((await web.call(ledger.host)).reason).toMatch(/^(view-stale|upstream-connect-failed)$/);
}, 60_000);
