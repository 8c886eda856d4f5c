import http from "node:http";
import { afterAll, beforeAll, expect, test } from "vitest";
import { MeshInProcess, until } from "../../../test/apparatus/mesh-in-process.ts";
import { openPlainApp } from "../../../test/apparatus/plain-app.ts";
import type { Workload } from "../../../test/apparatus/workload.ts";

let mesh: MeshInProcess;
let web: Workload;
let middle: Workload;
let leaf: Workload;
let isFailing = false;

const retries = { retriesMax: 2, on: ["503"], methods: [] };

beforeAll(async () => {
  mesh = await MeshInProcess.found();
  web = await mesh.open("/shop/web");
  const leafApp = await openPlainApp({
    answer: (_, response) => {
      response.statusCode = isFailing ? 503 : 200;
      response.end();
    },
  });
  leaf = await mesh.open("/shop/leaf", { app: leafApp });
  const middleApp = await openPlainApp({ answer: (request, response) => ask(request, response) });
  middle = await mesh.open("/shop/middle", { app: middleApp });
  await mesh.putRule("/shop/web", "/shop/middle");
  await mesh.putRule("/shop/middle", "/shop/leaf");
  for (const service of ["/shop/middle", "/shop/leaf"])
    await mesh.put("traffic.put", { service, protocol: "http", retries, routes: [] });
  await mesh.settled();
  await until(async () => (await web.call(middle.host)).status === 200, "the chain");
}, 30_000);

afterAll(() => mesh[Symbol.asyncDispose]());

/** The application in the middle asks the next, and hands on what traces are told by. */
function ask({ headers }: http.IncomingMessage, response: http.ServerResponse): void {
  const [host, port] = middle.sidecar.outboundAddress.split(":");
  const { traceparent } = headers;
  const passed = traceparent === undefined ? {} : { traceparent };
  const asked = http.get({ host, port, agent: false, headers: { ...passed, host: leaf.host } }, (answer) => {
    answer.resume();
    response.statusCode = answer.statusCode ?? 0;
    response.end();
  });
  asked.on("error", () => response.destroy());
}

const traceparent = `00-${"ab".repeat(16)}-${"cd".repeat(8)}-01`;

async function attempts(
  headers: http.OutgoingHttpHeaders,
): Promise<[number, number, http.IncomingHttpHeaders]> {
  isFailing = true;
  const before = [middle.app.seen.length, leaf.app.seen.length] as const;
  const reply = await web.call(middle.host, { headers });
  isFailing = false;
  expect(reply.status).toBe(503);
  return [middle.app.seen.length - before[0], leaf.app.seen.length - before[1], reply.headers];
}

test("a request is not repeated whose callee has repeated its own call in vain, where the trace is handed on", async () => {
  const [inTheMiddle, atTheLeaf, headers] = await attempts({ traceparent });

  expect([inTheMiddle, atTheLeaf]).toEqual([1, 3]);
  expect(Object.keys(headers).filter((name) => name.startsWith("troth-"))).toEqual([]);
  expect(await web.metric("troth_proxy_retries_total", { outcome: "exhausted-further-on" })).toBe(1);
});

test("where it is not, attempts multiply, within the budgets", async () => {
  const [inTheMiddle, atTheLeaf] = await attempts({});

  expect([inTheMiddle, atTheLeaf]).toEqual([3, 9]);
});
