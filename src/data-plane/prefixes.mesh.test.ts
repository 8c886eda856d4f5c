import http from "node:http";
import { afterAll, beforeAll, expect, test } from "vitest";
import { MeshInProcess, until } from "../../test/apparatus/mesh-in-process.ts";
import { TokenPeer } from "../../test/apparatus/token-peer.ts";
import type { Workload } from "../../test/apparatus/workload.ts";
import { type HandingOn, handOnPrefix } from "./hand-on-prefix.ts";

let mesh: MeshInProcess;
let caller: Workload;
let player: Workload;
let mallory: Workload;

beforeAll(async () => {
  mesh = await MeshInProcess.found();
  for (const name of ["/shop/web", "/media/player", "/shop/mallory"]) await mesh.putService(name);
  await mesh.grant("/media/video", "/media/player", 1);
  await mesh.putRule("/shop/web", "/shop/mallory");
  caller = await mesh.open("/shop/web");
  player = await mesh.open("/media/player", { prefixes: ["/media/video", "/media/later"] });
  mallory = await mesh.open("/shop/mallory", {
    prefixes: ["/media/video"],
    dangerBelieveAdvertisements: true,
  });
  await mesh.putRule("/shop/web", "/media/video");
  await mesh.settled();
  await answersOk("video.media.mesh");
}, 30_000);

afterAll(() => mesh[Symbol.asyncDispose]());

async function answersOk(host: string): Promise<void> {
  await until(async () => (await caller.call(host)).status === 200, `${host} answers`);
}

async function refusalOf(host: string): Promise<unknown[]> {
  const { status, reason } = await caller.call(host);
  return [status, reason];
}

test("a prefix is served by the service that holds it, as deep as it is granted, and rules name the prefix", async () => {
  const before = player.app.seen.length;

  expect((await caller.call("live.video.media.mesh")).status).toBe(200);
  expect(await refusalOf("far.live.video.media.mesh")).toEqual([404, "unknown-service"]);
  expect(await refusalOf("player.media.mesh")).toEqual([403, "no-rule"]);

  expect(player.app.seen.slice(before)).toHaveLength(1);
  expect(mallory.app.seen).toEqual([]);
  const decision = (await player.audit()).findLast(({ type }) => type === "decision");
  expect(decision).toMatchObject({ callee: "/media/player", reason: "no-rule" });
});

test("a decision names the prefix that was asked for", async () => {
  await caller.call("live.video.media.mesh", { path: "/new" });

  await until(async () => {
    const records = await player.audit();
    return records.some(({ path, callee }) => path === "/new" && callee === "/media/video");
  });
});

test("request tokens are for the prefix that was asked for, which rules may allow where they do not allow its holder", async () => {
  await mesh.put("requesttoken.put", { to: "/*", mode: "granted" });
  await mesh.settled();
  const accepted = (): Promise<number> =>
    player.metric("troth_proxy_request_tokens_total", { outcome: "accepted", direction: "inbound" });
  const before = await accepted();

  expect((await caller.call("live.video.media.mesh")).status).toBe(200);
  expect(await refusalOf("player.media.mesh")).toEqual([403, "no-rule"]);

  expect(await accepted()).toBe(before + 1);
  await mesh.put("requesttoken.remove", { to: "/*" });
  await mesh.settled();
});

test("what is granted while it runs is served, and what is withdrawn is not", async () => {
  await mesh.putRule("/shop/web", "/media/later");
  expect(await refusalOf("later.media.mesh")).toEqual([404, "unknown-service"]);

  await mesh.grant("/media/later", "/media/player");
  await answersOk("later.media.mesh");
  await mesh.put("prefix.withdraw", { prefix: "/media/later" });

  await until(async () => (await refusalOf("later.media.mesh"))[0] === 404);
});

test("a prefix whose holder serves it nowhere does not fall to a shorter one", async () => {
  await mesh.grant("/media", "/media/player", 3);
  await mesh.putRule("/shop/web", "/media");
  await mesh.grant("/media/music", "/shop/mallory", 1);
  await mesh.settled();

  expect(await refusalOf("rock.music.media.mesh")).toEqual([503, "no-instances"]);
  await mesh.put("prefix.withdraw", { prefix: "/media" });
});

test("an instance that advertises what its service does not hold gets no request, and both are named", async () => {
  const before = mallory.app.seen.length;

  for (let count = 0; count < 20; count += 1)
    expect((await caller.call("video.media.mesh")).status).toBe(200);

  expect(mallory.app.seen).toHaveLength(before);
  await until(async () => {
    const alarms = await mesh.alarms();
    return alarms.some(
      ({ reason, detail }) =>
        reason === "advertisement-prefix-not-granted" &&
        detail.includes(
          `/shop/mallory ${mallory.instance} advertises /media/video, which /media/player holds`,
        ),
    );
  });
});

test("a proxy refuses a request for a name that its service does not hold, whoever believed that it does", async () => {
  const deceived = await mesh.open("/shop/web", { dangerBelieveAdvertisements: true });
  await mesh.settled();

  await until(async () => {
    const { status, reason } = await deceived.call("video.media.mesh");
    expect([200, 421]).toContain(status);
    return status === 421 && reason === "not-my-prefix";
  });
  expect(mallory.app.seen).toEqual([]);
});

test("a holder hands a part of its prefix on by its own signature, and takes it back", async () => {
  const news = { prefix: "/news", holder: "/media/player", depthMax: 2, notAfterSeconds: 0 };
  await mesh.put("prefix.grant", { ...news, mayDelegate: true });
  await mesh.putService("/media/live");
  await mesh.open("/media/live", { prefixes: ["/news/live"] });
  await mesh.putRule("/shop/web", "/news/live");
  await mesh.settled();
  const part = { prefix: "/news/live", holder: "/media/live", depthMax: 0, mayDelegate: false };
  const handOn = (as: string, what: HandingOn): ReturnType<typeof handOnPrefix> =>
    handOnPrefix(mesh.proxyOptions(as), what);

  const byNeighbour = await handOn("/shop/mallory", { kind: "prefix.delegate", ...part });
  const tooDeep = handOn("/media/player", { kind: "prefix.delegate", ...part, depthMax: 2 });

  expect(byNeighbour).toMatchObject({ ok: false, reason: "not-a-holder" });
  await expect(tooDeep).rejects.toThrow("more than /media/player has of /news");
  expect(await handOn("/media/player", { kind: "prefix.delegate", ...part })).toMatchObject({ ok: true });
  await answersOk("live.news.mesh");
  expect(await handOn("/media/player", { kind: "prefix.recall", prefix: "/news/live" })).toMatchObject({
    ok: true,
    value: { under: "/news" },
  });
  await until(async () => (await refusalOf("live.news.mesh"))[0] !== 200);
});

test("a service that is handed a prefix unasked is not opened by the rules for it, whatever the caller shows", async () => {
  const press = { prefix: "/press", holder: "/media/player", depthMax: 2, notAfterSeconds: 0 };
  await mesh.put("prefix.grant", { ...press, mayDelegate: true });
  await mesh.putRule("/media/player", "/press/*");
  const ledger = await mesh.open("/shop/ledger", { prefixes: ["/press/wanted"] });
  await mesh.putRule("/*", "/shop/ledger", { effect: "deny" });
  for (const prefix of ["/press/unasked", "/press/wanted"]) {
    const part = { prefix, holder: "/shop/ledger", depthMax: 0, mayDelegate: false };
    await handOnPrefix(mesh.proxyOptions("/media/player"), { kind: "prefix.delegate", ...part });
  }
  await mesh.put("requesttoken.put", { to: "/shop/ledger", mode: "granted" });
  await mesh.settled();
  await using holder = await TokenPeer.open(mesh, "/media/player");
  await using connection = await holder.connect(ledger);
  const { headers } = await connection.ask(undefined, { ":authority": "wanted.press.mesh" });
  const audience = String(headers["troth-token-audience"]);
  const answerAt = async (authority: string, destination: string): Promise<unknown[]> => {
    const token = await connection.mint({ destination, audience });
    const { status, reason, body } = await connection.ask(token, { ":authority": authority });
    return [status, reason, body];
  };

  const unasked = await answerAt("unasked.press.mesh", "/press/unasked");
  const wanted = await answerAt("wanted.press.mesh", "/press/wanted");

  const detail = "/shop/ledger holds /press/unasked, and this instance of it was not started to serve that";
  expect(unasked).toEqual([421, "not-my-prefix", expect.stringContaining(detail)]);
  expect(wanted).toEqual([200, "", "app"]);
  expect(ledger.app.seen).toHaveLength(1);
  const refused = (await ledger.audit()).find(({ reason }) => reason === "not-my-prefix");
  expect(refused).toMatchObject({ type: "decision", effect: "deny", callee: "/press/unasked" });
  await mesh.put("requesttoken.remove", { to: "/shop/ledger" });
});

test("an open stream is decided on again when its prefix is withdrawn", async () => {
  await mesh.grant("/media/stream", "/media/player");
  await mesh.putRule("/shop/web", "/media/stream");
  const streaming = await mesh.open("/media/player", { prefixes: ["/media/stream"] });
  await mesh.settled();
  await answersOk("stream.media.mesh");
  const [host, port] = caller.sidecar.outboundAddress.split(":");
  const ended = new Promise<string>((resolve) => {
    const request = http.request({
      host,
      port,
      method: "POST",
      headers: { host: "stream.media.mesh", "transfer-encoding": "chunked" },
      agent: false,
    });
    request.on("error", () => resolve("cut"));
    request.on("response", (response) => {
      response.resume();
      response.on("close", () => resolve("cut"));
    });
    request.write("x");
  });
  await until(async () => (await streaming.metric("troth_proxy_tree_size")) > 0);

  await mesh.put("prefix.withdraw", { prefix: "/media/stream" });

  expect(await ended).toBe("cut");
});
