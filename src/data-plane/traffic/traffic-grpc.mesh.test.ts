import http2 from "node:http2";
import type { AddressInfo } from "node:net";
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { MeshInProcess, until } from "../../../test/apparatus/mesh-in-process.ts";
import { type RawGrpcAnswer, rawGrpcCall } from "../../../test/apparatus/raw-grpc-call.ts";
import type { Workload } from "../../../test/apparatus/workload.ts";
import type { JsonObject } from "../../base/canonical-json.ts";

let mesh: MeshInProcess;
let caller: Workload;
let pay: Workload;
/** How many calls are refused as UNAVAILABLE before one is answered. */
let refusals = 0;
/** How long an answer takes. */
let answerMillis = 0;
const timeouts: (string | undefined)[] = [];

beforeAll(async () => {
  mesh = await MeshInProcess.found();
  caller = await mesh.open("/shop/web");
  pay = await mesh.open("/shop/pay", { app: await openGrpcApp(), appProtocol: "http2" });
  await mesh.putRule("/shop/web", "/shop/pay");
  await until(async () => (await call().catch(() => undefined))?.grpcStatus === "0", "a route");
}, 30_000);

beforeEach(() => {
  timeouts.length = 0;
  refusals = 0;
  answerMillis = 0;
});

afterAll(() => mesh[Symbol.asyncDispose]());

async function openGrpcApp(): Promise<Workload["app"]> {
  const sessions = new Set<http2.ServerHttp2Session>();
  const server = http2.createServer();
  server.on("session", (session) => sessions.add(session));
  server.on("stream", (stream: http2.ServerHttp2Stream, headers) => {
    stream.on("error", () => {});
    stream.resume();
    const timeout = headers["grpc-timeout"];
    timeouts.push(typeof timeout === "string" ? timeout : undefined);
    refusals -= 1;
    const head = { ":status": 200, "content-type": "application/grpc" };
    if (refusals >= 0) return stream.respond({ ...head, "grpc-status": "14" }, { endStream: true });
    setTimeout(() => {
      if (stream.destroyed) return;
      stream.on("wantTrailers", () => stream.sendTrailers({ "grpc-status": "0" }));
      stream.respond(head, { waitForTrailers: true });
      stream.end();
    }, answerMillis);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address: AddressInfo | string | null = server.address();
  const kill = (): Promise<void> => {
    for (const session of sessions) session.destroy();
    return new Promise((resolve) => server.close(() => resolve()));
  };
  const port = typeof address === "object" && address !== null ? address.port : 0;
  return { port, seen: [], bytes: () => 0, kill, [Symbol.asyncDispose]: kill };
}

function call(): Promise<RawGrpcAnswer> {
  return rawGrpcCall({ address: caller.sidecar.outboundAddress, authority: pay.host }, "/shop.Pay/Charge");
}

async function police(policy: JsonObject): Promise<void> {
  await mesh.put("traffic.put", { service: "/shop/pay", protocol: "http", routes: [], ...policy });
  await mesh.settled();
}

test("a call that was UNAVAILABLE is repeated where the policy names 503 and POST", async () => {
  const retries = { retriesMax: 2, on: ["503"], methods: ["POST"] };
  await police({ retries });
  refusals = 2;
  const repeated = await call();
  await police({ retries: { ...retries, methods: [] } });
  refusals = 1;
  const single = await call();

  expect([repeated.grpcStatus, single.grpcStatus, timeouts.length]).toEqual(["0", "14", 4]);
});

test("a call whose time is over ends as DEADLINE_EXCEEDED", async () => {
  await police({ timeoutMillis: 80 });
  answerMillis = 1_000;
  const answer = await call();

  expect([answer.httpStatus, answer.isTrailersOnly, answer.grpcStatus]).toEqual([200, true, "4"]);
  expect(decodeURIComponent(answer.grpcMessage)).toBe("request-timeout: no whole response within 80 ms");
});

test("an injected fault is a status of gRPC", async () => {
  await police({
    routes: [{ methods: [], paths: ["/shop.Pay/Charge"], fault: { percent: 100, status: 503 } }],
  });

  expect(await call()).toMatchObject({ httpStatus: 200, grpcStatus: "14" });
  expect(timeouts).toEqual([]);
});
