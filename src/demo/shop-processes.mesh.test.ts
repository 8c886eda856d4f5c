import { once } from "node:events";
import http from "node:http";
import net from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { demoServices } from "./shop.ts";
import {
  ask,
  forkService,
  openTestRouter,
  type RunningService,
  refuse,
  startService,
  type TestRouter,
} from "./shop-for-tests.ts";

const post = (body: string): RequestInit => ({ method: "POST", body });
const charge = {
  orderId: "order-9-000001",
  amountCents: 3490,
  currency: "EUR",
  region: "EU",
  cardNumber: "4111111111111111",
  cardHolder: "Agnes Vermeulen",
  email: "agnes.vermeulen@example.com",
};

describe("the shop", () => {
  const open = new AsyncDisposableStack();
  let router: TestRouter;
  let web: RunningService;
  let payments: RunningService;
  let ledger: RunningService;
  let mallory: RunningService;

  beforeAll(async () => {
    router = open.use(await openTestRouter());
    const start = async (name: string): Promise<RunningService> => open.use(await startService(name, router));
    [web, payments, ledger, mallory] = await Promise.all([
      start("/shop/web"),
      start("/shop/payments"),
      start("/shop/ledger"),
      start("/shop/mallory"),
      start("/shop/checkout"),
    ]);
  });
  afterEach(() => {
    router.answer = undefined;
    router.seen.length = 0;
  });
  afterAll(() => open.disposeAsync());

  it("takes a purchase from web to checkout, payments and ledger, where it appears in the total", async () => {
    const before = await ask(`${ledger.url}/total`);

    const bought = await ask(`${web.url}/buy?item=teapot&region=APAC`);

    expect(before.body).toEqual({ entries: 0, totalCents: { EUR: 0, USD: 0, SGD: 0 } });
    expect(bought).toMatchObject({ status: 201, type: "application/json" });
    expect(bought.body).toEqual({
      orderId: "order-1-000001",
      item: "teapot",
      amountCents: 3490,
      currency: "SGD",
      state: "paid",
    });
    expect(router.seen.map(({ host, line }) => `${host} ${line}`)).toEqual([
      "checkout.shop.mesh POST /orders",
      "payments.shop.mesh POST /charges",
      "ledger.shop.mesh POST /entries",
    ]);
    const after = await ask(`${ledger.url}/total`);
    expect(after.body).toEqual({ entries: 1, totalCents: { EUR: 0, USD: 0, SGD: 3490 } });
    const listed = await ask(`${ledger.url}/entries?limit=1`);
    expect(listed.body).toMatchObject({
      entries: [{ number: 1, orderId: "order-1-000001", region: "APAC" }],
    });
  });

  it("sends the trace of the request along with each call", async () => {
    const traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    await ask(`${web.url}/buy?item=teapot`, { headers: { traceparent } });

    expect(router.seen.map((request) => request.traceparent)).toEqual([
      traceparent,
      traceparent,
      traceparent,
    ]);
  });

  it("lists the newest entries first and at most as many as asked for", async () => {
    for (const orderId of ["a", "b", "c"])
      await ask(`${ledger.url}/entries`, post(JSON.stringify({ ...charge, orderId })));

    const listed = await ask(`${ledger.url}/entries?limit=2`);

    expect(listed.body).toMatchObject({ entries: [{ orderId: "c" }, { orderId: "b" }] });
  });

  it.each([
    ["web", "/buy?item=cannon", 404, "unknown-item"],
    ["web", "/buy?item=teapot&region=MARS", 400, "unknown-region"],
    ["web", "/orders", 404, "not-found"],
    ["ledger", "/entries?limit=101", 400, "malformed-limit"],
    ["ledger", "/entries?limit=0", 400, "malformed-limit"],
    ["payments", "/charges", 405, "method-not-allowed"],
  ])("%s answers GET %s with %i %s", async (name, path, status, error) => {
    const { url } = { web, ledger, payments }[name] ?? web;
    expect(await ask(`${url}${path}`)).toMatchObject({ status, body: { error } });
  });

  it.each([
    ["a body that is no JSON", "{", 400, "body-not-json"],
    ["a body of 64 KiB and one byte", " ".repeat(64 * 1024 + 1), 413, "body-too-large"],
    ["another JSON value", "[]", 422, "not-an-object"],
    [
      "a wrong card number",
      JSON.stringify({ ...charge, cardNumber: "4111111111111112" }),
      422,
      "card-number-invalid",
    ],
  ])("payments refuses %s", async (_what, body, status, error) => {
    expect(await ask(`${payments.url}/charges`, post(body))).toMatchObject({ status, body: { error } });
    expect(router.seen).toEqual([]);
  });

  it("throws away the rest of a body that is too large and answers the next request on the connection", async () => {
    const body = " ".repeat(4 * 1024 * 1024);
    const socket = net.connect(payments.port, "127.0.0.1");
    let answers = "";
    socket.on("data", (chunk) => (answers += String(chunk)));

    socket.write(`POST /charges HTTP/1.1\r\nHost: payments\r\nContent-Length: ${body.length}\r\n\r\n${body}`);
    socket.write("GET /nowhere HTTP/1.1\r\nHost: payments\r\n\r\n");

    await expect.poll(() => answers.match(/HTTP\/1\.1 [0-9]+/g)).toEqual(["HTTP/1.1 413", "HTTP/1.1 404"]);
    socket.destroy();
  });

  it("refuses a body that is no UTF-8: body-not-utf8", async () => {
    const body = new Uint8Array([0x22, 0xff, 0x22]);

    const answer = await ask(`${payments.url}/charges`, { method: "POST", body });

    expect(answer).toMatchObject({ status: 400, body: { error: "body-not-utf8" } });
  });

  it("reads a body whose characters are split between two packets", async () => {
    const body = Buffer.from(JSON.stringify({ ...charge, cardHolder: "Zoë Ångström" }));
    const request = http.request(`${ledger.url}/entries`, { method: "POST" });
    const split = body.indexOf(0xc3) + 1;
    request.write(body.subarray(0, split));
    await sleep(20);
    request.end(body.subarray(split));
    await once(request, "response");

    const listed = await ask(`${ledger.url}/entries?limit=1`);

    expect(listed.body).toMatchObject({ entries: [{ cardHolder: "Zoë Ångström" }] });
  });

  it("goes on after a caller has gone in the middle of a body", async () => {
    const socket = net.connect(payments.port, "127.0.0.1");
    socket.write("POST /charges HTTP/1.1\r\nHost: payments\r\nContent-Length: 100\r\n\r\n{");
    await once(socket, "ready");
    socket.destroy();

    expect(await ask(`${web.url}/buy?item=lantern`)).toMatchObject({ status: 201 });
    expect(payments.output()).toBe("");
  });

  it("shows its visitor why the mesh refuses", async () => {
    router.answer = (_request, response) => refuse(response, 403, "no-rule");

    const bought = await ask(`${web.url}/buy?item=teapot`);

    expect(bought).toMatchObject({
      status: 403,
      type: "application/problem+json",
      body: { reason: "no-rule" },
    });
  });

  it("answers 502 where another service errs in anything but JSON", async () => {
    router.answer = (_request, response) =>
      response.writeHead(500, { "Content-Type": "text/html" }).end("<h1>");

    const bought = await ask(`${web.url}/buy?item=teapot`);

    expect(bought).toMatchObject({ status: 502, body: { error: "unexpected-answer" } });
  });

  it("names the service that did not answer, in time for everybody before it", async () => {
    const hanging = net.createServer().listen(0, "127.0.0.1");
    open.defer(() => void hanging.close());
    await once(hanging, "listening");
    const address = hanging.address();
    router.routes.set("ledger.shop.mesh", typeof address === "object" && address !== null ? address.port : 0);
    const started = performance.now();

    const bought = await ask(`${web.url}/buy?item=teapot`);

    router.routes.set("ledger.shop.mesh", ledger.port);
    expect(bought).toMatchObject({ status: 504, body: { error: "timed-out" } });
    expect(JSON.stringify(bought.body)).toContain("/shop/ledger did not answer within 800 ms");
    expect(performance.now() - started).toBeLessThan(2_000);
  });

  it("lets mallory read the card numbers where nothing stands between", async () => {
    await ask(`${ledger.url}/entries`, post(JSON.stringify(charge)));

    const attack = await ask(`${mallory.url}/attack/ledger`);

    expect(attack).toMatchObject({ status: 200, body: { succeeded: true, status: 200 } });
    expect(JSON.stringify(attack.body)).toContain(charge.cardNumber);
  });

  it("has mallory show the refusal that she gets from the mesh", async () => {
    router.answer = (_request, response) => refuse(response, 403, "no-rule");

    const attack = await ask(`${mallory.url}/attack/ledger`);

    expect(attack.body).toEqual({
      attack: "GET /entries of /shop/ledger",
      succeeded: false,
      status: 403,
      body: { type: "urn:troth:problem:no-rule", status: 403, reason: "no-rule", detail: "as the mesh says" },
    });
  });

  it.each([
    ["refused", 1],
    ["let through", 0],
  ])("has mallory try once, print what she got, and end: %s gives exit code %i", async (outcome, code) => {
    if (outcome === "refused") router.answer = (_request, response) => refuse(response, 403, "no-rule");
    const child = forkService("/shop/mallory", ["--once"], { TROTH_OUTBOUND_URL: router.url });
    let printed = "";
    child.stdout?.on("data", (chunk) => (printed += String(chunk)));

    const [exitCode] = await once(child, "close");

    expect(exitCode).toBe(code);
    expect(JSON.parse(printed)).toMatchObject({ succeeded: code === 0 });
  });

  it("answers 502 in JSON when the ledger is dead, and sells again once it is back", async () => {
    const exited = once(ledger.child, "exit");
    ledger.child.kill("SIGKILL");
    await exited;
    const viaMesh = await ask(`${web.url}/buy?item=teapot`);
    const direct = open.use(
      await startService("/shop/payments", router, { TROTH_OUTBOUND_URL: `http://127.0.0.1:${ledger.port}` }),
    );
    const withoutMesh = await ask(`${web.url}/buy?item=teapot`);
    router.routes.set("payments.shop.mesh", payments.port);
    ledger = open.use(await startService("/shop/ledger", router));

    const sold = await ask(`${web.url}/buy?item=teapot`);

    expect(viaMesh).toMatchObject({ status: 502, body: { reason: "upstream-connect-failed" } });
    expect(withoutMesh).toMatchObject({ status: 502, body: { error: "unreachable" } });
    expect(sold.status).toBe(201);
    expect(direct.child.exitCode).toBeNull();
    for (const { output } of [web, payments, mallory]) expect(output()).toBe("");
  });
});

describe("the load generator", () => {
  it("sends no faster than its rate, varies what it buys, and counts", async () => {
    await using router = await openTestRouter();
    router.answer = (_request, response) =>
      response.writeHead(201, { "Content-Type": "application/json" }).end("{}");
    const started = performance.now();
    await using load = await startService("/shop/load", router, { LOAD_RATE: "200" });
    await expect.poll(() => router.seen.length, { timeout: 5_000 }).toBeGreaterThan(100);

    const { body } = await ask(`${load.url}/counts`);
    const dueMax = (200 * (performance.now() - started)) / 1_000;

    expect(body).toMatchObject({ requestsPerSecond: 200, refused: 0 });
    expect(body).not.toMatchObject({ succeeded: 0 });
    expect(router.seen.length).toBeLessThanOrEqual(dueMax);
    expect(new Set(router.seen.map(({ line }) => line)).size).toBeGreaterThan(10);
    expect(new Set(router.seen.map(({ host }) => host))).toEqual(new Set(["web.shop.mesh"]));
  });

  it("writes at most one line a second about its failures", async () => {
    await using router = await openTestRouter();
    router.answer = (_request, response) => refuse(response, 403, "no-rule");
    const started = performance.now();
    await using load = await startService("/shop/load", router, { LOAD_RATE: "200" });
    await expect.poll(() => router.seen.length, { timeout: 5_000 }).toBeGreaterThan(100);
    await expect.poll(() => load.output()).not.toBe("");

    const lines = load.output().trim().split("\n");
    const seconds = (performance.now() - started) / 1_000;

    expect(lines.length).toBeLessThanOrEqual(1 + seconds);
    expect(JSON.parse(lines[0] ?? "")).toMatchObject({
      service: "/shop/load",
      message: "requests failed",
      status: 403,
    });
  });
});

describe("each service", () => {
  const names = demoServices.map(({ name }) => name);

  it.each(names)("%s ends by itself within 2 s of SIGTERM", async (name) => {
    await using router = await openTestRouter();
    await using service = await startService(name, router);
    await ask(`${service.url}/`);
    const exited = once(service.child, "exit", { signal: AbortSignal.timeout(2_000) });

    service.child.kill("SIGTERM");

    expect(await exited).toEqual([0, null]);
  });

  it.each(names)("%s ends by itself within 2 s of the end of its parent's channel", async (name) => {
    await using router = await openTestRouter();
    await using service = await startService(name, router);
    const exited = once(service.child, "exit", { signal: AbortSignal.timeout(2_000) });

    service.child.disconnect();

    expect(await exited).toEqual([0, null]);
  });

  it("ends by itself if its parent was gone before it listened", async () => {
    const slowStart = "--import=data:text/javascript,await new Promise((done) => setTimeout(done, 200))";
    const child = forkService("/shop/ledger", [], { PORT: "0" }, [slowStart]);
    using ending = new DisposableStack();
    ending.defer(() => void child.kill("SIGKILL"));
    const exited = once(child, "exit", { signal: AbortSignal.timeout(5_000) });

    child.disconnect();

    expect(await exited).toEqual([0, null]);
  });

  it("answers the requests under way before it ends, also when told twice", async () => {
    await using router = await openTestRouter();
    router.answer = (_request, response) =>
      void setTimeout(() => response.writeHead(201, { "Content-Type": "application/json" }).end("{}"), 300);
    await using payments = await startService("/shop/payments", router);
    const charged = fetch(`${payments.url}/charges`, post(JSON.stringify(charge)));
    await expect.poll(() => router.seen.length).toBe(1);
    const exited = once(payments.child, "exit");

    payments.child.kill("SIGINT");
    payments.child.kill("SIGTERM");

    const answer = await charged;
    expect(await answer.json()).toMatchObject({ state: "charged" });
    expect(answer.headers.get("connection")).toBe("close");
    expect(await exited).toEqual([0, null]);
  });

  it("ends within 2 s although a call is never answered and a caller never finishes its request", async () => {
    await using router = await openTestRouter();
    router.answer = () => {};
    await using payments = await startService("/shop/payments", router);
    const socket = net.connect(payments.port, "127.0.0.1").on("error", () => {});
    socket.write("POST /charges HTTP/1.1\r\nHost: payments\r\nContent-Length: 100\r\n\r\n{");
    const charged = ask(`${payments.url}/charges`, post(JSON.stringify(charge))).catch(() => undefined);
    await expect.poll(() => router.seen.length).toBe(1);
    const exited = once(payments.child, "exit", { signal: AbortSignal.timeout(2_000) });

    payments.child.kill("SIGTERM");

    expect(await exited).toEqual([0, null]);
    await charged;
    socket.destroy();
  });

  it.each([
    ["no PORT", { PORT: undefined }, "PORT must say where to listen"],
    ["a PORT that is no number", { PORT: "http" }, "PORT is no whole number"],
    [
      "an outbound URL that is none",
      { TROTH_OUTBOUND_URL: "https://x" },
      "TROTH_OUTBOUND_URL is no http:// URL",
    ],
    ["a seed that is none", { DEMO_SEED: "-1" }, "the seed is no whole number"],
  ])("does not start with %s and says so", async (_what, wrong, message) => {
    const right = { PORT: "0", TROTH_OUTBOUND_URL: "http://127.0.0.1:9", TROTH_SERVICE: "/shop/web" };
    const env = Object.entries({ ...right, ...wrong }).filter(
      (pair): pair is [string, string] => pair[1] !== undefined,
    );
    const child = forkService("/shop/web", [], Object.fromEntries(env));
    let printed = "";
    child.stderr?.on("data", (chunk) => (printed += String(chunk)));

    const [code] = await once(child, "close");

    expect(code).toBe(1);
    expect(printed).toContain(message);
  });
});
