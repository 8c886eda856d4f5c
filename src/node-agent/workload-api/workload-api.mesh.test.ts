import { execFile } from "node:child_process";
import { once } from "node:events";
import http2 from "node:http2";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";
import { Code } from "@connectrpc/connect";
import { afterEach, expect, it } from "vitest";
import type { FoundingOptions, MeshInProcess } from "../../../test/apparatus/mesh-in-process.ts";
import type { WorkloadClient } from "../../../test/apparatus/workload-client.ts";
import {
  connectTo,
  foundWorkloadMesh,
  ownSelector,
  putWorkload,
  reader,
  refusalOf,
} from "../../../test/apparatus/workload-mesh.ts";
import { parseCertificate } from "../../crypto/index.ts";
import type { X509SVIDResponse } from "../../protocol/index.ts";

const stack: AsyncDisposable[] = [];

afterEach(async () => {
  for (const one of stack.splice(0).reverse()) await one[Symbol.asyncDispose]();
});

async function found(options: FoundingOptions = {}): Promise<MeshInProcess> {
  const mesh = await foundWorkloadMesh(options);
  stack.push(mesh);
  return mesh;
}

function connect(mesh: MeshInProcess): WorkloadClient {
  const client = connectTo(mesh);
  stack.push({ [Symbol.asyncDispose]: async () => client[Symbol.dispose]() });
  return client;
}

function leafOf({ svids }: X509SVIDResponse): { sha256: string; uris: readonly string[] } {
  const leaf = parseCertificate(firstDer(svids[0]?.x509Svid ?? new Uint8Array(0)));
  if (!leaf.ok) throw new Error(leaf.reason);
  return { sha256: leaf.value.sha256, uris: leaf.value.uriNames };
}

/** The first of several DER values that follow one another. */
function firstDer(bytes: Uint8Array): Uint8Array {
  const isLong = ((bytes[1] ?? 0) & 0x80) !== 0;
  const count = isLong ? (bytes[1] ?? 0) & 0x7f : 0;
  const length = isLong
    ? bytes.subarray(2, 2 + count).reduce((sum, byte) => sum * 256 + byte, 0)
    : (bytes[1] ?? 0);
  return bytes.subarray(0, 2 + count + length);
}

it("gives a caller that has all selectors of an entry the identity of its service", async () => {
  const mesh = await found();
  await putWorkload(mesh, "payments", { hint: "main" });
  const next = reader(connect(mesh).api.fetchX509SVID({}));

  const message = await next();

  expect(message.svids).toHaveLength(1);
  expect(message.svids[0]).toMatchObject({ spiffeId: "spiffe://test.example/shop/payments", hint: "main" });
  expect(leafOf(message).uris).toEqual(["spiffe://test.example/shop/payments"]);
  expect(mesh.controlPlane.writer.state.certificates.has(leafOf(message).sha256)).toBe(true);
});

it("holds a caller without an entry until there is one", async () => {
  const mesh = await found();
  const asked = reader(connect(mesh).api.fetchX509SVID({}))();
  await sleep(200);

  await putWorkload(mesh, "payments");

  expect((await asked).svids).toHaveLength(1);
});

it("refuses a caller that no entry fits, after a moment", async () => {
  const mesh = await found();
  await putWorkload(mesh, "payments", { selectors: [ownSelector, "unix:path:/usr/bin/payments"] });

  const refusal = await refusalOf(reader(connect(mesh).api.fetchX509SVID({}))());

  expect(refusal).toBe("PermissionDenied: no identity issued");
}, 10_000);

it("refuses a call without the header at once", async () => {
  const mesh = await found();
  await putWorkload(mesh, "payments");
  const { headerless } = connect(mesh);

  const refusals = [
    await refusalOf(reader(headerless.fetchX509SVID({}))()),
    await refusalOf(reader(headerless.fetchX509Bundles({}))()),
  ];

  expect(new Set(refusals)).toEqual(new Set(["InvalidArgument: security header missing from request"]));
});

it.each([
  ["the path of the socket, as gRPC's C core does", "tmp%2Fworkload.sock"],
  ["what is no host", "%"],
])("answers a client that calls it %s", async (_, authority) => {
  const mesh = await found();
  const session = http2.connect((mesh.agent.workloadAddresses[0] ?? "").replace("tcp", "http"));
  stack.push({ [Symbol.asyncDispose]: async () => session.destroy() });
  const path = "/SpiffeWorkloadAPI/FetchX509SVID";
  const content = { "content-type": "application/grpc", te: "trailers" };

  const call = session.request({ ":method": "POST", ":path": path, ":authority": authority, ...content });
  call.resume().end(Buffer.alloc(5));

  const [trailers] = await once(call, "trailers");
  expect(trailers["grpc-status"]).toBe(String(Code.InvalidArgument));
});

it("pushes the next certificate when one is rotated, and nothing while nothing is new", async () => {
  const mesh = await found({ svidLifetimeSeconds: 4 });
  await putWorkload(mesh, "payments");
  const next = reader(connect(mesh).api.fetchX509SVID({}));
  const first = leafOf(await next()).sha256;

  const second = leafOf(await next()).sha256;

  expect(second).not.toBe(first);
});

it("replaces a certificate that was revoked, in the same stream", async () => {
  const mesh = await found();
  await putWorkload(mesh, "payments");
  const next = reader(connect(mesh).api.fetchX509SVID({}));
  const first = leafOf(await next()).sha256;

  await mesh.put("svid.revoke", { certificate: first, reason: "key-compromise" });

  expect(leafOf(await next()).sha256).not.toBe(first);
});

it("gives a process whose instance was revoked no other", async () => {
  const mesh = await found();
  await putWorkload(mesh, "payments");
  const client = connect(mesh);
  const next = reader(client.api.fetchX509SVID({}));
  await next();
  const [instance] = [...mesh.controlPlane.writer.state.instances.entries()].map(([id]) => id);

  await mesh.put("instance.revoke", { instance: instance ?? "", reason: "key-compromise" });

  expect(await refusalOf(next())).toBe("PermissionDenied: no identity issued");
  expect(await refusalOf(reader(client.api.fetchX509SVID({}))())).toBe(
    "PermissionDenied: no identity issued",
  );
}, 10_000);

it.each([
  ["the entry is removed", "workload.remove", { name: "payments" }],
  ["the service is held", "service.hold", { name: "/shop/payments", reason: "unspecified" }],
  ["the node is held", "node.hold", { node: "here", reason: "unspecified" }],
  ["the service is removed", "service.remove", { name: "/shop/payments" }],
] as const)("ends the streams of those who may have nothing any more: %s", async (_, kind, body) => {
  const mesh = await found();
  await putWorkload(mesh, "payments");
  const { api } = connect(mesh);
  const [svids, bundles] = [reader(api.fetchX509SVID({})), reader(api.fetchX509Bundles({}))];
  await Promise.all([svids(), bundles()]);

  await mesh.put(kind, { ...body });

  expect(await refusalOf(svids())).toBe("PermissionDenied: no identity issued");
  expect(await refusalOf(bundles())).toBe("PermissionDenied: no identity issued");
});

it("gives one of several identities up when its entry is, and keeps the others", async () => {
  const mesh = await found();
  await mesh.putService("/shop/ledger");
  await putWorkload(mesh, "a", { hint: "same" });
  await putWorkload(mesh, "b", { service: "/shop/ledger", hint: "same" });
  const next = reader(connect(mesh).api.fetchX509SVID({}));
  const both = await next();

  await mesh.put("workload.remove", { name: "a" });
  const one = await next();

  expect(both.svids.map(({ spiffeId, hint }) => [spiffeId, hint])).toEqual([
    ["spiffe://test.example/shop/payments", "same"],
    ["spiffe://test.example/shop/ledger", ""],
  ]);
  expect(one.svids.map(({ spiffeId }) => spiffeId)).toEqual(["spiffe://test.example/shop/ledger"]);
});

it("has the log forget an instance that nobody asks for any more", async () => {
  const mesh = await found();
  await putWorkload(mesh, "payments");
  const client = connect(mesh);
  await reader(client.api.fetchX509SVID({}))();
  expect(mesh.controlPlane.writer.state.instances.size).toBe(1);

  client[Symbol.dispose]();

  await expect.poll(() => mesh.controlPlane.writer.state.instances.size, { timeout: 15_000 }).toBe(0);
}, 20_000);

it("has the log forget its instances when it ends", async () => {
  const mesh = await found();
  await putWorkload(mesh, "payments");
  await reader(connect(mesh).api.fetchX509SVID({}))();

  await mesh.stopAgent();

  expect(mesh.controlPlane.writer.state.instances.size).toBe(0);
});

/** A call by hand, so that another user's process can make it with nothing but Node; prints the status of the answer. */
const strangerScript = `
  const call = require("node:http2").connect(process.argv[1].replace("tcp", "http")).request({
    ":method": "POST", ":path": "/SpiffeWorkloadAPI/FetchX509SVID",
    "content-type": "application/grpc", te: "trailers", "workload.spiffe.io": "true",
  });
  const say = (headers) => { if (headers["grpc-status"]) { console.log(headers["grpc-status"]); process.exit(); } };
  call.on("response", say).on("trailers", say).on("data", () => { console.log("served"); process.exit(); });
  call.end(Buffer.alloc(5));
`;

it.runIf(process.getuid?.() === 0)(
  "refuses the same program when another user runs it",
  async () => {
    const mesh = await found();
    await putWorkload(mesh, "payments", { selectors: [ownSelector, `unix:path:${process.execPath}`] });
    const ask = async (uid: number): Promise<string> => {
      const args = ["-e", strangerScript, mesh.agent.workloadAddresses[0] ?? ""];
      const { stdout } = await promisify(execFile)(process.execPath, args, { uid, gid: uid, cwd: "/" });
      return stdout.trim();
    };

    expect(await ask(0)).toBe("served");
    expect(await ask(65_534)).toBe(String(Code.PermissionDenied));
  },
  20_000,
);
