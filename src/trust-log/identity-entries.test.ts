import { describe, expect, test } from "vitest";
import { foundedAtSeconds, SmallTrustLog, serviceBody } from "../../test/fakes/small-trust-log.ts";
import { base64Of, hexOf } from "../base/bytes.ts";
import type { JsonObject } from "../base/canonical-json.ts";
import {
  authorityConstraints,
  authorityKeyIdExtension,
  buildCertificate,
  distinguishedName,
  exportPublicKey,
  generateP256,
  keyUsageExtension,
  parseCertificate,
  sha256,
  subjectKeyIdExtension,
} from "../crypto/index.ts";

const instance = "00000000-0000-4000-8000-000000000001";
const neighbour = "00000000-0000-4000-8000-000000000002";
const first = "a1".repeat(32);
const second = "a2".repeat(32);
const key = "b1".repeat(32);
const otherKey = "b2".repeat(32);
const reason = "key-compromise";

/** A log with an instance of /shop and one of /pay on the node edge-1. */
function smallMesh(): SmallTrustLog {
  const log = new SmallTrustLog();
  for (const name of ["/shop", "/pay"]) log.put("service.put", serviceBody(name));
  log.putNode("edge-1");
  log.put("instance.register", { instance, service: "/shop", node: "edge-1", auditKey: "" });
  log.put("instance.register", { instance: neighbour, service: "/pay", node: "edge-1", auditKey: "" });
  return log;
}

function svid(changes: JsonObject = {}): JsonObject {
  return {
    certificate: first,
    spiffeId: "spiffe://example.org/shop",
    instance,
    serial: "01",
    notBeforeSeconds: foundedAtSeconds,
    notAfterSeconds: foundedAtSeconds + 3600,
    authorityKeyId: "0a",
    generation: 1,
    keySha256: key,
    ...changes,
  };
}

/** Why an entry had no effect; "none" where it had one. */
function refusal(log: SmallTrustLog, kind: string, body: JsonObject): string {
  const outcome = log.order(log.entry(kind, body));
  if (!outcome.ok) return `stop: ${outcome.reason}`;
  return outcome.value.hasEffect ? "none" : `${outcome.value.reason}: ${outcome.value.detail}`;
}

/** An authority's certificate in base64, its name in the log and its key identifier. */
function authority(
  name: string,
  issuer?: { readonly keys: ReturnType<typeof generateP256>; readonly name: string },
) {
  const keys = generateP256();
  const publicKeyInfo = exportPublicKey(keys.publicKey);
  const der = buildCertificate(
    {
      serial: Uint8Array.of(1),
      issuer: distinguishedName("test", issuer?.name ?? name),
      subject: distinguishedName("test", name),
      notBeforeSeconds: foundedAtSeconds,
      notAfterSeconds: foundedAtSeconds + 86_400,
      publicKeyInfo,
      extensions: [
        authorityConstraints(1),
        keyUsageExtension(["keyCertSign"]),
        subjectKeyIdExtension(publicKeyInfo),
        ...(issuer === undefined ? [] : [authorityKeyIdExtension(exportPublicKey(issuer.keys.publicKey))]),
      ],
    },
    (issuer?.keys ?? keys).privateKey,
  );
  const parsed = parseCertificate(der);
  if (!parsed.ok) throw new Error(parsed.reason);
  const keyId = parsed.value.subjectKeyId ?? "";
  return { name, keys, certificate: base64Of(der), id: hexOf(sha256(der)), keyId };
}

describe("an instance's certificates", () => {
  test("count up their generations, and the same key may ask again", () => {
    const log = smallMesh();
    log.put("svid.put", svid());
    log.put("svid.put", svid({ certificate: second }));
    log.put("svid.put", svid({ certificate: "a3".repeat(32), generation: 2, keySha256: otherKey }));

    expect(log.state.instances.get(instance)).toMatchObject({ generation: 2, keySha256: otherKey });
    expect(log.state.certificates.get(second)).toMatchObject({ authorityKeyId: "0a" });
  });

  test.each([
    ["a generation left out", { generation: 3 }],
    ["the last generation for another key", { keySha256: otherKey }],
    ["an earlier generation", { generation: 1, keySha256: "b3".repeat(32) }],
  ])("%s has no effect", (_, changes) => {
    const log = smallMesh();
    log.put("svid.put", svid());

    expect(refusal(log, "svid.put", svid({ certificate: second, ...changes }))).toMatch(
      /^conflict: generation/,
    );
  });
});

describe("what is revoked", () => {
  test("is an instance with its certificates, which stay known as revoked, and it never comes back", () => {
    const log = smallMesh();
    log.put("svid.put", svid());
    log.put("instance.revoke", { instance, reason });

    expect(log.state.instances.has(instance)).toBe(false);
    expect(log.state.certificates.has(first)).toBe(false);
    expect(log.state.revokedCertificates.get(first)).toMatchObject({ serial: "01", reason });
    expect(log.state.instances.has(neighbour)).toBe(true);
    const again = { instance, service: "/shop", node: "edge-1", auditKey: "" };
    expect(refusal(log, "instance.register", again)).toBe("conflict: this instance was revoked");
    expect(refusal(log, "svid.put", svid())).toMatch(/^conflict: no instance/);
  });

  test("is one certificate, and the instance has its others", () => {
    const log = smallMesh();
    log.put("svid.put", svid());
    log.put("svid.put", svid({ certificate: second, generation: 2, keySha256: otherKey }));
    log.put("svid.revoke", { certificate: first, reason });

    expect(log.state.certificates.has(second)).toBe(true);
    expect(refusal(log, "svid.revoke", { certificate: first, reason })).toBe(
      "conflict: no such certificate in force",
    );
  });

  test("is forgotten once it would have ended anyway, but an instance is not", () => {
    const log = smallMesh();
    log.put("svid.put", svid());
    log.put("instance.revoke", { instance, reason });
    log.put("token.revoke", { id: "t", expiresAtSeconds: foundedAtSeconds + 60, reason });
    log.put("epoch", { ...log.epochBody(), timeSeconds: foundedAtSeconds + 7200 });

    expect(log.state.revokedCertificates.size).toBe(0);
    expect([...log.state.revocations.entries()].map(([id]) => id)).toEqual([`instance:${instance}`]);
  });

  test("is a token that has not expired, until then", () => {
    const log = smallMesh();
    const past = { id: "t", expiresAtSeconds: foundedAtSeconds - 1, reason };

    expect(refusal(log, "token.revoke", past)).toMatch(/^conflict: the token has expired/);
    log.put("token.revoke", { ...past, expiresAtSeconds: foundedAtSeconds + 60 });
    expect(refusal(log, "token.revoke", { ...past, expiresAtSeconds: foundedAtSeconds + 60 })).toBe(
      "conflict: revoked already",
    );
  });
});

describe("what is held", () => {
  test.each([
    ["a service", { kind: "service", body: { name: "/shop" } }],
    ["a node", { kind: "node", body: { node: "edge-1" } }],
  ])("is %s: its instances go, and come again once it is lifted", (_, { kind, body }) => {
    const log = smallMesh();
    log.put("svid.put", svid());
    log.put(`${kind}.hold`, { ...body, reason });

    expect(log.state.instances.has(instance)).toBe(false);
    expect(log.state.instances.has(neighbour)).toBe(kind === "service");
    expect(log.state.revokedCertificates.has(first)).toBe(true);
    const registration = { instance, service: "/shop", node: "edge-1", auditKey: "" };
    expect(refusal(log, "instance.register", registration)).toMatch(/^conflict: .* is held$/);
    expect(refusal(log, `${kind}.hold`, { ...body, reason })).toBe("conflict: held already");
    log.put(`${kind}.lift`, body);
    log.put("instance.register", registration);
    expect(refusal(log, `${kind}.lift`, body)).toBe("conflict: not held");
  });

  test("takes as many people to lift as anything that operators do", () => {
    const log = smallMesh();
    log.put("service.hold", { name: "/shop", reason });
    log.put("authority.put", {
      kinds: ["rule.put"],
      grant: { role: "operator", signatures: 2, approvals: 0 },
    });

    expect(refusal(log, "service.lift", { name: "/shop" })).toBe("unauthorised: 1 of 2 signatures");
  });
});

describe("an authority", () => {
  test("ends only after another one has been activated in its place", () => {
    const log = smallMesh();
    const [old, next] = [authority("old"), authority("next")];
    for (const { certificate } of [old, next]) log.put("ca.trust", { certificate });

    expect(refusal(log, "ca.taint", { authority: old.id })).toMatch(/^conflict: it may be the one in use/);
    log.put("ca.activate", { authority: old.id });
    expect(refusal(log, "ca.revoke", { authority: old.id, reason })).toMatch(/^conflict: it is active/);
    log.put("ca.activate", { authority: next.id });
    expect(log.state.authorityStatus.get(old.id)).toMatchObject({ status: "old" });
    log.put("ca.taint", { authority: old.id });
    expect(refusal(log, "ca.activate", { authority: old.id })).toBe("conflict: it is tainted");
    log.put("ca.revoke", { authority: old.id, reason });
    expect(refusal(log, "ca.trust", { certificate: old.certificate })).toBe(
      "conflict: this authority was revoked",
    );
    expect(refusal(log, "ca.activate", { authority: "00".repeat(32) })).toBe("conflict: no such authority");
  });

  test("that is revoked takes with it what it and those below it have signed, and nothing else", () => {
    const log = smallMesh();
    const [old, next] = [authority("old"), authority("next")];
    const below = authority("below", old);
    for (const { certificate } of [old, next]) log.put("ca.trust", { certificate });
    log.put("ca.issue", { certificate: below.certificate });
    log.put("svid.put", svid({ authorityKeyId: below.keyId }));
    log.put("svid.put", svid({ certificate: second, authorityKeyId: next.keyId }));
    const unsigned = { ...svid({ certificate: "a3".repeat(32) }) };
    for (const field of ["authorityKeyId", "generation", "keySha256"]) delete unsigned[field];
    log.put("svid.issue", unsigned);
    for (const { id } of [old, next]) log.put("ca.activate", { authority: id });
    log.put("ca.revoke", { authority: old.id, reason: "ca-compromise" });

    expect([...log.state.certificates.entries()].map(([id]) => id)).toEqual([second]);
    expect(log.state.revokedCertificates.size).toBe(2);
    expect(
      refusal(log, "svid.put", svid({ certificate: "a4".repeat(32), authorityKeyId: below.keyId })),
    ).toBe(`conflict: authority ${below.keyId} was revoked`);
  });

  test("that signs tokens has a key on P-256 and is known once", () => {
    const log = smallMesh();
    const publicKey = base64Of(exportPublicKey(generateP256().publicKey));
    const body = { use: "jwt-svid", publicKey, notAfterSeconds: foundedAtSeconds + 60 };
    log.put("jwk.put", body);

    expect(refusal(log, "jwk.put", body)).toBe("conflict: known already");
    const notAKey = { ...body, publicKey: base64Of(new Uint8Array(91)) };
    expect(refusal(log, "jwk.put", notAKey)).toBe("malformed-body: not a public key on P-256");
  });
});

describe("a federated trust domain", () => {
  const other = {
    trustDomain: "other.example",
    url: "https://other.example/bundle",
    profile: "https_web",
  };

  test("goes with the addresses and rules that speak of it", () => {
    const log = smallMesh();
    log.put("federation.put", other);
    log.put("federation.put", { ...other, trustDomain: "other.example.net" });
    for (const trustDomain of ["other.example", "other.example.net"]) {
      log.put("remote.put", { trustDomain, service: "/web", addresses: ["192.0.2.1:8443"] });
      const from = `spiffe://${trustDomain}/*`;
      log.put("foreignrule.put", { from, to: "/shop", effect: "allow", methods: [], paths: [] });
    }
    log.put("federation.remove", { trustDomain: "other.example" });

    expect([...log.state.remotes.entries()].map(([id]) => id)).toEqual(["spiffe://other.example.net/web"]);
    expect([...log.state.rules.entries()].map(([id]) => id)).toEqual(["spiffe://other.example.net/* /shop"]);
    expect(refusal(log, "federation.bundle", { trustDomain: "other.example", bundle: "{}" })).toMatch(
      /^conflict: no federation/,
    );
  });

  test("keeps the bundle that is known, and is not this trust domain", () => {
    const log = smallMesh();
    log.put("federation.put", other);
    log.put("federation.bundle", { trustDomain: "other.example", bundle: "{}" });
    log.put("federation.put", { ...other, url: "https://moved.example/" });

    expect(log.state.federation.get("other.example")).toMatchObject({
      url: "https://moved.example/",
      bundle: "{}",
    });
    expect(refusal(log, "federation.put", { ...other, trustDomain: "example.org" })).toMatch(
      /^malformed-body/,
    );
  });

  test.each([
    ["https_spiffe without the endpoint's identity", { profile: "https_spiffe", bundle: "{}" }],
    ["https_web with one", { endpointSpiffeId: "spiffe://other.example/x" }],
    [
      "an endpoint under its own bundle, which is not there",
      { profile: "https_spiffe", endpointSpiffeId: "spiffe://other.example/x" },
    ],
  ])("is refused with %s", (_, changes) => {
    expect(refusal(smallMesh(), "federation.put", { ...other, ...changes })).toMatch(/^malformed-body/);
  });

  test("has no callers before there is a relationship", () => {
    const body = {
      from: "spiffe://other.example/web",
      to: "/shop",
      effect: "allow",
      methods: [],
      paths: [],
    };

    expect(refusal(smallMesh(), "foreignrule.put", body)).toBe("conflict: no federation with other.example");
  });
});

test("an identity over the Workload API is of a service that there is", () => {
  const log = smallMesh();
  const body = { name: "shop", service: "/shop", selectors: ["unix:uid:1000"], hint: "" };

  expect(refusal(log, "workload.put", { ...body, service: "/nowhere" })).toBe(
    "conflict: no service /nowhere",
  );
  expect(refusal(log, "workload.put", { ...body, selectors: ["unix:uid:1", "unix:uid:1"] })).toMatch(
    /^malformed-body/,
  );
  log.put("workload.put", body);
  log.put("service.remove", { name: "/shop" });
  expect(log.state.workloads.size).toBe(0);
});
