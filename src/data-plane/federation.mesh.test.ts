import http from "node:http";
import { afterAll, beforeAll, expect, it } from "vitest";
import { type Encounter, makePapers, meet } from "../../test/apparatus/hostile-peer.ts";
import { MeshInProcess, until } from "../../test/apparatus/mesh-in-process.ts";
import type { Workload } from "../../test/apparatus/workload.ts";
import type { CertificateAuthority } from "../identity/index.ts";
import { parseTrustBundle, writeSpiffeBundle } from "../identity/index.ts";
import { testDomain, testWorld, valueOf } from "../identity/svid-for-tests.ts";
import { pemOfCertificate } from "../transport/index.ts";
import { type ExportedCredentials, openExport } from "./open-export.ts";

let shop: MeshInProcess;
let bank: MeshInProcess;
/** Of shop.example, and called like one of bank.example. */
let front: Workload;
let ledger: Workload;
/** Of bank.example. */
let clerk: Workload;
let vault: Workload;

const vaultHost = "vault.bank.bank.example";
const clerkId = "spiffe://bank.example/bank/clerk";

beforeAll(async () => {
  [shop, bank] = await Promise.all([
    MeshInProcess.found({ trustDomain: "shop.example" }),
    MeshInProcess.found({ trustDomain: "bank.example" }),
  ]);
  [front, ledger, clerk, vault] = await Promise.all([
    shop.open("/bank/clerk"),
    shop.open("/shop/ledger"),
    bank.open("/bank/clerk"),
    bank.open("/bank/vault"),
  ]);
  await federate(shop, bank);
  await federate(bank, shop);
  await shop.put("remote.put", {
    trustDomain: "bank.example",
    service: "/bank/vault",
    addresses: [vault.sidecar.inboundAddress],
  });
  await bank.put("remote.put", {
    trustDomain: "shop.example",
    service: "/shop/ledger",
    addresses: [ledger.sidecar.inboundAddress],
  });
  await Promise.all([shop.settled(), bank.settled()]);
}, 60_000);
afterAll(async () => {
  await shop[Symbol.asyncDispose]();
  await bank[Symbol.asyncDispose]();
});

it("lets a caller of another trust domain in by a rule for its SPIFFE ID, both ways, and names it by that", async () => {
  const before = [await clerk.call("ledger.shop.shop.example"), await front.call(vaultHost)];
  await allow(shop, clerkId, "/shop/ledger");
  await allow(bank, "spiffe://shop.example/*", "/bank/vault");

  const there = await clerk.call("ledger.shop.shop.example", { path: "/there" });
  const back = await front.call(vaultHost, { path: "/back" });

  expect(before.map(({ status, reason }) => [status, reason])).toEqual([
    [403, ""],
    [403, ""],
  ]);
  expect([there.status, back.status]).toEqual([200, 200]);
  const seen = ledger.app.seen.find(({ line }) => line === "GET /there");
  expect(seen?.headers["x-forwarded-client-cert"]).toMatch(
    /^Hash=[0-9a-f]{64};URI=spiffe:\/\/bank\.example\/bank\/clerk$/,
  );
  expect(seen?.headers["forwarded"]).toMatch(/^for=unknown;/);
  await until(async () => (await ledger.audit()).some(({ path }) => path === "/there"));
  expect(await ledger.audit()).toContainEqual(
    expect.objectContaining({ path: "/there", caller: clerkId, rule: `${clerkId} /shop/ledger` }),
  );
});

it("is heard by its control plane after it has called another trust domain, whose workloads are no instances of its own", async () => {
  expect((await front.call(vaultHost, { path: "/heard" })).status).toBe(200);
  await shop.putService("/shop/later");
  const size = BigInt(shop.controlPlane.writer.newest?.size ?? 0);

  await until(async () => {
    const { followers } = await shop.status();
    return followers.some((one) => one.instance === front.instance && one.size >= size);
  }, "its report of the newest size");
});

it("exports the roots of the other trust domain apart from the trust domain's own", async () => {
  await shop.putService("/shop/legacy");
  const saved: ExportedCredentials[] = [];
  await using _export = await openExport({
    ...shop.proxyOptions("/shop/legacy"),
    save: async (credentials) => void saved.push(credentials),
  });

  const { bundlePem = "", federated } = saved.at(-1) ?? {};

  expect(bundlePem).toBe(pemOfCertificate(shop.root.certificate.der));
  expect(federated).toEqual(new Map([["bank.example", pemOfCertificate(bank.root.certificate.der)]]));
});

it("tells a stranger who is denied no rule and no service", async () => {
  await deny(shop, clerkId, "/shop/ledger");
  const { status, body } = await clerk.call("ledger.shop.shop.example", { path: "/denied" });
  await allow(shop, clerkId, "/shop/ledger");

  expect(status).toBe(403);
  expect(body).not.toContain("/shop/ledger");
});

it("gives a caller of another trust domain nothing by the rules for a service of the same name", async () => {
  await shop.put("foreignrule.remove", { from: clerkId, to: "/shop/ledger" });
  await shop.putRule("/bank/clerk", "/shop/ledger");
  await shop.putRule("/*", "/shop/ledger");
  await shop.settled();

  const stranger = await clerk.call("ledger.shop.shop.example");
  const own = await front.call(ledger.host);
  await shop.put("rule.remove", { from: "/*", to: "/shop/ledger" });
  await allow(shop, clerkId, "/shop/ledger");

  expect([stranger.status, stranger.reason, own.status]).toEqual([403, "", 200]);
});

it("denies everybody where everybody is denied, strangers too", async () => {
  await shop.putRule("/*", "/shop/ledger", { effect: "deny" });
  await shop.settled();

  const { status } = await clerk.call("ledger.shop.shop.example", { path: "/everybody" });
  await shop.put("rule.remove", { from: "/*", to: "/shop/ledger" });
  await shop.settled();

  expect(status).toBe(403);
  expect(await ledger.audit()).toContainEqual(
    expect.objectContaining({ path: "/everybody", reason: "rule-denies", rule: "/* /shop/ledger" }),
  );
});

it("refuses an SVID of one trust domain that the root of another has signed, whichever is whose", async () => {
  const meetings = [
    await meetLedger(shop.intermediate, clerkId),
    await meetLedger(bank.intermediate, "spiffe://shop.example/bank/clerk"),
    await meetLedger(bank.intermediate, clerkId),
  ];

  expect(meetings.map(({ answer }) => answer.split("\r\n")[0])).toEqual(["", "", "HTTP/1.1 200 OK"]);
});

it("refuses an SVID of a federated trust domain that lives longer than a day", async () => {
  const nowSeconds = Math.floor(new Date().getTime() / 1000);
  const papers = makePapers(bank.intermediate, [clerkId], { notAfterSeconds: nowSeconds + 90_000 });

  const { answer } = await meet(ledger.sidecar.inboundAddress, papers);

  expect(answer).toBe("");
});

it("does not call whoever is at the address of a remote service but is not that service", async () => {
  await shop.put("remote.put", {
    trustDomain: "bank.example",
    service: "/bank/till",
    addresses: [vault.sidecar.inboundAddress],
  });
  await shop.settled();
  const seenBefore = vault.app.seen.length;

  const { status } = await front.call("till.bank.bank.example");

  expect(status).toBe(502);
  expect(vault.app.seen.length).toBe(seenBefore);
});

it("follows a change of the other's root, and cuts who only the one before would bear", async () => {
  const next = testDomain("bank.example", testWorld(Math.floor(new Date().getTime() / 1000)));
  const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
  await clerk.call("ledger.shop.shop.example", { agent });

  await sayBundle(bundleText(next.root));

  const old = await clerk.call("ledger.shop.shop.example");
  const { answer } = await meetLedger(next.issuer, clerkId);
  await sayBundle(bundleText(bank.root));
  const again = await clerk.call("ledger.shop.shop.example");
  agent.destroy();
  expect(old.status).toBe(502);
  expect(answer).toContain("HTTP/1.1 200");
  expect(again.status).toBe(200);
});

it("a bundle without keys, and one that cannot be read, bears nobody", async () => {
  const statuses: number[] = [];
  for (const bundle of ['{"keys":[]}', "{"]) {
    await sayBundle(bundle);
    statuses.push((await clerk.call("ledger.shop.shop.example")).status);
  }
  await sayBundle(bundleText(bank.root));

  expect(statuses).toEqual([502, 502]);
  expect((await clerk.call("ledger.shop.shop.example")).status).toBe(200);
});

it("breaks what is under way when the relationship ends, in both directions", async () => {
  const upload = http.request({
    ...outbound(clerk),
    method: "POST",
    headers: { host: "ledger.shop.shop.example" },
  });
  const ended = new Promise<void>((resolve) => {
    upload.on("error", () => resolve());
    upload.on("response", (response) => response.resume().on("end", () => resolve()));
  });
  const bytesBefore = ledger.app.bytes();
  upload.write("half");
  await until(() => ledger.app.bytes() > bytesBefore);

  await shop.put("federation.remove", { trustDomain: "bank.example" });
  await ended;
  await shop.settled();

  expect((await front.call(vaultHost)).reason).toBe("not-a-mesh-name");
  expect((await meetLedger(bank.intermediate, clerkId)).answer).toBe("");
});

async function federate(mesh: MeshInProcess, other: MeshInProcess): Promise<void> {
  const { trustDomain } = other;
  const url = `https://${trustDomain}/bundle`;
  const bundle = bundleText(other.root);
  await mesh.put("federation.put", { trustDomain, url, profile: "https_web", bundle });
}

/** What the control plane of shop.example would have read at the other's endpoint. */
async function sayBundle(bundle: string): Promise<void> {
  const body = { trustDomain: "bank.example", bundle };
  const written = await shop.controlPlane.writer.write([{ role: "issuer", kind: "federation.bundle", body }]);
  if (!written.ok) throw new Error(written.reason);
  await shop.settled();
}

function bundleText(root: CertificateAuthority): string {
  const { trustDomain } = root;
  const x509 = valueOf(parseTrustBundle(trustDomain, [root.certificate.der]));
  const none = new Map<string, never>();
  return writeSpiffeBundle({
    trustDomain,
    x509,
    jwtKeys: none,
    witKeys: none,
    sequence: undefined,
    refreshHintSeconds: undefined,
  });
}

async function allow(mesh: MeshInProcess, from: string, to: string): Promise<void> {
  await mesh.put("foreignrule.put", { from, to, effect: "allow", methods: [], paths: [] });
  await mesh.settled();
}

async function deny(mesh: MeshInProcess, from: string, to: string): Promise<void> {
  await mesh.put("foreignrule.put", { from, to, effect: "deny", methods: [], paths: [] });
  await mesh.settled();
}

function meetLedger(issuer: CertificateAuthority, id: string): Promise<Encounter> {
  return meet(ledger.sidecar.inboundAddress, makePapers(issuer, [id]));
}

function outbound(workload: Workload): { host: string; port: number } {
  const [host = "", port] = workload.sidecar.outboundAddress.split(":");
  return { host, port: Number(port) };
}
