import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { randomBytes, systemClock } from "../../src/cli/system.ts";
import {
  authorityConstraints,
  authorityKeyIdExtension,
  buildCertificate,
  type CertificateExtension,
  distinguishedName,
  endEntityConstraints,
  exportPublicKey,
  extendedKeyUsageExtension,
  generateP256,
  type KeyPair,
  keyUsageExtension,
  objectIdentifier,
  pemOfPrivateKey,
  subjectKeyIdExtension,
  uriNamesExtension,
} from "../../src/crypto/index.ts";
import { pemOfCertificate } from "../../src/transport/index.ts";
import type { Credentials } from "../../test/apparatus/hostile-certificates.ts";

const lifetimeSeconds = 24 * 3600;
const backdateSeconds = 60;

/** The name in every leaf certificate, as common name. */
export const leafName = "bench.internal";

/** The URI in every leaf certificate. */
export const leafUri = "spiffe://bench.internal/proxy";

/** Files that proxies are configured with: P-256 certificates of one CA for tests, with an intermediate as in Troth. */
export interface TestAuthority {
  /** The root, PEM. */
  readonly rootFile: string;
  /** Leaf and intermediate, PEM. */
  readonly chainFile: string;
  /** The leaf's private key, PKCS#8 PEM. */
  readonly keyFile: string;
  /** The last two in one file, as HAProxy wants them. */
  readonly bundleFile: string;
  /** What a client of a proxy shows. */
  readonly credentials: Required<Credentials>;
}

/** Makes a CA that lives for a day, and one leaf that both proxies of a pair show. */
export function makeTestAuthority(folder: string): TestAuthority {
  mkdirSync(folder, { recursive: true });
  const root = { name: distinguishedName("Bench", "root"), keys: generateP256() };
  const intermediate = { name: distinguishedName("Bench", "intermediate"), keys: generateP256() };
  const leaf = { name: distinguishedName("Bench", leafName), keys: generateP256() };
  const cert =
    certify(leaf, intermediate, [
      endEntityConstraints(),
      keyUsageExtension(["digitalSignature"]),
      extendedKeyUsageExtension([objectIdentifier.serverAuth, objectIdentifier.clientAuth]),
      uriNamesExtension([leafUri]),
    ]) + certify(intermediate, root, [authorityConstraints(0), keyUsageExtension(["keyCertSign"])]);
  const key = pemOfPrivateKey(leaf.keys.privateKey);
  const write = (name: string, text: string): string => {
    const path = join(folder, name);
    writeFileSync(path, text, { mode: 0o600 });
    return path;
  };
  return {
    rootFile: write(
      "root.pem",
      certify(root, root, [authorityConstraints(1), keyUsageExtension(["keyCertSign"])]),
    ),
    chainFile: write("chain.pem", cert),
    keyFile: write("key.pem", key),
    bundleFile: write("bundle.pem", cert + key),
    credentials: { cert, key },
  };
}

interface Party {
  readonly name: Uint8Array;
  readonly keys: KeyPair;
}

function certify(subject: Party, issuer: Party, extensions: readonly CertificateExtension[]): string {
  const now = Math.floor(systemClock.nowSeconds());
  const serial = randomBytes(16);
  // Positive, and of as many bytes as were drawn.
  serial[0] = ((serial[0] ?? 0) & 0x3f) | 0x40;
  const publicKeyInfo = exportPublicKey(subject.keys.publicKey);
  const der = buildCertificate(
    {
      serial,
      issuer: issuer.name,
      subject: subject.name,
      notBeforeSeconds: now - backdateSeconds,
      notAfterSeconds: now + lifetimeSeconds,
      publicKeyInfo,
      extensions: [
        ...extensions,
        subjectKeyIdExtension(publicKeyInfo),
        authorityKeyIdExtension(exportPublicKey(issuer.keys.publicKey)),
      ],
    },
    issuer.keys.privateKey,
  );
  return pemOfCertificate(der);
}
