import http from "node:http";
import { setTimeout as sleep } from "node:timers/promises";
import tls from "node:tls";
import { afterAll, beforeAll, expect, it } from "vitest";
import { MeshInProcess, until } from "../../test/apparatus/mesh-in-process.ts";
import type { Workload } from "../../test/apparatus/workload.ts";

const lifetimeSeconds = 6;
const loadSeconds = 8;

let mesh: MeshInProcess;
let front: Workload;
let ledger: Workload;

beforeAll(async () => {
  mesh = await MeshInProcess.found({ svidLifetimeSeconds: lifetimeSeconds });
  [front, ledger] = await Promise.all([mesh.open("/shop/front"), mesh.open("/shop/ledger")]);
  await mesh.putRule("/shop/front", "/shop/ledger");
  await until(async () => (await front.call(ledger.host)).status === 200, "a route");
});
afterAll(() => mesh[Symbol.asyncDispose]());

it("loses no request while certificates come and go", async () => {
  const keepAlive = new http.Agent({ keepAlive: true, maxSockets: 4 });
  const serials = new Set([await serialShown()]);
  const failures: string[] = [];
  let requests = 0;
  const endMillis = performance.now() + loadSeconds * 1000;
  const call = async (method: string, agent?: http.Agent): Promise<void> => {
    while (performance.now() < endMillis) {
      const body = method === "POST" ? "x".repeat(1000) : "";
      const reply = await front.call(ledger.host, {
        method,
        body,
        ...(agent === undefined ? {} : { agent }),
      });
      requests += 1;
      if (reply.status !== 200) failures.push(reply.body);
      await sleep(2);
    }
  };
  const watch = async (): Promise<void> => {
    while (performance.now() < endMillis) {
      serials.add(await serialShown());
      await sleep(250);
    }
  };

  await Promise.all([
    call("GET", keepAlive),
    call("POST", keepAlive),
    call("POST", keepAlive),
    call("GET"),
    call("POST"),
    watch(),
  ]);
  keepAlive.destroy();

  expect(failures).toEqual([]);
  expect(requests).toBeGreaterThan(500);
  expect(serials.size).toBeGreaterThanOrEqual(3);
  expect(mesh.controlPlane.writer.state.certificates.size).toBeLessThan(20);
  expect(await ledger.metric("troth_proxy_peer_connections")).toBeLessThan(16);
}, 30_000);

/** The serial number of the certificate that the ledger shows to whoever asks. */
function serialShown(): Promise<string> {
  const [host = "", port = ""] = ledger.sidecar.inboundAddress.split(":");
  return new Promise((resolve, reject) => {
    const socket = tls.connect({ host, port: Number(port), rejectUnauthorized: false }, () => {
      const { serialNumber } = socket.getPeerCertificate();
      socket.destroy();
      resolve(serialNumber);
    });
    socket.on("error", reject);
  });
}
