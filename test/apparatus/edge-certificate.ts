import { randomBytes, X509Certificate } from "node:crypto";
import {
  authorityConstraints,
  buildCertificate,
  distinguishedName,
  exportPublicKey,
  generateP256,
  objectIdentifier,
  pemOfPrivateKey,
  subjectKeyIdExtension,
} from "../../src/crypto/index.ts";
import { pemOfCertificate } from "../../src/transport/index.ts";

const lifetimeSeconds = 24 * 3600;
const dnsNameTag = 0x82;
const sequenceTag = 0x30;

/** An ordinary certificate for hosts, as the web knows them, with its key. */
export interface EdgeCertificateForTests {
  /** PEM; it signs itself, so a client that trusts it names it as its CA. */
  readonly chainPem: string;
  readonly keyPem: string;
  /** As `getPeerCertificate` writes it. */
  readonly fingerprint256: string;
}

/** Makes a certificate for hosts that lives for a day. */
export function edgeCertificate(...hosts: readonly string[]): EdgeCertificateForTests {
  const { privateKey, publicKey } = generateP256();
  const publicKeyInfo = exportPublicKey(publicKey);
  const nowSeconds = Math.floor(Date.now() / 1000);
  const serial = Uint8Array.from(randomBytes(16));
  // Positive, and of as many bytes as were drawn.
  serial[0] = ((serial[0] ?? 0) & 0x3f) | 0x40;
  // Of its own, or a client that trusts several would take one for the issuer of another.
  const name = distinguishedName(`Edge ${Buffer.from(serial).toString("hex")}`, hosts[0]);
  const names = Buffer.concat(hosts.map((host) => der(dnsNameTag, Buffer.from(host, "latin1"))));
  const certificate = buildCertificate(
    {
      serial,
      issuer: name,
      subject: name,
      notBeforeSeconds: nowSeconds - 60,
      notAfterSeconds: nowSeconds + lifetimeSeconds,
      publicKeyInfo,
      extensions: [
        authorityConstraints(0),
        subjectKeyIdExtension(publicKeyInfo),
        { oid: objectIdentifier.subjectAlternativeName, critical: false, value: der(sequenceTag, names) },
      ],
    },
    privateKey,
  );
  return {
    chainPem: pemOfCertificate(certificate),
    keyPem: pemOfPrivateKey(privateKey),
    fingerprint256: new X509Certificate(certificate).fingerprint256,
  };
}

/** A DER value of fewer than 128 bytes. */
function der(tag: number, content: Uint8Array): Uint8Array {
  return Uint8Array.from([tag, content.length, ...content]);
}
