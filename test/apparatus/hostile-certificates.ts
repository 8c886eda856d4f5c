import type { KeyObject } from "node:crypto";
import { randomBytes, systemClock } from "../../src/cli/system.ts";
import {
  buildCertificateRequest,
  generateP256,
  importPrivateKey,
  parseCertificateRequest,
  pemOfPrivateKey,
} from "../../src/crypto/index.ts";
import {
  type CertificateAuthority,
  issueSvid,
  openAuthority,
  parseServiceName,
  parseTrustDomain,
  type WorkloadMetadata,
} from "../../src/identity/index.ts";
import { forge, leafExtensions, testDomain, testId, valueOf } from "../../src/identity/svid-for-tests.ts";
import { openFileKeyStore } from "../../src/storage/index.ts";
import { pemOfCertificate } from "../../src/transport/index.ts";
import type { RunningMesh } from "./running-mesh.ts";

/** What a TLS client shows; nothing at all when empty. */
export interface Credentials {
  readonly cert?: string;
  readonly key?: string;
}

const lifetimeSecondsDefault = 600;
const world = { clock: systemClock, randomBytes };

/** The mesh's own issuing CA with its key, as a thief of the control plane's key store has it. */
export async function stealAuthority(mesh: RunningMesh): Promise<CertificateAuthority> {
  const keyStore = await openFileKeyStore(mesh.directory.controlPlaneKeys);
  const key = await keyStore.load("ca-intermediate");
  const certificate = await keyStore.load("ca-intermediate-certificate");
  if (key === undefined || certificate === undefined) throw new Error("no CA in the key store");
  return openAuthority(
    valueOf(parseTrustDomain(mesh.domain.trustDomain)),
    certificate,
    importPrivateKey(key),
  );
}

/** A CA of one's own: for the trust domain of that name, though nobody trusts it. */
export function ownAuthority(trustDomain: string): CertificateAuthority {
  return testDomain(trustDomain, world).issuer;
}

/** A certificate that looks like one of an instance and says these URIs. */
export function leafWithUris(issuer: CertificateAuthority, ...uris: readonly string[]): Credentials {
  const keys = generateP256();
  const now = Math.floor(systemClock.nowSeconds());
  const content = {
    extensions: leafExtensions(issuer, ...uris),
    notBeforeSeconds: now - 10,
    notAfterSeconds: now + lifetimeSecondsDefault,
  };
  return credentialsOf([forge(issuer, content, keys), ...issuer.presentedIssuers], keys.privateKey);
}

/** A certificate exactly as the control plane would issue it, but that no entry names. */
export function unloggedSvid(
  issuer: CertificateAuthority,
  about: { readonly service: string; readonly instance: string; readonly lifetimeSeconds?: number },
): Credentials {
  const { privateKey } = generateP256();
  const service = valueOf(parseServiceName(about.service));
  const metadata: WorkloadMetadata = { instance: about.instance, service, node: "local", labels: {} };
  const svid = valueOf(
    issueSvid(
      issuer,
      {
        proof: valueOf(parseCertificateRequest(buildCertificateRequest(privateKey))),
        spiffeId: testId(`spiffe://${issuer.trustDomain}${about.service}`),
        metadata,
        lifetimeSeconds: about.lifetimeSeconds ?? lifetimeSecondsDefault,
      },
      world,
    ),
  );
  return credentialsOf(svid.chain, privateKey);
}

/** The CA's own certificate, shown as if it were an instance's. */
export function authorityAsLeaf({ certificate, privateKey }: CertificateAuthority): Credentials {
  return credentialsOf([certificate.der], privateKey);
}

/** Certificates in DER, leaf first, and the leaf's key as TLS takes them. */
export function credentialsOf(chain: readonly Uint8Array[], privateKey: KeyObject): Credentials {
  return { cert: chain.map(pemOfCertificate).join(""), key: pemOfPrivateKey(privateKey) };
}
