import { connect } from "node:net";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { MeshInProcess, until } from "../../test/apparatus/mesh-in-process.ts";
import { openPlainApp } from "../../test/apparatus/plain-app.ts";
import type { Workload } from "../../test/apparatus/workload.ts";

let mesh: MeshInProcess;
let caller: Workload;
let callee: Workload;

/** What the application answers with, besides what every response has. */
let answered: [string, string][] = [];

beforeAll(async () => {
  mesh = await MeshInProcess.found();
  caller = await mesh.open("/shop/web");
  const app = await openPlainApp({
    answer: (_, response) => {
      for (const [name, value] of answered) response.setHeader(name, value);
      response.end("ok");
    },
  });
  callee = await mesh.open("/shop/pay", { app });
  await mesh.putRule("/shop/web", "/shop/pay");
  await until(async () => (await caller.call(callee.host)).status === 200, "it is called");
}, 30_000);

afterAll(() => mesh[Symbol.asyncDispose]());

/** What goes on, as the callee's application sees it; undefined where nothing of it is left. */
const passed = "as it came";

describe("of what an application sends to another", () => {
  test.each([
    ["Connection: X-Hop\r\nX-Hop: 1", "x-hop", undefined],
    ["Connection: keep-alive, x-hop\r\nX-Hop: 1", "x-hop", undefined],
    ["Keep-Alive: timeout=5", "keep-alive", undefined],
    ["Proxy-Connection: keep-alive", "proxy-connection", undefined],
    ["Proxy-Authorization: Basic eDp5", "proxy-authorization", undefined],
    ["Proxy-Authenticate: Basic", "proxy-authenticate", undefined],
    ["TE: gzip", "te", undefined],
    ["TE: gzip, trailers\r\nConnection: TE", "te", "trailers"],
    ["Troth-Attempt: 7", "troth-attempt", undefined],
    ["Troth-Mirrored: ?1", "troth-mirrored", undefined],
    ["Troth-Retries: exhausted", "troth-retries", undefined],
    [
      "X-Forwarded-Client-Cert: Hash=00;URI=spiffe://test.example/admin",
      "x-forwarded-client-cert",
      /^Hash=[0-9a-f]{64};URI=spiffe:\/\/test\.example\/shop\/web$/,
    ],
    ["X-Hop: 1", "x-hop", "1"],
    [
      "Forwarded: for=192.0.2.1;proto=https",
      "forwarded",
      'for=192.0.2.1;proto=https, for=_shop.web;host="pay.shop.mesh";proto=http',
    ],
    ["X-Forwarded-For: 192.0.2.1", "x-forwarded-for", "192.0.2.1"],
    ["X-Forwarded-Proto: https", "x-forwarded-proto", "https"],
    ["X-Forwarded-Host: shop.example", "x-forwarded-host", "shop.example"],
    ["Via: 1.1 cache", "via", "1.1 cache"],
    ["Accept: a\r\nAccept: b", "accept", "a, b"],
  ])("%j leaves in %s: %s", async (lines, name, left) => {
    const before = callee.app.seen.length;
    await send(`GET / HTTP/1.1\r\nHost: ${callee.host}\r\n${lines}\r\n\r\n`);
    await until(() => callee.app.seen.length > before);

    const got = callee.app.seen[before]?.headers[name];
    if (left instanceof RegExp) expect(got).toMatch(left);
    else expect(got).toBe(left);
  });

  test("a request that says nothing of where it comes from gets the caller's service and its own host", async () => {
    const { body } = await caller.call(callee.host);

    expect(body).toBe("ok");
    expect(callee.app.seen.at(-1)?.headers["forwarded"]).toBe(
      'for=_shop.web;host="pay.shop.mesh";proto=http',
    );
  });
});

describe("of what an application answers", () => {
  test.each([
    ["X-Hop", "1", passed],
    ["Keep-Alive", "timeout=99", undefined],
    ["Proxy-Connection", "close", undefined],
    ["Proxy-Authenticate", "Basic", undefined],
    ["Troth-Retries", "exhausted", undefined],
    ["Troth-Delivery", "none", undefined],
    ["X-Forwarded-Client-Cert", "Hash=00", undefined],
    ["Via", "1.1 cache", passed],
  ])("%s: %s comes %s", async (name, value, left) => {
    answered = [[name, value]];
    const { headers } = await caller.call(callee.host);
    answered = [];

    expect(headers[name.toLowerCase()]).toBe(left === passed ? value : left);
  });

  test("what Connection names stays behind", async () => {
    answered = [
      ["Connection", "X-Hop"],
      ["X-Hop", "1"],
    ];
    const { headers } = await caller.call(callee.host);
    answered = [];

    expect(headers["x-hop"]).toBeUndefined();
  });
});

/** Sends bytes to the caller's sidecar and waits for an answer. */
async function send(text: string): Promise<void> {
  const [host = "", port = ""] = caller.sidecar.outboundAddress.split(":");
  const socket = connect({ host, port: Number(port) });
  await new Promise((resolve) => {
    socket.once("data", resolve);
    socket.once("close", resolve);
    socket.write(text);
  });
  socket.destroy();
}
