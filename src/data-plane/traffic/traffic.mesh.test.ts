import type { IncomingMessage, ServerResponse } from "node:http";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { MeshInProcess, until } from "../../../test/apparatus/mesh-in-process.ts";
import { openPlainApp } from "../../../test/apparatus/plain-app.ts";
import type { Workload } from "../../../test/apparatus/workload.ts";
import type { JsonObject } from "../../base/canonical-json.ts";

type Answer = (request: IncomingMessage, response: ServerResponse) => void;

let mesh: MeshInProcess;
let caller: Workload;
let pay: Workload;
let shadow: Workload;
let answer: Answer;

const plain: Answer = (_, response) => response.end("paid");
/** Fails so often and answers then. */
const failing = (times: number, status = 503): Answer => {
  let left = times;
  return (_, response) => {
    left -= 1;
    response.statusCode = left >= 0 ? status : 200;
    response.end(left >= 0 ? "not now" : "paid");
  };
};

beforeAll(async () => {
  mesh = await MeshInProcess.found();
  caller = await mesh.open("/shop/web");
  pay = await mesh.open("/shop/pay", {
    app: await openPlainApp({ answer: (request, response) => answer(request, response) }),
  });
  shadow = await mesh.open("/shop/shadow");
  await mesh.putRule("/shop/web", "/shop/pay");
  await mesh.putRule("/shop/web", "/shop/shadow");
  answer = plain;
  await until(async () => (await caller.call(pay.host)).status === 200, "it is called");
  await until(async () => (await caller.call(shadow.host)).status === 200, "its mirror is called");
}, 30_000);

beforeEach(() => {
  answer = plain;
  pay.app.seen.length = 0;
  shadow.app.seen.length = 0;
});

afterAll(() => mesh[Symbol.asyncDispose]());

const retries = { retriesMax: 2, on: ["503", "reset", "connect-failed"], methods: [] };

/** With a budget that the tests before have not used up. */
async function police(policy: JsonObject): Promise<void> {
  const body = { service: "/shop/pay", protocol: "http", retryBudgetPercent: 100, routes: [], ...policy };
  await mesh.put("traffic.put", body);
  await mesh.settled();
}

describe("a service with a traffic policy", () => {
  test("is asked again where the policy says so, and hears which attempt it is through no header", async () => {
    await police({ retries });
    answer = failing(2);

    const reply = await caller.call(pay.host);

    expect([reply.status, reply.body, pay.app.seen.length]).toEqual([200, "paid", 3]);
    const names = pay.app.seen.flatMap(({ headers }) => Object.keys(headers));
    expect(names.filter((name) => name.startsWith("troth-"))).toEqual([]);
    expect(await caller.metric("troth_proxy_retries_total", { outcome: "tried" })).toBe(2);
    expect(await caller.metric("troth_proxy_retries_total", { outcome: "succeeded" })).toBe(1);
  });

  test("is asked no more often than that, and its last answer counts", async () => {
    await police({ retries });
    answer = failing(9);

    const reply = await caller.call(pay.host);

    expect([reply.status, reply.body, pay.app.seen.length]).toEqual([503, "not now", 3]);
  });

  test("is asked again at another instance where there is one", async () => {
    await police({ retries: { ...retries, retriesMax: 1 } });
    const other = await mesh.open("/shop/pay");
    await until(async () => {
      await caller.call(pay.host);
      return other.app.seen.length > 0;
    }, "the other is called");
    answer = failing(Number.POSITIVE_INFINITY);
    const replies = await Promise.all(Array.from({ length: 12 }, () => caller.call(pay.host)));
    await other[Symbol.asyncDispose]();

    expect(new Set(replies.map(({ status }) => status))).toEqual(new Set([200]));
    expect(pay.app.seen.length).toBeGreaterThan(0);
  });

  test("whose application has gone is asked again where the policy says connect-failed", async () => {
    const gone = await mesh.open("/shop/gone");
    await mesh.putRule("/shop/web", "/shop/gone");
    await until(async () => (await caller.call(gone.host)).status === 200, "it is called");
    const policy = { retries: { ...retries, on: ["connect-failed"] } };
    await mesh.put("traffic.put", { service: "/shop/gone", protocol: "http", routes: [], ...policy });
    await mesh.settled();
    await gone.app.kill();
    const before = await caller.metric("troth_proxy_retries_total", { outcome: "tried" });
    const reply = await caller.call(gone.host);

    expect([reply.status, reply.reason]).toEqual([502, "upstream-connect-failed"]);
    expect(await caller.metric("troth_proxy_retries_total", { outcome: "tried" })).toBe(before + 2);
  });

  test("is not asked again with a method that does more when done twice, unless the policy names it", async () => {
    await police({ retries });
    answer = failing(1);
    const once = await caller.call(pay.host, { method: "POST", body: "x" });
    await police({ retries: { ...retries, methods: ["POST"] } });
    answer = failing(1);
    const twice = await caller.call(pay.host, { method: "POST", body: "y" });

    expect([once.status, twice.status]).toEqual([503, 200]);
    expect(pay.app.seen.map(({ body }) => body)).toEqual(["x", "y", "y"]);
  });

  test("is given up when its time is over: request-timeout", async () => {
    await police({ timeoutMillis: 60_000, routes: [{ methods: [], paths: ["/slow"], timeoutMillis: 80 }] });
    answer = ({ url }, response) => void setTimeout(() => response.end("late"), url === "/slow" ? 400 : 150);

    const [slow, other] = await Promise.all([
      caller.call(pay.host, { path: "/slow" }),
      caller.call(pay.host, { path: "/slower" }),
    ]);

    expect([slow.status, slow.reason, other.status]).toEqual([504, "request-timeout", 200]);
  });

  test("has the response cut off whose time is over, unless it is a stream of events", async () => {
    await police({ timeoutMillis: 100 });
    let type = "text/plain";
    answer = (_, response) => {
      response.writeHead(200, { "content-type": type });
      response.write("first");
      setTimeout(() => response.end("last"), 300);
    };
    const cut = await caller.call(pay.host).catch(() => undefined);
    type = "text/event-stream; charset=utf-8";
    const stream = await caller.call(pay.host);

    expect([cut, stream.body]).toEqual([undefined, "firstlast"]);
  });

  test("is answered in place of, for the share that the policy names", async () => {
    const fault = { percent: 100, status: 418, delayMillis: 50 };
    await police({ retries, routes: [{ methods: ["GET"], paths: ["/f"], fault }] });

    const [faulty, fine] = [
      await caller.call(pay.host, { path: "/f/x?y" }),
      await caller.call(pay.host, { path: "/fa" }),
    ];

    expect([faulty.status, faulty.reason, fine.status]).toEqual([418, "fault-injected", 200]);
    expect(pay.app.seen.length).toBe(1);
    expect(await caller.metric("troth_proxy_injected_faults_total")).toBe(2);
  });

  test("has a copy of requests sent to another, which its caller hears nothing of", async () => {
    await police({ routes: [{ methods: [], paths: [], mirror: { to: "/shop/shadow", percent: 100 } }] });

    const reply = await caller.call(pay.host, { method: "POST", path: "/a?b", body: "x".repeat(40_000) });
    await until(() => shadow.app.seen.length === 1);

    expect(reply.body).toBe("paid");
    const [copy] = shadow.app.seen;
    expect([copy?.line, copy?.body.length, copy?.headers.host]).toEqual([
      "POST /a?b",
      40_000,
      "shadow.shop.mesh",
    ]);
    expect(copy?.headers["troth-mirrored"]).toBe("?1");
    await until(async () => (await caller.metric("troth_proxy_mirrored_requests_total")) === 1);
  });

  test("goes without one once it is removed, and requests that wait end under the one they began with", async () => {
    await police({ routes: [{ methods: [], paths: [], fault: { percent: 100, delayMillis: 300 } }] });
    const waiting = caller.call(pay.host);
    await sleep(50);
    await mesh.put("traffic.remove", { service: "/shop/pay" });
    await mesh.settled();
    const after = await caller.call(pay.host);

    expect([after.status, (await waiting).status]).toEqual([200, 200]);
  });
});
