import { randomUUID } from "node:crypto";
import { create } from "@bufbuild/protobuf";
import { afterAll, beforeAll, expect, it } from "vitest";
import { MeshInProcess } from "../../../test/apparatus/mesh-in-process.ts";
import { TokenPeer } from "../../../test/apparatus/token-peer.ts";
import { type Endpoint, EndpointSchema } from "../../protocol/index.ts";

const service = "/shop/ledger";

let mesh: MeshInProcess;

beforeAll(async () => {
  mesh = await MeshInProcess.found();
});

afterAll(() => mesh[Symbol.asyncDispose]());

function endpointOf(instance: string, address: string): Endpoint {
  return create(EndpointSchema, { instance, service, address });
}

it("knows a node's instances, however many are said to be elsewhere", async () => {
  const ledger = await mesh.open(service);
  await using caller = await TokenPeer.open(mesh, "/shop/web");
  await mesh.settled();
  const { router } = caller.core;
  const others = Array.from({ length: 10_000 }, (_, number) =>
    endpointOf(randomUUID(), `192.0.2.1:${number + 1}`),
  );

  router.setEndpoints([...others, endpointOf(ledger.instance, ledger.sidecar.inboundAddress)]);

  const known = router.endpoints();
  expect(known).toHaveLength(10_000);
  expect(known.map(({ instance }) => instance)).toContain(ledger.instance);
});
