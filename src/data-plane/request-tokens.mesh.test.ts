import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Disk, heldJournal } from "../../test/apparatus/held-journal.ts";
import { MeshInProcess, until } from "../../test/apparatus/mesh-in-process.ts";
import { type TokenConnection, TokenPeer } from "../../test/apparatus/token-peer.ts";
import type { Workload } from "../../test/apparatus/workload.ts";
import { decidedPathCharactersMax } from "./peer-decider.ts";

let mesh: MeshInProcess;
let front: Workload;
let ledger: Workload;
/** Of the ledger's audit log. */
const disk: Disk = { gate: Promise.resolve(), isFull: false };
let other: Workload;
/** Has good papers, a rule and a grant, and is no Troth proxy. */
let peer: TokenPeer;

beforeAll(async () => {
  mesh = await MeshInProcess.found();
  await mesh.put("requesttoken.put", { to: "/*", mode: "granted" });
  [front, ledger, other] = await Promise.all([
    mesh.open("/shop/front"),
    mesh.open("/shop/ledger", { journal: heldJournal(disk) }),
    mesh.open("/shop/other"),
  ]);
  peer = await TokenPeer.open(mesh, "/shop/peer");
  for (const caller of ["/shop/front", "/shop/peer"])
    for (const callee of ["/shop/ledger", "/shop/other"]) await mesh.putRule(caller, callee);
  await mesh.settled();
  await until(async () => (await front.call(ledger.host)).status === 200, "a route");
}, 30_000);
afterAll(async () => {
  await peer[Symbol.asyncDispose]();
  await mesh[Symbol.asyncDispose]();
});

const accepted = (by: Workload): Promise<number> =>
  by.metric("troth_proxy_request_tokens_total", { direction: "inbound", outcome: "accepted" });

it("shows each request with a token of its own, which no application sees", async () => {
  const before = await accepted(ledger);
  const seenBefore = ledger.app.seen.length;

  const replies = await Promise.all(
    [1, 2, 3].map(() => front.call(ledger.host, { method: "POST", body: "x" })),
  );

  expect(replies.map(({ status }) => status)).toEqual([200, 200, 200]);
  expect(await accepted(ledger)).toBe(before + 3);
  const heads = ledger.app.seen.slice(seenBefore).map((seen) => JSON.stringify(seen));
  expect(heads.join().includes("troth-")).toBe(false);
});

it("lets no application bring a token of its own", async () => {
  const reply = await front.call(ledger.host, { headers: { "troth-request-token": "A".repeat(168) } });

  expect(reply.status).toBe(200);
});

it("says to nobody but proxies who checks", async () => {
  const reply = await front.call(ledger.host, { path: "/x" });

  expect(Object.keys(reply.headers).filter((name) => name.startsWith("troth-"))).toEqual([]);
});

it("answers a request that no rule allows as without request tokens", async () => {
  const stranger = await mesh.open("/shop/stranger");
  await until(async () => (await stranger.call(ledger.host)).status === 403, "a denial");

  expect(await stranger.call(ledger.host)).toMatchObject({ status: 403, reason: "no-rule" });
});

describe("a captured token", () => {
  async function used(connection: TokenConnection): Promise<string> {
    const token = await connection.mint();
    expect((await connection.ask(token)).status).toBe(200);
    return token;
  }

  it("is replayed on its own connection in vain, and a pair at once gets in once", async () => {
    await using connection = await peer.connect(ledger);
    const token = await used(connection);
    const pair = await connection.mint();

    const replay = await connection.ask(token);
    const both = await Promise.all([connection.ask(pair), connection.ask(pair)]);

    expect(replay).toMatchObject({ status: 409, reason: "request-token-replayed" });
    expect(new Set(both.map(({ status }) => status))).toEqual(new Set([200, 409]));
    const records = await ledger.audit();
    const decisionId = /"decisionId":"([0-9a-f]+)"/.exec(replay.body)?.[1];
    expect(records.find((record) => record["decisionId"] === decisionId)).toMatchObject({
      reason: "request-token-replayed",
      caller: "spiffe://test.example/shop/peer",
      effect: "deny",
    });
  });

  it("is refused on another connection", async () => {
    await using from = await peer.connect(ledger);
    await using to = await peer.connect(ledger);

    expect(await to.ask(await from.mint())).toMatchObject({ status: 403, reason: "request-token-invalid" });
  });

  it("is refused at another service, and at another instance of the same one", async () => {
    await using second = await mesh.open("/shop/ledger");
    await until(async () => (await front.call(ledger.host)).status === 200, "a route");
    await using at = await peer.connect(ledger);
    await using elsewhere = await peer.connect(other);
    await using beside = await peer.connect(second);
    const { channelBinding } = at;

    const ofOther = await at.ask(await elsewhere.mint({ channelBinding }));
    const ofSecond = await at.ask(await beside.mint({ channelBinding }));

    expect(ofOther).toMatchObject({ status: 400, reason: "request-token-mismatch" });
    expect(ofSecond).toMatchObject({ status: 403, reason: "request-token-invalid" });
  });

  it("is refused for another method or path, and where there are two", async () => {
    await using connection = await peer.connect(ledger);

    const path = await connection.ask(await connection.mint(), { ":path": "/else" });
    const method = await connection.ask(await connection.mint({ path: "/x" }), {
      ":path": "/x",
      ":method": "DELETE",
    });
    const two = await connection.ask([await connection.mint(), await connection.mint()]);

    expect([path.reason, method.reason]).toEqual(["request-token-mismatch", "request-token-mismatch"]);
    expect(two).toMatchObject({ status: 400, reason: "request-token-malformed" });
  });

  it("is refused with another certificate, and the caller is not told that it was that", async () => {
    await using thief = await TokenPeer.open(mesh, "/shop/peer");
    await using connection = await peer.connect(ledger);
    await using stolen = await thief.connect(ledger);
    const token = await connection.mint({ channelBinding: stolen.channelBinding });

    const reply = await stolen.ask(token);

    expect(reply).toMatchObject({ status: 403, reason: "request-token-invalid" });
    const records = await ledger.audit();
    const decisionId = /"decisionId":"([0-9a-f]+)"/.exec(reply.body)?.[1];
    expect(records.find((record) => record["decisionId"] === decisionId)).toMatchObject({
      reason: "request-token-certificate-mismatch",
    });
  });

  it("is refused when it is too old or of the future, with the issuer's time", async () => {
    await using connection = await peer.connect(ledger);

    const old = await connection.ask(await connection.mint({ shiftMillis: -31_000 }));
    const early = await connection.ask(await connection.mint({ shiftMillis: 6_500 }));

    expect([old.reason, early.reason]).toEqual(["request-token-expired", "request-token-future"]);
    expect(old.headers["troth-issuer-time"]).toMatch(/^[0-9]{13}$/);
    expect(old.headers["troth-token-audience"]).toMatch(/^[0-9a-f-]{36}\/[0-9a-f]{16}$/);
  });

  it("is missed where there is none", async () => {
    await using connection = await peer.connect(ledger);

    expect(await connection.ask(undefined)).toMatchObject({ status: 403, reason: "request-token-missing" });
  });
});

describe("a refusal", () => {
  const decisionIdOf = ({ body }: { readonly body: string }) => /"decisionId":"([0-9a-f]+)"/.exec(body)?.[1];

  it("refers to the record of one that was alike, unless the path is too long to remember", async () => {
    await using connection = await peer.connect(ledger);
    const refused = async (path: string) => decisionIdOf(await connection.ask(undefined, { ":path": path }));
    const long = `/${"a".repeat(decidedPathCharactersMax)}`;

    expect(await refused("/short")).toBe(await refused("/short"));
    expect(await refused(long)).not.toBe(await refused(long));
  });

  it("says nothing of a record that is not on disk, neither the first nor one that is alike", async () => {
    await using connection = await peer.connect(ledger);
    const ask = () => connection.ask(undefined, { ":path": "/unrecorded" });
    disk.isFull = true;
    disk.gate = new Promise((resolve) => setTimeout(resolve, 200));
    const replies = await Promise.all([ask(), ask()]);
    disk.isFull = false;

    expect(replies.map(({ reason }) => reason)).toEqual(["audit-unavailable", "audit-unavailable"]);
    await using next = await peer.connect(ledger);
    const reply = await next.ask(undefined, { ":path": "/unrecorded" });
    expect(reply).toMatchObject({ status: 403, reason: "request-token-missing" });
    const records = await ledger.audit();
    expect(records.some((record) => record["decisionId"] === decisionIdOf(reply))).toBe(true);
  });
});

it("refuses the next request once a rule has gone, though the grant lives on", async () => {
  await mesh.putRule("/shop/peer", "/shop/other");
  await using connection = await peer.connect(other);
  expect((await connection.ask(await connection.mint())).status).toBe(200);

  await mesh.putRule("/shop/peer", "/shop/other", { effect: "deny" });
  await mesh.settled();

  expect(await connection.ask(await connection.mint())).toMatchObject({ status: 403, reason: "rule-denies" });
  await mesh.putRule("/shop/peer", "/shop/other");
});
