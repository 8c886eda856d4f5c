import type { KeyObject } from "node:crypto";
import { base64Of } from "../base/bytes.ts";
import type { RandomBytes } from "../base/clock.ts";
import { buildSelfSignedCertificate, distinguishedName, pemOfPrivateKey } from "../crypto/index.ts";

/** What `node:tls` takes to show a key that the trust log knows. */
export interface TlsIdentity {
  readonly certificatePem: string;
  readonly privateKeyPem: string;
}

// The certificate says nothing but the key, and the trust log says how long that counts (RFC 5280 §4.1.2.5).
const withoutEndSeconds = 253_402_300_799;

/** Wraps an Ed25519 key into the self-signed certificate by which its holder shows it in TLS. */
export function tlsIdentityOf(privateKey: KeyObject, randomBytes: RandomBytes): TlsIdentity {
  const serial = randomBytes(16);
  serial[0] = ((serial[0] ?? 0) & 0x7f) | 0x40;
  const der = buildSelfSignedCertificate(
    { serial, subject: distinguishedName("Troth"), notBeforeSeconds: 0, notAfterSeconds: withoutEndSeconds },
    privateKey,
  );
  return { certificatePem: pemOfCertificate(der), privateKeyPem: pemOfPrivateKey(privateKey) };
}

/** A certificate in PEM (RFC 7468). */
export function pemOfCertificate(der: Uint8Array): string {
  const lines = base64Of(der).match(/.{1,64}/g) ?? [];
  return `-----BEGIN CERTIFICATE-----\n${lines.join("\n")}\n-----END CERTIFICATE-----\n`;
}
