import { randomBytes, randomUUID } from "node:crypto";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it, test } from "vitest";
import { temporaryFolder } from "../../test/contracts/temporary-folder.ts";
import { fakeClock } from "../../test/fakes/fake-clock.ts";
import { silentLog } from "../../test/fakes/silent-log.ts";
import {
  foundSmallDomain,
  putAsOperator,
  putNode,
  putService,
  type SmallDomain,
} from "../../test/fakes/small-domain.ts";
import { serviceBody, signerNamed } from "../../test/fakes/small-trust-log.ts";
import { buildCertificateRequest, generateP256, parseCertificate } from "../crypto/index.ts";
import { parseTrustDomain, parseWorkloadMetadata, workloadMetadataOid } from "../identity/index.ts";
import { checkCheckpoint, verifierKeyOf } from "../trust-log/index.ts";
import { HeldAuthorities } from "./held-authorities.ts";
import { type InstanceRequest, type Issuer, issueInstanceSvid } from "./issue-instance-svid.ts";
import { openLogFiles } from "./log-files.ts";
import { LogWriter } from "./log-writer.ts";

const auditKey = verifierKeyOf(signerNamed("example.org/audit/1"));
const certificateRequest = buildCertificateRequest(generateP256().privateKey);
const open = new AsyncDisposableStack();
let domain: SmallDomain;
let issuer: Issuer;
let registry: Pick<Issuer["registry"], "olderThan">;
const raised: string[] = [];

beforeAll(async () => {
  const folder = open.use(await temporaryFolder());
  const clock = fakeClock();
  domain = await foundSmallDomain(folder.path, clock);
  const storage = open.use(await openLogFiles(join(folder.path, "log")));
  const writer = open.use(await LogWriter.open({ storage, keys: domain.keys, clock, log: silentLog }));
  const trustDomain = parseTrustDomain("example.org");
  if (!trustDomain.ok) throw new Error(trustDomain.reason);
  const authorities = await HeldAuthorities.open({
    trustDomain: trustDomain.value,
    keyStore: domain.keyStore,
    writer,
    intermediateLifetimeSeconds: 86_400,
    clock,
    randomBytes,
    log: silentLog,
  });
  registry = { olderThan: () => [] };
  issuer = {
    writer,
    authorities,
    registry: {
      olderThan: (...asked) => registry.olderThan(...asked),
      raise: (_source, reason, detail) => raised.push(`${reason}: ${detail}`),
    },
    svidLifetimeSeconds: 3600,
    clock,
    randomBytes,
  };
  await putNode(domain, writer, "edge-1");
  await putNode(domain, writer, "edge-2");
  await putAsOperator(domain, writer, {
    kind: "service.put",
    body: { ...serviceBody("/shop/web"), team: "shop", environment: "test", labels: { tier: "front" } },
  });
  await putService(domain, writer, "/shop/ledger", ["edge-2"]);
});
afterAll(() => open.disposeAsync());

function request(unusual: Partial<InstanceRequest> = {}): InstanceRequest {
  return {
    node: "edge-1",
    instance: randomUUID(),
    service: "/shop/web",
    certificateRequest,
    auditKey,
    generation: 0,
    ...unusual,
  };
}

test.each([
  ["malformed-request", { certificateRequest: new Uint8Array(3) }],
  [
    "malformed-request",
    {
      certificateRequest: certificateRequest.map((byte, at) =>
        at === certificateRequest.length - 1 ? byte ^ 1 : byte,
      ),
    },
  ],
  ["malformed-request", { service: "shop" }],
  ["malformed-request", { service: "/shop/../web" }],
  ["malformed-request", { auditKey: "key" }],
  ["unknown-service", { service: "/shop/none" }],
  ["not-on-this-node", { service: "/shop/ledger" }],
  ["conflict", { node: "edge-9" }],
] as const)("refuses with %s and leaves nothing in the log", async (reason, unusual) => {
  const { size } = issuer.writer.tree;

  expect(await issueInstanceSvid(issuer, request(unusual))).toMatchObject({ ok: false, reason });

  expect(issuer.writer.tree.size).toBe(size);
});

it.each(["1", "00000000-0000-0000-0000-00000000000A", ""])("refuses %j for an instance", async (instance) => {
  const issued = await issueInstanceSvid(issuer, request({ instance }));

  expect(issued.ok).toBe(false);
  expect(issuer.writer.state.instances.has(instance)).toBe(false);
});

it("has the issuance under a signed checkpoint before the certificate leaves", async () => {
  const asked = request();

  const issued = await issueInstanceSvid(issuer, asked);

  if (!issued.ok) throw new Error(issued.reason);
  const { chain, size } = issued.value;
  const leaf = parseCertificate(chain[0] ?? new Uint8Array(0));
  if (!leaf.ok) throw new Error(leaf.reason);
  expect(issuer.writer.state.certificates.get(leaf.value.sha256)).toMatchObject({
    instance: asked.instance,
    spiffeId: "spiffe://example.org/shop/web",
    serial: leaf.value.serial,
  });
  const checked = checkCheckpoint(
    issuer.writer.newest?.checkpoint ?? new Uint8Array(0),
    domain.anchor.logKey,
  );
  expect(checked.ok && checked.value.size).toBeGreaterThanOrEqual(size);
  expect(chain).toHaveLength(2);
});

it("takes the key from the request and everything else from the log", async () => {
  const { privateKey } = generateP256();
  const asked = request({ certificateRequest: buildCertificateRequest(privateKey) });

  const issued = await issueInstanceSvid(issuer, asked);

  const leaf = issued.ok ? parseCertificate(issued.value.chain[0] ?? new Uint8Array(0)) : issued;
  if (!leaf.ok) throw new Error(leaf.reason);
  const extension = leaf.value.extensions.get(workloadMetadataOid);
  expect(parseWorkloadMetadata(extension?.value ?? new Uint8Array(0))).toMatchObject({
    ok: true,
    value: {
      instance: asked.instance,
      service: "/shop/web",
      node: "edge-1",
      team: "shop",
      environment: "test",
    },
  });
});

it("issues again to the same instance, and not to who only calls itself that", async () => {
  const first = request();
  await issueInstanceSvid(issuer, first);
  const otherKey = verifierKeyOf(signerNamed("example.org/audit/2"));
  await putService(domain, issuer.writer, "/shop/other");

  expect(await issueInstanceSvid(issuer, first)).toMatchObject({ ok: true });
  for (const unusual of [{ node: "edge-2" }, { service: "/shop/other" }, { auditKey: otherKey }])
    expect(await issueInstanceSvid(issuer, { ...first, ...unusual })).toMatchObject({
      ok: false,
      reason: "other-instance",
    });
});

it("issues nothing any more to an instance whose node was removed", async () => {
  const nodeName = "edge-3";
  await putNode(domain, issuer.writer, nodeName);
  const asked = request({ node: nodeName });
  await issueInstanceSvid(issuer, asked);

  const [, again] = await Promise.all([
    putAsOperator(domain, issuer.writer, { kind: "node.remove", body: { node: nodeName } }),
    issueInstanceSvid(issuer, asked),
  ]);

  expect(again).toMatchObject({ ok: false, reason: "conflict" });
  expect(issuer.writer.state.instances.has(asked.instance)).toBe(false);
});

it("names authority, generation and key of a certificate, once nobody follows who would stop there", async () => {
  const asked = request();
  const ask = async (unusual: Partial<InstanceRequest> = {}): Promise<void> => {
    const issued = await issueInstanceSvid(issuer, { ...asked, ...unusual });
    if (!issued.ok) throw new Error(issued.detail);
  };
  const generation = (): number | undefined => issuer.writer.state.instances.get(asked.instance)?.generation;
  registry = { olderThan: () => [{ name: "an old one", told: undefined }] };
  await ask();
  const whileOlder = generation();

  registry = { olderThan: () => [] };
  await ask();
  const first = generation();
  await ask();
  const sameKey = generation();
  await ask({ certificateRequest: newKeyRequest(), generation: 1 });

  const keyId = (await issuer.authorities.issuing())?.certificate.subjectKeyId;
  const named = [...issuer.writer.state.certificates.entries()]
    .filter(([, { instance }]) => instance === asked.instance)
    .map(([, { authorityKeyId }]) => authorityKeyId);
  expect([whileOlder, first, sameKey, generation()]).toEqual([undefined, 1, 1, 2]);
  expect(named).toEqual([undefined, keyId, keyId, keyId]);
});

function newKeyRequest(): Uint8Array {
  return buildCertificateRequest(generateP256().privateKey);
}

/** An instance that holds its second generation; its requests, and what the log has of it. */
async function rotatedInstance() {
  const first = request({ certificateRequest: newKeyRequest() });
  const second = { ...first, certificateRequest: newKeyRequest(), generation: 1 };
  for (const one of [first, second]) {
    const issued = await issueInstanceSvid(issuer, one);
    if (!issued.ok) throw new Error(issued.detail);
    expect(issued.value.generation).toBe(one.generation + 1);
  }
  return { first, second };
}

it("issues the last generation again to the key that it was issued to, as after an answer that was lost", async () => {
  const { second } = await rotatedInstance();

  const again = await issueInstanceSvid(issuer, second);
  const next = await issueInstanceSvid(issuer, {
    ...second,
    certificateRequest: newKeyRequest(),
    generation: 2,
  });

  expect(again).toMatchObject({ ok: true, value: { generation: 2 } });
  expect(next).toMatchObject({ ok: true, value: { generation: 3 } });
});

it.each([
  ["an earlier generation with another key", 1],
  ["no generation", 0],
  ["one that was never issued", 7],
])("locks an instance for good, and nothing else, where somebody holds %s", async (_what, generation) => {
  const { second } = await rotatedInstance();
  const neighbour = await rotatedInstance();

  const stolen = await issueInstanceSvid(issuer, {
    ...second,
    certificateRequest: newKeyRequest(),
    generation,
  });
  const owner = { ...second, certificateRequest: newKeyRequest(), generation: 2 };
  const after = await issueInstanceSvid(issuer, owner);
  const beside = await issueInstanceSvid(issuer, {
    ...neighbour.second,
    certificateRequest: newKeyRequest(),
    generation: 2,
  });

  const { state } = issuer.writer;
  expect(stolen).toMatchObject({ ok: false, reason: "lineage-forked" });
  expect(after).toMatchObject({ ok: false, reason: "instance-revoked" });
  expect(beside.ok).toBe(true);
  expect(state.revocations.get(`instance:${second.instance}`)?.reason).toBe("key-compromise");
  expect([...state.certificates.entries()].some(([, row]) => row.instance === second.instance)).toBe(false);
  expect(raised.some((alarm) => alarm.startsWith("lineage-forked") && alarm.includes(second.instance))).toBe(
    true,
  );
});

it("says that a service is held, and issues again once it is lifted", async () => {
  const asked = request();
  const name = asked.service;
  await putAsOperator(domain, issuer.writer, { kind: "service.hold", body: { name, reason: "unspecified" } });

  const held = await issueInstanceSvid(issuer, asked);
  await putAsOperator(domain, issuer.writer, { kind: "service.lift", body: { name } });

  expect(held).toMatchObject({ ok: false, reason: "held" });
  expect((await issueInstanceSvid(issuer, asked)).ok).toBe(true);
});

it("issues nothing to an instance in quarantine, and again once it is released", async () => {
  const asked = request();
  const { writer } = issuer;
  await issueInstanceSvid(issuer, asked);
  const body = { instance: asked.instance, reason: "suspicion", evidence: {} };
  await putAsOperator(domain, writer, { kind: "instance.quarantine", body });

  const during = await issueInstanceSvid(issuer, { ...asked, generation: 1 });
  const decision = writer.state.standings.get(asked.instance)?.decision ?? 0;
  const released = { instance: asked.instance, decision };
  await putAsOperator(domain, writer, { kind: "instance.release", body: released });

  expect(during).toMatchObject({ ok: false, reason: "quarantined" });
  expect((await issueInstanceSvid(issuer, { ...asked, generation: 1 })).ok).toBe(true);
});

it("registers no more instances of a node than its agent takes, and goes on with those that are there", async () => {
  const { writer } = issuer;
  const [crowded, first] = ["edge-5", randomUUID()];
  await putNode(domain, writer, crowded);
  const all = [first, ...Array.from({ length: 1_999 }, () => randomUUID())];
  await writer.write(
    all.map((instance) => ({
      role: "issuer",
      kind: "instance.register",
      body: { instance, service: "/shop/web", node: crowded, auditKey },
    })),
  );

  const known = await issueInstanceSvid(issuer, request({ node: crowded, instance: first }));
  const another = await issueInstanceSvid(issuer, request({ node: crowded }));
  const elsewhere = await issueInstanceSvid(issuer, request());
  const body = { instance: all[1] ?? "" };
  await writer.write([{ role: "issuer", kind: "instance.remove", body }]);
  const later = await issueInstanceSvid(issuer, request({ node: crowded }));

  expect(another).toMatchObject({
    ok: false,
    reason: "too-many-instances",
    detail: expect.stringContaining("edge-5 has 2000 instances"),
  });
  expect([known.ok, elsewhere.ok, later.ok]).toEqual([true, true, true]);
});
