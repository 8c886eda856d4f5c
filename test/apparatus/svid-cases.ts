import { randomBytes } from "node:crypto";
import type { Clock } from "../../src/base/clock.ts";
import {
  authorityConstraints,
  authorityKeyIdExtension,
  type CertificateContent,
  type CertificateExtension,
  distinguishedName,
  endEntityConstraints,
  exportPublicKey,
  extendedKeyUsageExtension,
  generateP256,
  keyUsageExtension,
  objectIdentifier,
  subjectKeyIdExtension,
  uriHostConstraint,
} from "../../src/crypto/index.ts";
import { type CertificateAuthority, parseTrustBundle, type TrustBundle } from "../../src/identity/index.ts";
import { forge, leafExtensions, testDomain, testSvid, valueOf } from "../../src/identity/svid-for-tests.ts";

/** A chain of certificates as a peer presents it, and what is to be said of it. */
export interface SvidCase {
  readonly name: string;
  /** DER, the leaf first. */
  readonly chain: readonly Uint8Array[];
  readonly bundles: readonly TrustBundle[];
  readonly verdict: string;
  /** Why another implementation may accept what is refused here. */
  readonly stricter?: string;
}

type Row = readonly [
  name: string,
  verdict: string,
  chain: readonly Uint8Array[],
  more?: { readonly stricter?: string; readonly bundles?: readonly TrustBundle[] },
];

const id = "spiffe://shop.example/shop/payments";

/**
 * The cases of SPIFFE X509-SVID sections 2 to 5, those of go-spiffe by their names there among them, made for a moment
 * (seconds since 1970).
 */
export function svidCases(nowSeconds: number): readonly SvidCase[] {
  const clock: Clock = { nowSeconds: () => nowSeconds, monotonicMillis: () => 0 };
  const world = { clock, randomBytes };
  const shop = testDomain("shop.example", world);
  const bank = testDomain("bank.example", world);
  const issuers = shop.issuer.presentedIssuers;
  const times = { notBeforeSeconds: nowSeconds - 10, notAfterSeconds: nowSeconds + 3_600 };
  const leaf = (
    extensions: readonly CertificateExtension[],
    unusual: Partial<typeof times> = {},
  ): Uint8Array => forge(shop.issuer, { extensions: [...extensions], ...times, ...unusual });
  const changed = (extension: CertificateExtension): Uint8Array =>
    leaf([...leafExtensions(shop.issuer, id).filter(({ oid }) => oid !== extension.oid), extension]);
  const named = (...uris: readonly string[]): Uint8Array => leaf(leafExtensions(shop.issuer, ...uris));
  const issuedBy = (authority: CertificateAuthority): readonly Uint8Array[] =>
    testSvid(authority, id, undefined, world).chain;
  const good = issuedBy(shop.issuer);
  const signing = keyUsageExtension(["keyCertSign"]);
  const empty: TrustBundle = valueOf(parseTrustBundle(shop.trustDomain, []));
  const rows: readonly Row[] = [
    ["success", "accepted", good],
    ["empty chain", "no-certificate", []],
    ["empty bundle", "unknown-trust-domain", good, { bundles: [empty] }],
    ["nil bundle", "unknown-trust-domain", good, { bundles: [] }],
    ["no roots for leaf cert domain", "unknown-trust-domain", good, { bundles: [bank.bundle] }],
    ["bad leaf cert id", "bad-spiffe-id", [named("sparfe://shop.example/workload"), ...issuers]],
    ["verification fails", "untrusted-issuer", issuedBy(testDomain("shop.example", world).issuer)],
    [
      "CA of another trust domain",
      "untrusted-issuer",
      [
        forge(bank.issuer, { extensions: leafExtensions(bank.issuer, id), ...times }),
        ...bank.issuer.presentedIssuers,
      ],
    ],
    [
      "no URI SAN",
      "no-uri-san",
      [
        leaf(
          leafExtensions(shop.issuer, id).filter(
            ({ oid }) => oid !== objectIdentifier.subjectAlternativeName,
          ),
        ),
        ...issuers,
      ],
    ],
    ["more than one URI SAN", "several-uri-sans", [named(id, "spiffe://shop.example/other"), ...issuers]],
    ["the same URI SAN twice", "several-uri-sans", [named(id, id), ...issuers]],
    [
      "leaf without a path (empty-id)",
      "no-path",
      [named("spiffe://shop.example"), ...issuers],
      {
        stricter:
          "X509-SVID 5.2: the ID of a leaf has a path; go-spiffe looks at it when it loads an SVID with its key",
      },
    ],
    ["leaf is CA (ca-true)", "not-a-leaf", [changed(authorityConstraints(0)), ...issuers]],
    [
      "leaf has KeyUsageCertSign (cert-sign)",
      "not-a-leaf",
      [changed(keyUsageExtension(["digitalSignature", "keyCertSign"])), ...issuers],
    ],
    [
      "leaf has KeyUsageCRLSign (crl-sign)",
      "not-a-leaf",
      [changed(keyUsageExtension(["digitalSignature", "cRLSign"])), ...issuers],
    ],
    [
      "no-digital-signature",
      "bad-key-usage",
      [changed(keyUsageExtension(["keyAgreement"])), ...issuers],
      {
        stricter:
          "X509-SVID 4.3: digitalSignature MUST be set; go-spiffe looks at it when it loads an SVID with its key",
      },
    ],
    [
      "no-key-usage",
      "bad-key-usage",
      [
        leaf(leafExtensions(shop.issuer, id).filter(({ oid }) => oid !== objectIdentifier.keyUsage)),
        ...issuers,
      ],
      { stricter: "X509-SVID 4.3: key usage MUST be there" },
    ],
    [
      "key usage that is not critical",
      "bad-key-usage",
      [changed({ ...keyUsageExtension(["digitalSignature"]), critical: false }), ...issuers],
      { stricter: "X509-SVID 4.3: key usage MUST be critical" },
    ],
    [
      "extended key usage for servers alone",
      "bad-extended-key-usage",
      [changed(extendedKeyUsageExtension([objectIdentifier.serverAuth])), ...issuers],
      { stricter: "X509-SVID 4.4: both serverAuth and clientAuth, where it is there" },
    ],
    [
      "unknown critical extension",
      "unknown-critical-extension",
      [
        leaf([
          ...leafExtensions(shop.issuer, id),
          { oid: "1.2.3.4", critical: true, value: Uint8Array.of(5, 0) },
        ]),
        ...issuers,
      ],
    ],
    [
      "expired",
      "expired",
      [
        leaf(leafExtensions(shop.issuer, id), {
          notBeforeSeconds: nowSeconds - 7_200,
          notAfterSeconds: nowSeconds - 3_600,
        }),
        ...issuers,
      ],
    ],
    [
      "not yet valid",
      "not-yet-valid",
      [leaf(leafExtensions(shop.issuer, id), { notBeforeSeconds: nowSeconds + 1_800 }), ...issuers],
    ],
    [
      "valid for a week",
      "lifetime-too-long",
      [leaf(leafExtensions(shop.issuer, id), { notAfterSeconds: nowSeconds + 604_800 }), ...issuers],
      { stricter: "no SVID lives for over 24 hours here" },
    ],
    ["without its intermediate", "untrusted-issuer", good.slice(0, 1)],
    ["another intermediate", "accepted", under(shop.root, [authorityConstraints(0), signing], times)],
    [
      "intermediate without CA (intermediate-no-ca)",
      "issuer-not-an-authority",
      under(shop.root, [endEntityConstraints(), signing], times),
    ],
    [
      "intermediate without keyCertSign",
      "issuer-not-an-authority",
      under(shop.root, [authorityConstraints(0), keyUsageExtension(["cRLSign"])], times),
    ],
    [
      "intermediate for other names",
      "name-constraint-violated",
      under(shop.root, [authorityConstraints(0), signing, uriHostConstraint("other.example")], times),
    ],
    ["a leaf as issuer", "issuer-not-an-authority", under(shop.root, leafExtensions(shop.root, id), times)],
    [
      "a byte after the leaf",
      "malformed-certificate",
      [Buffer.concat([good[0] ?? new Uint8Array(0), Uint8Array.of(0)]), ...issuers],
    ],
  ];
  return rows.map(([name, verdict, chain, { stricter, bundles = [shop.bundle, bank.bundle] } = {}]) => ({
    name,
    verdict,
    chain,
    bundles,
    ...(stricter === undefined ? {} : { stricter }),
  }));
}

/** A leaf under an authority that says this of itself and that the root has signed, and the authority. */
function under(
  root: CertificateAuthority,
  extensions: readonly CertificateExtension[],
  times: Pick<CertificateContent, "notBeforeSeconds" | "notAfterSeconds">,
): readonly Uint8Array[] {
  const keys = generateP256();
  const subject = distinguishedName("Troth", "another authority");
  const publicKeyInfo = exportPublicKey(keys.publicKey);
  const authority = forge(
    root,
    {
      subject,
      extensions: [
        ...extensions.filter(({ oid }) => oid !== objectIdentifier.authorityKeyId),
        authorityKeyIdExtension(root.certificate.publicKeyInfo),
        subjectKeyIdExtension(publicKeyInfo),
      ],
      ...times,
    },
    keys,
  );
  const signer = { ...root, privateKey: keys.privateKey };
  const leaf = forge(signer, {
    issuer: subject,
    extensions: [
      ...leafExtensions(root, id).filter(({ oid }) => oid !== objectIdentifier.authorityKeyId),
      authorityKeyIdExtension(publicKeyInfo),
    ],
    ...times,
  });
  return [leaf, authority];
}
