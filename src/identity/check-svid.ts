import type { KeyObject } from "node:crypto";
import { fail, ok, type Refusal, type Result } from "../base/result.ts";
import { objectIdentifier, type ParsedCertificate, parseCertificate } from "../crypto/index.ts";
import {
  type CertificatePathRefusal,
  checkCertificatePath,
  handledExtensions,
} from "./check-certificate-path.ts";
import { type ServiceName, serviceNameOfSpiffeId } from "./service-name.ts";
import { parseSpiffeId, pathOf, type SpiffeId, type TrustDomain, trustDomainOf } from "./spiffe-id.ts";
import { svidBackdateSeconds, svidLifetimeSecondsMax } from "./svid-limits.ts";
import type { TrustBundles } from "./trust-bundle.ts";
import {
  longMetadataOid,
  parseWorkloadMetadata,
  type WorkloadMetadata,
  workloadMetadataOid,
} from "./workload-metadata.ts";

declare const checked: unique symbol;

/** An X.509-SVID that holds at the moment of its check; registration and revocation are judged elsewhere. */
export interface CheckedSvid {
  readonly spiffeId: SpiffeId;
  readonly trustDomain: TrustDomain;
  /** Absent for the mesh's own parts and for foreign IDs that name no service. */
  readonly serviceName: ServiceName | undefined;
  readonly metadata: WorkloadMetadata | undefined;
  /**
   * SHA-256 of the DER, hexadecimal: good for allowing, not for revoking, since whoever holds an ECDSA-signed
   * certificate can write a twin with the other of its two valid signatures. Revoke by issuer and serial.
   */
  readonly sha256: string;
  /** Hexadecimal; one of a kind within one issuer. */
  readonly serial: string;
  /** Hexadecimal, of the issuer's key; absent where the certificate does not say. */
  readonly authorityKeyId: string | undefined;
  readonly notBeforeSeconds: number;
  /** The last second in which it is valid. */
  readonly notAfterSeconds: number;
  /** The seconds in which it and all CAs of the path that was found are valid, the last one as a whole. */
  readonly pathNotBeforeSeconds: number;
  readonly pathNotAfterSeconds: number;
  readonly publicKey: KeyObject;
  /** SubjectPublicKeyInfo DER. */
  readonly publicKeyInfo: Uint8Array;
  readonly [checked]: true;
}

/** Why a presented certificate chain is not accepted as an X.509-SVID. */
export type SvidRefusal =
  | "no-certificate"
  | "too-many-certificates"
  | "certificates-too-large"
  | "malformed-certificate"
  | "weak-key"
  | "not-a-leaf"
  | "bad-key-usage"
  | "bad-extended-key-usage"
  | "unknown-critical-extension"
  | "no-uri-san"
  | "several-uri-sans"
  | "bad-spiffe-id"
  | "no-path"
  | "bad-metadata"
  | "unknown-trust-domain"
  | "lifetime-too-long"
  | CertificatePathRefusal;

/** How many certificates a peer may present: the SVID and three CAs. */
export const presentedCertificatesMax = 4;

/** How many bytes of certificates a peer may present. */
export const presentedBytesMax = 32_768;

/**
 * Checks what a peer presented, leaf first (SPIFFE X509-SVID section 5, RFC 5280 section 6). The order is: size and
 * form of the leaf, which need no key; then its trust domain, whose bundle alone counts; then the path up to that
 * bundle with its signatures; times last. So a stranger causes no signature check before a bundle is found and none
 * under a key nobody vouched for, and "expired" is said only of what was once valid. Never throws.
 */
export function checkSvid(
  chain: readonly Uint8Array[],
  bundles: TrustBundles,
  nowSeconds: number,
): Result<CheckedSvid, SvidRefusal> {
  const presented = readLeaf(chain);
  if (!presented.ok) return presented;
  const leaf = presented.value;
  const formRefusal = leafFormRefusal(leaf);
  if (formRefusal !== undefined) return formRefusal;
  const id = leafSpiffeId(leaf);
  if (!id.ok) return id;
  const metadata = leafMetadata(leaf, id.value);
  if (!metadata.ok) return metadata;

  const trustDomain = trustDomainOf(id.value);
  const authorities = bundles.get(trustDomain)?.authorities ?? [];
  if (authorities.length === 0) return fail("unknown-trust-domain", trustDomain);

  const intermediates = readIntermediates(chain.slice(1));
  if (!intermediates.ok) return intermediates;
  const path = checkCertificatePath({ leaf, intermediates: intermediates.value, authorities, nowSeconds });
  if (!path.ok) return path;
  const lifetimeSeconds = leaf.notAfterSeconds - leaf.notBeforeSeconds;
  if (lifetimeSeconds > svidLifetimeSecondsMax + svidBackdateSeconds) {
    return fail("lifetime-too-long", `${lifetimeSeconds} s`);
  }

  const svid = {
    spiffeId: id.value,
    trustDomain,
    serviceName: serviceNameOfSpiffeId(id.value),
    metadata: metadata.value,
    sha256: leaf.sha256,
    serial: leaf.serial,
    authorityKeyId: leaf.authorityKeyId,
    notBeforeSeconds: leaf.notBeforeSeconds,
    notAfterSeconds: leaf.notAfterSeconds,
    pathNotBeforeSeconds: Math.max(...path.value.map(({ notBeforeSeconds }) => notBeforeSeconds)),
    pathNotAfterSeconds: Math.min(...path.value.map(({ notAfterSeconds }) => notAfterSeconds)),
    publicKey: leaf.publicKey,
    publicKeyInfo: leaf.publicKeyInfo,
  };
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- the one place where every check has passed
  return ok(svid as CheckedSvid);
}

type CertificateReadRefusal = "malformed-certificate" | "weak-key";

function readLeaf(
  chain: readonly Uint8Array[],
): Result<
  ParsedCertificate,
  "no-certificate" | "too-many-certificates" | "certificates-too-large" | CertificateReadRefusal
> {
  const [leaf] = chain;
  if (leaf === undefined || leaf.byteLength === 0) return fail("no-certificate");
  if (chain.length > presentedCertificatesMax) {
    return fail("too-many-certificates", `${chain.length} certificates`);
  }
  const bytes = chain.reduce((sum, der) => sum + der.byteLength, 0);
  if (bytes > presentedBytesMax) return fail("certificates-too-large", `${bytes} bytes`);
  return readCertificate(leaf);
}

function readIntermediates(
  chain: readonly Uint8Array[],
): Result<readonly ParsedCertificate[], CertificateReadRefusal> {
  const certificates: ParsedCertificate[] = [];
  for (const der of chain) {
    const certificate = readCertificate(der);
    if (!certificate.ok) return certificate;
    certificates.push(certificate.value);
  }
  return ok(certificates);
}

function readCertificate(der: Uint8Array): Result<ParsedCertificate, CertificateReadRefusal> {
  const parsed = parseCertificate(der);
  if (parsed.ok) return parsed;
  if (parsed.reason === "unsupported-key") return fail("weak-key", parsed.detail);
  return fail("malformed-certificate", `${parsed.reason}: ${parsed.detail}`);
}

/** SPIFFE X509-SVID sections 4 and 5.2. */
function leafFormRefusal(leaf: ParsedCertificate): Refusal<SvidRefusal> | undefined {
  const { keyUsage, extendedKeyUsage } = leaf;
  if (leaf.basicConstraints?.isCa === true) return fail("not-a-leaf", "cA is set");
  if (keyUsage === undefined) return fail("bad-key-usage", "absent");
  if (keyUsage.has("keyCertSign") || keyUsage.has("cRLSign")) {
    return fail("not-a-leaf", "may sign certificates or revocation lists");
  }
  if (!keyUsage.has("digitalSignature")) return fail("bad-key-usage", "digitalSignature is not set");
  if (leaf.extensions.get(objectIdentifier.keyUsage)?.critical !== true) {
    return fail("bad-key-usage", "not critical");
  }
  const { serverAuth, clientAuth } = objectIdentifier;
  const isForTls = extendedKeyUsage?.includes(serverAuth) === true && extendedKeyUsage.includes(clientAuth);
  if (extendedKeyUsage !== undefined && !isForTls) {
    return fail("bad-extended-key-usage", "serverAuth and clientAuth are not both there");
  }
  for (const { oid, critical } of leaf.extensions.values()) {
    if (critical && !handledExtensions.has(oid) && oid !== workloadMetadataOid && oid !== longMetadataOid) {
      return fail("unknown-critical-extension", oid);
    }
  }
  return undefined;
}

function leafSpiffeId(
  leaf: ParsedCertificate,
): Result<SpiffeId, "no-uri-san" | "several-uri-sans" | "bad-spiffe-id" | "no-path"> {
  const [uri, ...others] = leaf.uriNames;
  if (uri === undefined) return fail("no-uri-san");
  if (others.length > 0) return fail("several-uri-sans", `${leaf.uriNames.length} URIs`);
  const id = parseSpiffeId(uri);
  if (!id.ok) return fail("bad-spiffe-id", `${id.reason}: ${id.detail}`);
  return pathOf(id.value) === "" ? fail("no-path", id.value) : id;
}

function leafMetadata(
  leaf: ParsedCertificate,
  id: SpiffeId,
): Result<WorkloadMetadata | undefined, "bad-metadata"> {
  const extension = leaf.extensions.get(workloadMetadataOid) ?? leaf.extensions.get(longMetadataOid);
  if (extension === undefined) return ok(undefined);
  const metadata = parseWorkloadMetadata(extension.value);
  if (!metadata.ok) return fail("bad-metadata", metadata.detail);
  if (metadata.value.service !== pathOf(id))
    return fail("bad-metadata", "service is not that of the SPIFFE ID");
  return metadata;
}
