import { execFile } from "node:child_process";
import { X509Certificate } from "node:crypto";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { describe, expect, test } from "vitest";
import {
  buildCertificateRequest,
  generateEd25519,
  generateP256,
  objectIdentifier,
  type ParsedCertificate,
  parseCertificate,
  parseCertificateRequest,
} from "../crypto/index.ts";
import {
  createIntermediate,
  createRoot,
  type IssuedSvid,
  issueSvid,
  openAuthority,
  type SvidRequest,
} from "./certificate-authority.ts";
import { checkSvid } from "./check-svid.ts";
import { parseServiceName } from "./service-name.ts";
import { parseTrustDomain } from "./spiffe-id.ts";
import { testDomain, testId, testNowSeconds, testSvid, testWorld, valueOf } from "./svid-for-tests.ts";
import { trustBundlesOf } from "./trust-bundle.ts";
import { longMetadataOid, type WorkloadMetadata, workloadMetadataOid } from "./workload-metadata.ts";

const shop = testDomain("shop.example");
const id = testId("spiffe://shop.example/shop/payments");
const keys = generateP256();
const proof = valueOf(
  parseCertificateRequest(buildCertificateRequest(keys.privateKey, ["spiffe://shop.example/admin"])),
);
const metadata: WorkloadMetadata = {
  instance: "0b8f2f5e-7d0c-4d53-9b86-5c1d2f4f9a11",
  service: valueOf(parseServiceName("/shop/payments")),
  node: "node-1",
  labels: { version: "v2" },
};

function issued(
  request: Partial<SvidRequest> = {},
  authority = shop.issuer,
  world = testWorld(),
): IssuedSvid {
  return valueOf(issueSvid(authority, { proof, spiffeId: id, ...request }, world));
}

function parsed(der: Uint8Array): ParsedCertificate {
  return valueOf(parseCertificate(der));
}

function criticalOids(certificate: ParsedCertificate): readonly string[] {
  return [...certificate.extensions.values()].filter(({ critical }) => critical).map(({ oid }) => oid);
}

describe("an issued SVID", () => {
  const leaf = parsed(issued({ metadata }).certificate);

  test("has the fields of the X.509-SVID specification", () => {
    expect(leaf).toMatchObject({
      subject: { text: "O=Troth, CN=/shop/payments" },
      notBeforeSeconds: testNowSeconds - 10,
      notAfterSeconds: testNowSeconds + 3600,
      basicConstraints: { isCa: false, pathLength: undefined },
      keyUsage: new Set(["digitalSignature"]),
      extendedKeyUsage: [objectIdentifier.serverAuth, objectIdentifier.clientAuth],
      uriNames: [id],
      otherNameTags: [],
      authorityKeyId: shop.issuer.certificate.subjectKeyId,
    });
    expect(leaf.subjectKeyId).toHaveLength(40);
    expect(leaf.serial).toMatch(/^[4-7][0-9a-f]{31}$/);
  });

  test("marks basic constraints and key usage critical, and nothing else", () => {
    expect(criticalOids(leaf)).toEqual([objectIdentifier.basicConstraints, objectIdentifier.keyUsage]);
  });

  test("carries the metadata that the issuer was given, where every peer finds them", () => {
    const { chain } = issued({ metadata });

    expect(leaf.extensions.has(workloadMetadataOid)).toBe(true);
    expect(checkSvid(chain, trustBundlesOf(shop.bundle), testNowSeconds)).toMatchObject({
      ok: true,
      value: { metadata },
    });
  });

  test("carries them under the long identifier where older peers are about, and they are found as well", () => {
    const { chain, certificate } = issued({ metadata, hasOlderPeers: true });

    const parsed = valueOf(parseCertificate(certificate));
    expect(parsed.extensions.has(longMetadataOid)).toBe(true);
    expect(parsed.extensions.has(workloadMetadataOid)).toBe(false);
    expect(checkSvid(chain, trustBundlesOf(shop.bundle), testNowSeconds)).toMatchObject({
      ok: true,
      value: { metadata },
    });
  });

  test("has an identifier for them whose arcs all fit into 31 bits, as Go's do", () => {
    expect(workloadMetadataOid.split(".").every((arc) => Number(arc) < 2 ** 31)).toBe(true);
  });

  test("has the key of the request and none of its wishes", () => {
    expect(leaf.publicKey.equals(keys.publicKey)).toBe(true);
    expect(leaf.uriNames).not.toContain("spiffe://shop.example/admin");
  });

  test("may hold an Ed25519 key", () => {
    const request = buildCertificateRequest(generateEd25519().privateKey);
    const { chain } = issued({ proof: valueOf(parseCertificateRequest(request)) });

    expect(checkSvid(chain, trustBundlesOf(shop.bundle), testNowSeconds).ok).toBe(true);
  });

  test("has a serial number of its own", () => {
    expect(issued().serial).not.toBe(issued().serial);
  });

  test("leaves the common name out where X.520 has no room for it", () => {
    const long = testId(`spiffe://shop.example/${"a".repeat(63)}/b`);

    expect(parsed(issued({ spiffeId: long }).certificate).subject.text).toBe("O=Troth");
  });

  test("does not outlive its issuer", () => {
    const { privateKey } = generateP256();
    const brief = createIntermediate(shop.root, { privateKey, lifetimeSeconds: 600 }, testWorld());

    expect(issued({}, brief).notAfterSeconds).toBe(testNowSeconds + 600);
  });
});

describe("no SVID is issued", () => {
  test.each<[string, Partial<SvidRequest>]>([
    ["other-trust-domain", { spiffeId: testId("spiffe://bank.example/a") }],
    ["no-path", { spiffeId: testId("spiffe://shop.example") }],
    ["bad-lifetime", { lifetimeSeconds: 86_401 }],
    ["bad-lifetime", { lifetimeSeconds: 0 }],
    ["bad-lifetime", { lifetimeSeconds: Number.NaN }],
    ["other-service", { spiffeId: testId("spiffe://shop.example/shop/orders"), metadata }],
    ["malformed-metadata", { metadata: { ...metadata, node: "a b" } }],
  ])("%s", (reason, request) => {
    expect(issueSvid(shop.issuer, { proof, spiffeId: id, ...request }, testWorld())).toMatchObject({
      ok: false,
      reason,
    });
  });

  test("authority-expired", () => {
    const later = testWorld(shop.issuer.certificate.notAfterSeconds + 1);

    expect(issueSvid(shop.issuer, { proof, spiffeId: id }, later)).toMatchObject({
      ok: false,
      reason: "authority-expired",
    });
  });

  test("but one of exactly 24 hours is", () => {
    expect(issued({ lifetimeSeconds: 86_400 }).notAfterSeconds).toBe(testNowSeconds + 86_400);
  });
});

describe("the certificate of a CA", () => {
  const constraint = {
    permitted: [{ tag: 0x86, content: new Uint8Array(Buffer.from("shop.example")) }],
    excluded: [],
  };

  test.each([
    ["root", shop.root, 1, 3650],
    ["intermediate", shop.issuer, 0, 90],
  ])("that is %s signs certificates and revocation lists, for its trust domain alone", (...row) => {
    const [, { certificate }, pathLength, days] = row;

    expect(certificate).toMatchObject({
      basicConstraints: { isCa: true, pathLength },
      keyUsage: new Set(["keyCertSign", "cRLSign"]),
      uriNames: ["spiffe://shop.example"],
      nameConstraints: constraint,
      notAfterSeconds: testNowSeconds + days * 86_400,
    });
    expect(criticalOids(certificate)).toEqual([
      objectIdentifier.basicConstraints,
      objectIdentifier.keyUsage,
      objectIdentifier.nameConstraints,
    ]);
  });

  test("opens again with its own key and with no other", () => {
    const { trustDomain, certificate, privateKey } = shop.issuer;

    expect(openAuthority(trustDomain, certificate.der, privateKey)).toEqual(shop.issuer);
    expect(() => openAuthority(trustDomain, certificate.der, keys.privateKey)).toThrow(
      /do not belong together/,
    );
    expect(() => openAuthority(testDomain("bank.example").trustDomain, certificate.der, privateKey)).toThrow(
      /not a CA of bank.example/,
    );
    expect(() => openAuthority(trustDomain, issued().certificate, keys.privateKey)).toThrow(
      /not a CA certificate/,
    );
  });

  test("is not made for a trust domain that would permit others as a name constraint", () => {
    const trustDomain = valueOf(parseTrustDomain(".example"));

    expect(() => createRoot({ trustDomain, privateKey: keys.privateKey }, testWorld())).toThrow(
      /leading dot/,
    );
  });

  test("of an intermediate does not outlive its root", () => {
    const { privateKey } = generateP256();
    const lifetimeSeconds = 4000 * 86_400;

    expect(
      createIntermediate(shop.root, { privateKey, lifetimeSeconds }, testWorld()).certificate.notAfterSeconds,
    ).toBe(shop.root.certificate.notAfterSeconds);
  });
});

describe("OpenSSL", () => {
  test.each(["sslclient", "sslserver"])(
    "verifies an issued chain for purpose %s, strictly",
    async (purpose) => {
      const { chain } = issued({ metadata });

      expect(await opensslVerify(chain, purpose)).toMatch(/leaf\.pem: OK/);
    },
  );

  test("refuses a name of another trust domain below our CAs", async () => {
    const bank = testDomain("bank.example");
    const { chain } = testSvid({ ...shop.issuer, trustDomain: bank.trustDomain }, "spiffe://bank.example/a");

    await expect(opensslVerify(chain, "sslclient")).rejects.toThrow(/permitted subtree violation/);
  });
});

async function opensslVerify(chain: readonly Uint8Array[], purpose: string): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "troth-openssl-"));
  try {
    const [leaf = new Uint8Array(), ...intermediates] = chain;
    const files = { root: [shop.root.certificate.der], intermediates, leaf: [leaf] };
    for (const [name, certificates] of Object.entries(files)) {
      const pem = certificates.map((der) => new X509Certificate(der).toString()).join("");
      await writeFile(join(folder, `${name}.pem`), pem);
    }
    const trust = ["-CAfile", "root.pem", "-untrusted", "intermediates.pem"];
    const how = ["-x509_strict", "-check_ss_sig", "-purpose", purpose, "-attime", String(testNowSeconds)];
    const { stdout } = await promisify(execFile)("openssl", ["verify", ...trust, ...how, "leaf.pem"], {
      cwd: folder,
    });
    return stdout;
  } finally {
    await rm(folder, { recursive: true });
  }
}
