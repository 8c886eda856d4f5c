import { randomBytes } from "node:crypto";
import type { Clock } from "../base/clock.ts";
import {
  authorityKeyIdExtension,
  buildCertificate,
  buildCertificateRequest,
  type CertificateContent,
  type CertificateExtension,
  distinguishedName,
  endEntityConstraints,
  exportPublicKey,
  extendedKeyUsageExtension,
  generateP256,
  type KeyPair,
  keyUsageExtension,
  objectIdentifier,
  parseCertificateRequest,
  uriNamesExtension,
} from "../crypto/index.ts";
import {
  type CertificateAuthority,
  createIntermediate,
  createRoot,
  type IssuedSvid,
  type IssuerWorld,
  issueSvid,
} from "./certificate-authority.ts";
import { parseSpiffeId, parseTrustDomain, type SpiffeId, type TrustDomain } from "./spiffe-id.ts";
import { parseTrustBundle, type TrustBundle } from "./trust-bundle.ts";

/** The moment at which everything built here was issued, in seconds since 1970. */
export const testNowSeconds = 1_800_000_000;

/** A world that stands still at {@link testNowSeconds}, or at another moment. */
export function testWorld(nowSeconds: number = testNowSeconds): IssuerWorld {
  const clock: Clock = { nowSeconds: () => nowSeconds, monotonicMillis: () => 0 };
  return { clock, randomBytes };
}

/** A trust domain with its root, its intermediate CA and its bundle. */
export interface TestDomain {
  readonly trustDomain: TrustDomain;
  readonly root: CertificateAuthority;
  readonly issuer: CertificateAuthority;
  readonly bundle: TrustBundle;
}

/** Makes a trust domain with real keys. */
export function testDomain(name: string, world: IssuerWorld = testWorld()): TestDomain {
  const trustDomain = valueOf(parseTrustDomain(name));
  const root = createRoot({ trustDomain, privateKey: generateP256().privateKey }, world);
  const issuer = createIntermediate(root, { privateKey: generateP256().privateKey }, world);
  const bundle = valueOf(parseTrustBundle(trustDomain, [root.certificate.der]));
  return { trustDomain, root, issuer, bundle };
}

/** Issues an SVID as the control plane would. */
export function testSvid(
  issuer: CertificateAuthority,
  id: string,
  keys: KeyPair = generateP256(),
  world: IssuerWorld = testWorld(),
): IssuedSvid {
  const proof = valueOf(parseCertificateRequest(buildCertificateRequest(keys.privateKey)));
  return valueOf(issueSvid(issuer, { proof, spiffeId: testId(id) }, world));
}

/** A SPIFFE ID that is known to be one. */
export function testId(text: string): SpiffeId {
  return valueOf(parseSpiffeId(text));
}

/** The extensions of a good leaf with this URI. */
export function leafExtensions(issuer: CertificateAuthority, ...uris: string[]): CertificateExtension[] {
  return [
    endEntityConstraints(),
    keyUsageExtension(["digitalSignature"]),
    extendedKeyUsageExtension([objectIdentifier.serverAuth, objectIdentifier.clientAuth]),
    uriNamesExtension(uris),
    authorityKeyIdExtension(issuer.certificate.publicKeyInfo),
  ];
}

/** Signs a certificate that says anything at all; what is not given is as in a good leaf. */
export function forge(
  issuer: CertificateAuthority,
  content: Partial<CertificateContent> & Pick<CertificateContent, "extensions">,
  keys: KeyPair = generateP256(),
): Uint8Array {
  return buildCertificate(
    {
      serial: Uint8Array.of(0x40, ...randomBytes(15)),
      issuer: issuer.certificate.subject.der,
      subject: distinguishedName("Troth"),
      notBeforeSeconds: testNowSeconds - 10,
      notAfterSeconds: testNowSeconds + 3600,
      publicKeyInfo: exportPublicKey(keys.publicKey),
      ...content,
    },
    issuer.privateKey,
  );
}

/** The value of a result that must be one. */
export function valueOf<Value>(
  result: { readonly ok: true; readonly value: Value } | { readonly ok: false; readonly reason: string },
): Value {
  if (!result.ok) throw new Error(`refused: ${result.reason}`);
  return result.value;
}
