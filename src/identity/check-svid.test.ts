import { generateKeyPairSync } from "node:crypto";
import { describe, expect, test } from "vitest";
import { hexOf } from "../base/bytes.ts";
import {
  authorityConstraints,
  authorityKeyIdExtension,
  type CertificateExtension,
  distinguishedName,
  exportPublicKey,
  extendedKeyUsageExtension,
  generateP256,
  keyUsageExtension,
  objectIdentifier,
  type ParsedCertificate,
  sha256,
  subjectKeyIdExtension,
  uriHostConstraint,
  uriNamesExtension,
} from "../crypto/index.ts";
import { openAuthority } from "./certificate-authority.ts";
import { checkSvid } from "./check-svid.ts";
import { parseServiceName } from "./service-name.ts";
import { forge, leafExtensions, testDomain, testNowSeconds, testSvid, valueOf } from "./svid-for-tests.ts";
import { parseTrustBundle, trustBundlesOf } from "./trust-bundle.ts";
import { encodeWorkloadMetadata, workloadMetadataOid } from "./workload-metadata.ts";

const shop = testDomain("shop.example");
const bank = testDomain("bank.example");
const bundles = trustBundlesOf(shop.bundle, bank.bundle);
const issuers = shop.issuer.presentedIssuers;
const id = "spiffe://shop.example/shop/payments";

function reasonOf(chain: readonly Uint8Array[], nowSeconds = testNowSeconds, trusted = bundles): string {
  const outcome = checkSvid(chain, trusted, nowSeconds);
  return outcome.ok ? "accepted" : outcome.reason;
}

function leafWith(...changed: CertificateExtension[]): Uint8Array {
  const oids = new Set(changed.map(({ oid }) => oid));
  const kept = leafExtensions(shop.issuer, id).filter(({ oid }) => !oids.has(oid));
  return forge(shop.issuer, { extensions: [...kept, ...changed] });
}

function leafWithout(oid: string): Uint8Array {
  return forge(shop.issuer, {
    extensions: leafExtensions(shop.issuer, id).filter((extension) => extension.oid !== oid),
  });
}

function leafNamed(...uris: string[]): Uint8Array {
  return forge(shop.issuer, { extensions: leafExtensions(shop.issuer, ...uris) });
}

function leafFor(keys: ReturnType<typeof generateP256>): Uint8Array {
  return forge(shop.issuer, { extensions: leafExtensions(shop.issuer, id) }, keys);
}

describe("accepts", () => {
  test("an issued SVID with its issuer, and says whose it is", () => {
    const svid = testSvid(shop.issuer, id);

    const outcome = checkSvid(svid.chain, bundles, testNowSeconds);

    expect(outcome).toMatchObject({
      ok: true,
      value: {
        spiffeId: id,
        trustDomain: "shop.example",
        serviceName: "/shop/payments",
        metadata: undefined,
        serial: svid.serial,
        notAfterSeconds: testNowSeconds + 3600,
      },
    });
  });

  test("the SVID of the control plane, which is no service", () => {
    const { chain } = testSvid(shop.issuer, "spiffe://shop.example/troth/control-plane");

    expect(checkSvid(chain, bundles, testNowSeconds)).toMatchObject({
      ok: true,
      value: { serviceName: undefined },
    });
  });

  test("a leaf without extended key usage, as the specification allows", () => {
    expect(reasonOf([leafWithout(objectIdentifier.extendedKeyUsage), ...issuers])).toBe("accepted");
  });

  test("a DNS name beside the URI", () => {
    const names = Uint8Array.of(0x30, 41, 0x82, 2, 0x61, 0x62, 0x86, 35, ...Buffer.from(id));
    const leaf = leafWith({ oid: objectIdentifier.subjectAlternativeName, critical: false, value: names });

    expect(reasonOf([leaf, ...issuers])).toBe("accepted");
  });

  test("a chain in which the root and the CA of another domain are presented too, in any order", () => {
    const leaf = leafNamed(id);
    const chain = [leaf, shop.root.certificate.der, ...bank.issuer.presentedIssuers, ...issuers];

    expect(reasonOf(chain)).toBe("accepted");
  });

  test("an SVID to its last second and not one later", () => {
    const { chain, notAfterSeconds } = testSvid(shop.issuer, id);

    expect(reasonOf(chain, notAfterSeconds + 0.9)).toBe("accepted");
    expect(reasonOf(chain, notAfterSeconds + 1)).toBe("expired");
  });

  test("an SVID under the new one of two roots with the same name and no key ids", () => {
    const name = distinguishedName("Troth", "same name");
    const [oldKeys, newKeys] = [generateP256(), generateP256()];
    const extensions = [
      authorityConstraints(0),
      keyUsageExtension(["keyCertSign"]),
      uriNamesExtension(["spiffe://shop.example"]),
    ];
    const roots = [oldKeys, newKeys].map((keys) => {
      const unsigned = { ...shop.root, privateKey: keys.privateKey };
      return forge(unsigned, { issuer: name, subject: name, extensions }, keys);
    });
    const [, newRoot = new Uint8Array()] = roots;
    const authority = openAuthority(shop.trustDomain, newRoot, newKeys.privateKey);
    const trusted = trustBundlesOf(valueOf(parseTrustBundle(shop.trustDomain, roots)));
    const leaf = forge(authority, { extensions: leafExtensions(authority, id) });

    expect(reasonOf([leaf], testNowSeconds, trusted)).toBe("accepted");
  });
});

describe("refuses a presentation", () => {
  test("without a certificate: no-certificate", () => {
    expect(reasonOf([])).toBe("no-certificate");
    expect(reasonOf([new Uint8Array()])).toBe("no-certificate");
  });

  test("of five certificates: too-many-certificates", () => {
    const leaf = leafNamed(id);
    expect(reasonOf([leaf, leaf, leaf, leaf, leaf])).toBe("too-many-certificates");
  });

  test("of more than 32 KiB: certificates-too-large", () => {
    expect(reasonOf([leafNamed(id), new Uint8Array(32_768)])).toBe("certificates-too-large");
  });

  test("with a byte after the leaf, or with a CA that cannot be read: malformed-certificate", () => {
    expect(reasonOf([Uint8Array.of(...leafNamed(id), 0), ...issuers])).toBe("malformed-certificate");
    expect(reasonOf([leafNamed(id), Uint8Array.of(0x30, 0)])).toBe("malformed-certificate");
  });

  test("with a key on another curve or a short RSA key: weak-key", () => {
    expect(reasonOf([leafFor(generateKeyPairSync("ec", { namedCurve: "secp256k1" })), ...issuers])).toBe(
      "weak-key",
    );
    expect(reasonOf([leafFor(generateKeyPairSync("rsa", { modulusLength: 1024 })), ...issuers])).toBe(
      "weak-key",
    );
  });
});

describe("refuses a leaf", () => {
  test("that is a CA, or may sign certificates or revocation lists: not-a-leaf", () => {
    expect(reasonOf([leafWith(authorityConstraints(0)), ...issuers])).toBe("not-a-leaf");
    expect(reasonOf([leafWith(keyUsageExtension(["digitalSignature", "keyCertSign"])), ...issuers])).toBe(
      "not-a-leaf",
    );
    expect(reasonOf([leafWith(keyUsageExtension(["digitalSignature", "cRLSign"])), ...issuers])).toBe(
      "not-a-leaf",
    );
    expect(reasonOf([shop.issuer.certificate.der])).toBe("not-a-leaf");
  });

  test("without key usage, without digitalSignature, or where it is not critical: bad-key-usage", () => {
    const lenient = { ...keyUsageExtension(["digitalSignature"]), critical: false };

    expect(reasonOf([leafWithout(objectIdentifier.keyUsage), ...issuers])).toBe("bad-key-usage");
    expect(reasonOf([leafWith(keyUsageExtension(["keyAgreement"])), ...issuers])).toBe("bad-key-usage");
    expect(reasonOf([leafWith(lenient), ...issuers])).toBe("bad-key-usage");
  });

  test.each([objectIdentifier.serverAuth, objectIdentifier.clientAuth])(
    "whose extended key usage is %s alone: bad-extended-key-usage",
    (usage) => {
      expect(reasonOf([leafWith(extendedKeyUsageExtension([usage])), ...issuers])).toBe(
        "bad-extended-key-usage",
      );
    },
  );

  test("with a critical extension nobody knows: unknown-critical-extension", () => {
    const unknown = { oid: "1.3.6.1.4.1.99999.1", critical: true, value: Uint8Array.of(5, 0) };

    expect(reasonOf([leafWith(unknown), ...issuers])).toBe("unknown-critical-extension");
    expect(reasonOf([leafWith({ ...unknown, critical: false }), ...issuers])).toBe("accepted");
  });

  test("without a URI: no-uri-san", () => {
    expect(reasonOf([leafWithout(objectIdentifier.subjectAlternativeName), ...issuers])).toBe("no-uri-san");
  });

  test("with two URIs, even the same twice: several-uri-sans", () => {
    expect(reasonOf([leafNamed(id, "spiffe://shop.example/b"), ...issuers])).toBe("several-uri-sans");
    expect(reasonOf([leafNamed(id, id), ...issuers])).toBe("several-uri-sans");
  });

  test.each([
    "https://shop.example/a",
    "spiffe://Shop.example/a",
    "spiffe://shop.example/a/",
    "spiffe://shop.example/a?b",
  ])("whose URI is %s: bad-spiffe-id", (uri) => {
    expect(reasonOf([leafNamed(uri), ...issuers])).toBe("bad-spiffe-id");
  });

  test("that names the trust domain itself: no-path", () => {
    expect(reasonOf([leafNamed("spiffe://shop.example"), ...issuers])).toBe("no-path");
  });

  test("with metadata that cannot be read, or of another service: bad-metadata", () => {
    const value = encodeWorkloadMetadata({
      instance: "0b8f2f5e-7d0c-4d53-9b86-5c1d2f4f9a11",
      service: valueOf(parseServiceName("/shop/payments")),
      node: "node-1",
      labels: {},
    });
    const metadata = { oid: workloadMetadataOid, critical: false, value };
    const orders = leafExtensions(shop.issuer, "spiffe://shop.example/shop/orders");

    expect(reasonOf([leafWith(metadata), ...issuers])).toBe("accepted");
    expect(reasonOf([leafWith({ ...metadata, value: value.subarray(1) }), ...issuers])).toBe("bad-metadata");
    expect(reasonOf([forge(shop.issuer, { extensions: [...orders, metadata] }), ...issuers])).toBe(
      "bad-metadata",
    );
  });

  test("that is valid for more than 24 hours and ten seconds: lifetime-too-long", () => {
    const extensions = leafExtensions(shop.issuer, id);
    const day = forge(shop.issuer, { extensions, notAfterSeconds: testNowSeconds + 86_400 });
    const longer = forge(shop.issuer, { extensions, notAfterSeconds: testNowSeconds + 86_401 });

    expect(reasonOf([day, ...issuers])).toBe("accepted");
    expect(reasonOf([longer, ...issuers])).toBe("lifetime-too-long");
  });

  test("before its first second: not-yet-valid, and after its last: expired", () => {
    const { chain } = testSvid(shop.issuer, id);

    expect(reasonOf(chain, testNowSeconds - 11)).toBe("not-yet-valid");
    expect(reasonOf(chain, testNowSeconds + 3601)).toBe("expired");
  });
});

describe("refuses a path", () => {
  test("to a trust domain without a bundle, or with an empty one: unknown-trust-domain", () => {
    const { chain } = testSvid(shop.issuer, id);
    const empty = valueOf(parseTrustBundle(shop.trustDomain, []));

    expect(reasonOf(chain, testNowSeconds, trustBundlesOf(bank.bundle))).toBe("unknown-trust-domain");
    expect(reasonOf(chain, testNowSeconds, trustBundlesOf(empty))).toBe("unknown-trust-domain");
  });

  test("from the CA of another trusted domain, whose bundle does not count: untrusted-issuer", () => {
    const leaf = forge(bank.issuer, { extensions: leafExtensions(bank.issuer, id) });

    expect(reasonOf([leaf, ...bank.issuer.presentedIssuers])).toBe("untrusted-issuer");
  });

  test("from a CA that has the name of ours and another key: untrusted-issuer", () => {
    const stranger = testDomain("shop.example");
    const { chain } = testSvid(stranger.issuer, id);

    expect(reasonOf(chain)).toBe("untrusted-issuer");
    expect(reasonOf([...chain, stranger.root.certificate.der])).toBe("untrusted-issuer");
  });

  test("without the intermediate CA: untrusted-issuer", () => {
    expect(reasonOf([leafNamed(id)])).toBe("untrusted-issuer");
  });

  test("signed by a stranger who copied our CA's name and key id: bad-signature", () => {
    const imposter = { ...shop.issuer, privateKey: generateP256().privateKey };
    const leaf = forge(imposter, { extensions: leafExtensions(shop.issuer, id) });

    expect(reasonOf([leaf, ...issuers])).toBe("bad-signature");
  });

  test("over a workload's own leaf as issuer: issuer-not-an-authority", () => {
    const keys = generateP256();
    const workload = leafFor(keys);
    const name = distinguishedName("Troth");
    const extensions = leafExtensions(shop.issuer, "spiffe://shop.example/shop/admin").filter(
      ({ oid }) => oid !== objectIdentifier.authorityKeyId,
    );
    const leaf = forge({ ...shop.issuer, privateKey: keys.privateKey }, { issuer: name, extensions });

    expect(reasonOf([leaf, workload, ...issuers])).toBe("issuer-not-an-authority");
  });
});

describe("refuses a CA between leaf and bundle", () => {
  const keyUsage = keyUsageExtension(["keyCertSign", "cRLSign"]);

  function reasonBelow(
    parent: typeof shop.root,
    extensions: CertificateExtension[],
    validity: { notBeforeSeconds?: number; notAfterSeconds?: number } = {},
  ): string {
    const keys = generateP256();
    const subject = distinguishedName("Troth", "another CA");
    const publicKeyInfo = exportPublicKey(keys.publicKey);
    const authorityKeyId = authorityKeyIdExtension(parent.certificate.publicKeyInfo);
    const der = forge(
      parent,
      {
        subject,
        extensions: [...extensions, authorityKeyId, subjectKeyIdExtension(publicKeyInfo)],
        ...validity,
      },
      keys,
    );
    const leaf = forge(
      { ...parent, privateKey: keys.privateKey },
      {
        issuer: subject,
        extensions: [
          ...leafExtensions(parent, id).filter(({ oid }) => oid !== objectIdentifier.authorityKeyId),
          authorityKeyIdExtension(publicKeyInfo),
        ],
      },
    );
    return reasonOf([leaf, der, ...parent.presentedIssuers]);
  }

  test("none that is as it should be", () => {
    expect(reasonBelow(shop.root, [authorityConstraints(0), keyUsage])).toBe("accepted");
  });

  test("that has expired or is not valid yet", () => {
    const extensions = [authorityConstraints(0), keyUsage];

    expect(reasonBelow(shop.root, extensions, { notAfterSeconds: testNowSeconds - 5 })).toBe("expired");
    expect(reasonBelow(shop.root, extensions, { notBeforeSeconds: testNowSeconds + 5 })).toBe(
      "not-yet-valid",
    );
  });

  test("that may not sign certificates: issuer-not-an-authority", () => {
    expect(reasonBelow(shop.root, [authorityConstraints(0), keyUsageExtension(["cRLSign"])])).toBe(
      "issuer-not-an-authority",
    );
    expect(reasonBelow(shop.root, [authorityConstraints(0)])).toBe("issuer-not-an-authority");
    expect(reasonBelow(shop.root, [keyUsage])).toBe("issuer-not-an-authority");
  });

  test("that stands below a CA with path length 0: path-too-long", () => {
    expect(reasonBelow(shop.issuer, [authorityConstraints(0), keyUsage])).toBe("path-too-long");
  });

  test("that is meant for something else than TLS: bad-extended-key-usage", () => {
    const codeSigning = extendedKeyUsageExtension(["1.3.6.1.5.5.7.3.3"]);
    const any = extendedKeyUsageExtension([objectIdentifier.anyExtendedKeyUsage]);

    expect(reasonBelow(shop.root, [authorityConstraints(0), keyUsage, codeSigning])).toBe(
      "bad-extended-key-usage",
    );
    expect(reasonBelow(shop.root, [authorityConstraints(0), keyUsage, any])).toBe("accepted");
  });

  test("with a critical extension nobody knows: unknown-critical-extension", () => {
    const policyConstraints = { oid: "2.5.29.36", critical: true, value: Uint8Array.of(0x30, 0) };

    expect(reasonBelow(shop.root, [authorityConstraints(0), keyUsage, policyConstraints])).toBe(
      "unknown-critical-extension",
    );
  });

  test("whose own name is outside the root's constraint: name-constraint-violated", () => {
    const names = uriNamesExtension(["spiffe://bank.example"]);

    expect(reasonBelow(shop.root, [authorityConstraints(0), keyUsage, names])).toBe(
      "name-constraint-violated",
    );
  });

  test("that permits only other hosts: name-constraint-violated", () => {
    const constraint = uriHostConstraint("bank.example");

    expect(reasonBelow(shop.root, [authorityConstraints(0), keyUsage, constraint])).toBe(
      "name-constraint-violated",
    );
  });

  test("whose key was revoked, as intermediate or as root: revoked-authority", () => {
    const { chain } = testSvid(shop.issuer, id);
    const under = (...revoked: readonly ParsedCertificate[]): string => {
      const keys = new Set(revoked.map(({ publicKeyInfo }) => hexOf(sha256(publicKeyInfo))));
      const bundle = valueOf(parseTrustBundle(shop.root.trustDomain, [shop.root.certificate.der], keys));
      const checked = checkSvid(chain, trustBundlesOf(bundle), testNowSeconds);
      return checked.ok ? "accepted" : checked.reason;
    };

    expect(under(bank.issuer.certificate)).toBe("accepted");
    expect(under(shop.issuer.certificate)).toBe("revoked-authority");
    expect(under(shop.root.certificate)).toBe("revoked-authority");
  });

  test("whose certificate was not signed by the trusted CA: bad-signature", () => {
    const imposter = { ...shop.root, privateKey: generateP256().privateKey };

    expect(reasonBelow(imposter, [authorityConstraints(0), keyUsage])).toBe("bad-signature");
  });
});
