import { createPublicKey, type KeyObject } from "node:crypto";
import { hexOf, sameBytes } from "../base/bytes.ts";
import type { Clock, RandomBytes } from "../base/clock.ts";
import { MeshError } from "../base/mesh-error.ts";
import { fail, ok, type Result } from "../base/result.ts";
import {
  authorityConstraints,
  buildAuthorityRequest,
  buildCertificate,
  type CertificateExtension,
  type CertificateRequest,
  distinguishedName,
  endEntityConstraints,
  exportPublicKey,
  extendedKeyUsageExtension,
  isSignedBy,
  issuerKeyIdExtension,
  keyUsageExtension,
  objectIdentifier,
  type ParsedCertificate,
  parseCertificate,
  subjectKeyIdExtension,
  uriHostConstraint,
  uriNamesExtension,
} from "../crypto/index.ts";
import type { ValidityPeriod } from "./rotation.ts";
import {
  pathOf,
  type SpiffeId,
  spiffeIdOfTrustDomain,
  type TrustDomain,
  trustDomainOf,
} from "./spiffe-id.ts";
import { svidBackdateSeconds, svidLifetimeSecondsMax } from "./svid-limits.ts";
import { isAuthority } from "./trust-bundle.ts";
import {
  encodeWorkloadMetadata,
  longMetadataOid,
  parseWorkloadMetadata,
  type WorkloadMetadata,
  workloadMetadataOid,
} from "./workload-metadata.ts";

/** A CA of one trust domain that can sign. */
export interface CertificateAuthority {
  readonly trustDomain: TrustDomain;
  readonly certificate: ParsedCertificate;
  readonly privateKey: KeyObject;
  /** What a peer needs between an SVID and the trust bundle: this CA's certificate unless it is a root itself (DER). */
  readonly presentedIssuers: readonly Uint8Array[];
}

/** Where an issuer gets time and serial numbers from. */
export interface IssuerWorld {
  readonly clock: Clock;
  readonly randomBytes: RandomBytes;
}

/** A CA that is to be made for a key from the key store (P-256). */
export interface AuthorityRequest {
  readonly trustDomain: TrustDomain;
  readonly privateKey: KeyObject;
  readonly lifetimeSeconds?: number;
}

/** An SVID that is to be issued; all of it decided by the caller, nothing but the key taken from the request. */
export interface SvidRequest {
  readonly proof: CertificateRequest;
  readonly spiffeId: SpiffeId;
  /** Absent for the mesh's own parts. */
  readonly metadata?: WorkloadMetadata;
  /** Whether peers are about that know the metadata by its long identifier alone. */
  readonly hasOlderPeers?: boolean;
  readonly lifetimeSeconds?: number;
}

/** An issued X.509-SVID. */
export interface IssuedSvid {
  /** DER. */
  readonly certificate: Uint8Array;
  /** The SVID, then what a peer needs to reach the trust bundle (DER). */
  readonly chain: readonly Uint8Array[];
  /** Hexadecimal. */
  readonly serial: string;
  /** Of the CA's key, hexadecimal; absent where its certificate does not say. */
  readonly authorityKeyId: string | undefined;
  readonly notBeforeSeconds: number;
  readonly notAfterSeconds: number;
}

/** Why an SVID is not issued. */
export type IssuanceRefusal =
  | "other-trust-domain"
  | "no-path"
  | "bad-lifetime"
  | "authority-expired"
  | "malformed-metadata"
  | "other-service";

/** How long a root is valid unless told otherwise: ten years. */
export const rootLifetimeSecondsDefault = 3650 * 86_400;

/** How long an intermediate CA is valid unless told otherwise: 90 days. */
export const intermediateLifetimeSecondsDefault = 90 * 86_400;

/** How long an SVID is valid unless told otherwise: one hour. */
export const svidLifetimeSecondsDefault = 3600;

const serialBytes = 16;
const commonNameCharactersMax = 64;
const organization = "Troth";

/** Makes the self-signed root of a trust domain; one CA may stand below it, names outside the domain may not. */
export function createRoot(request: AuthorityRequest, world: IssuerWorld): CertificateAuthority {
  // As a name constraint a leading dot would permit every domain below.
  if (request.trustDomain.startsWith(".")) {
    throw new MeshError("ERR_IDENTITY_AUTHORITY", "a trust domain with a leading dot has no CA");
  }
  const name = distinguishedName(organization, `root ${hexOf(world.randomBytes(8))}`);
  const keyInfo = exportPublicKey(request.privateKey);
  const period = periodOf(request.lifetimeSeconds ?? rootLifetimeSecondsDefault, world.clock.nowSeconds());
  const der = buildCertificate(
    {
      serial: newSerial(world.randomBytes),
      issuer: name,
      subject: name,
      ...period,
      publicKeyInfo: keyInfo,
      extensions: authorityExtensions({ trustDomain: request.trustDomain, pathLength: 1, keyInfo }),
    },
    request.privateKey,
  );
  return openAuthority(request.trustDomain, der, request.privateKey);
}

/** Makes an intermediate CA under a root of the same trust domain; it issues SVIDs and no further CA. */
export function createIntermediate(
  root: CertificateAuthority,
  request: Omit<AuthorityRequest, "trustDomain">,
  world: IssuerWorld,
): CertificateAuthority {
  const { trustDomain } = root;
  const keyInfo = exportPublicKey(request.privateKey);
  const period = periodOf(
    request.lifetimeSeconds ?? intermediateLifetimeSecondsDefault,
    world.clock.nowSeconds(),
  );
  const der = buildCertificate(
    {
      serial: newSerial(world.randomBytes),
      issuer: root.certificate.subject.der,
      subject: distinguishedName(organization, `issuer ${hexOf(world.randomBytes(8))}`),
      notBeforeSeconds: period.notBeforeSeconds,
      notAfterSeconds: Math.min(period.notAfterSeconds, root.certificate.notAfterSeconds),
      publicKeyInfo: keyInfo,
      extensions: [
        ...authorityExtensions({ trustDomain, pathLength: 0, keyInfo }),
        issuerKeyIdExtension(root.certificate),
      ],
    },
    root.privateKey,
  );
  return openAuthority(trustDomain, der, request.privateKey);
}

/** The request (PKCS#10, DER) by which a root elsewhere makes an intermediate CA of a key. */
export function requestIntermediate(
  { trustDomain, privateKey }: Pick<AuthorityRequest, "trustDomain" | "privateKey">,
  randomBytes: RandomBytes,
): Uint8Array {
  const keyInfo = exportPublicKey(privateKey);
  return buildAuthorityRequest(privateKey, {
    subject: distinguishedName(organization, `issuer ${hexOf(randomBytes(8))}`),
    extensions: authorityExtensions({ trustDomain, pathLength: 0, keyInfo }),
  });
}

/** A CA from what the key store kept; throws unless the certificate is a CA's for this very key. */
export function openAuthority(
  trustDomain: TrustDomain,
  certificateDer: Uint8Array,
  privateKey: KeyObject,
): CertificateAuthority {
  const parsed = parseCertificate(certificateDer);
  if (!parsed.ok) throw new MeshError("ERR_IDENTITY_AUTHORITY", `${parsed.reason}: ${parsed.detail}`);
  const certificate = parsed.value;
  if (!isAuthority(certificate)) throw new MeshError("ERR_IDENTITY_AUTHORITY", "not a CA certificate");
  const isRoot = isSignedBy(certificate, createPublicKey(privateKey));
  // A root that was made elsewhere need name nothing: what it signs for this domain does.
  const isBareRoot = isRoot && certificate.uriNames.length === 0;
  if (!isBareRoot && !certificate.uriNames.includes(spiffeIdOfTrustDomain(trustDomain))) {
    throw new MeshError("ERR_IDENTITY_AUTHORITY", `not a CA of ${trustDomain}`);
  }
  if (!sameBytes(exportPublicKey(privateKey), certificate.publicKeyInfo)) {
    throw new MeshError("ERR_IDENTITY_AUTHORITY", "certificate and private key do not belong together");
  }
  return { trustDomain, certificate, privateKey, presentedIssuers: isRoot ? [] : [certificate.der] };
}

/**
 * Issues an X.509-SVID (SPIFFE X509-SVID sections 2 to 4, S2 for metadata and the bound of 24 hours). It begins ten
 * seconds ago, for clocks that lag, and never outlives its issuer.
 */
export function issueSvid(
  authority: CertificateAuthority,
  request: SvidRequest,
  world: IssuerWorld,
): Result<IssuedSvid, IssuanceRefusal> {
  const { spiffeId, proof } = request;
  const lifetimeSeconds = request.lifetimeSeconds ?? svidLifetimeSecondsDefault;
  const path = pathOf(spiffeId);
  if (trustDomainOf(spiffeId) !== authority.trustDomain) return fail("other-trust-domain", spiffeId);
  if (path === "") return fail("no-path", spiffeId);
  if (!(lifetimeSeconds >= 1 && lifetimeSeconds <= svidLifetimeSecondsMax)) {
    return fail("bad-lifetime", `${lifetimeSeconds} s`);
  }
  const extension = metadataExtension(request, path);
  if (!extension.ok) return extension;

  const issuer = authority.certificate;
  const nowSeconds = world.clock.nowSeconds();
  const period = periodOf(lifetimeSeconds, nowSeconds);
  if (nowSeconds > issuer.notAfterSeconds || nowSeconds < issuer.notBeforeSeconds) {
    return fail("authority-expired");
  }
  const notBeforeSeconds = Math.max(period.notBeforeSeconds, issuer.notBeforeSeconds);
  const notAfterSeconds = Math.min(period.notAfterSeconds, issuer.notAfterSeconds);
  const serial = newSerial(world.randomBytes);
  const certificate = buildCertificate(
    {
      serial,
      issuer: issuer.subject.der,
      subject: distinguishedName(organization, path.length <= commonNameCharactersMax ? path : undefined),
      notBeforeSeconds,
      notAfterSeconds,
      publicKeyInfo: proof.publicKeyInfo,
      extensions: [...svidExtensions(spiffeId, proof, issuer), ...extension.value],
    },
    authority.privateKey,
  );
  const chain = [certificate, ...authority.presentedIssuers];
  const authorityKeyId = issuer.subjectKeyId;
  return ok({
    certificate,
    chain,
    serial: hexOf(serial),
    authorityKeyId,
    notBeforeSeconds,
    notAfterSeconds,
  });
}

function svidExtensions(
  spiffeId: SpiffeId,
  proof: CertificateRequest,
  issuer: ParsedCertificate,
): readonly CertificateExtension[] {
  return [
    endEntityConstraints(),
    keyUsageExtension(["digitalSignature"]),
    extendedKeyUsageExtension([objectIdentifier.serverAuth, objectIdentifier.clientAuth]),
    uriNamesExtension([spiffeId]),
    subjectKeyIdExtension(proof.publicKeyInfo),
    issuerKeyIdExtension(issuer),
  ];
}

function metadataExtension(
  { metadata, hasOlderPeers = false }: SvidRequest,
  path: string,
): Result<readonly CertificateExtension[], "malformed-metadata" | "other-service"> {
  if (metadata === undefined) return ok([]);
  if (metadata.service !== path) return fail("other-service", `${metadata.service} under ${path}`);
  const value = encodeWorkloadMetadata(metadata);
  // Read back, so that nothing is issued which every peer would refuse.
  const readBack = parseWorkloadMetadata(value);
  return readBack.ok
    ? ok([{ oid: hasOlderPeers ? longMetadataOid : workloadMetadataOid, critical: false, value }])
    : readBack;
}

function authorityExtensions(authority: {
  readonly trustDomain: TrustDomain;
  readonly pathLength: number;
  readonly keyInfo: Uint8Array;
}): readonly CertificateExtension[] {
  return [
    authorityConstraints(authority.pathLength),
    keyUsageExtension(["keyCertSign", "cRLSign"]),
    uriNamesExtension([spiffeIdOfTrustDomain(authority.trustDomain)]),
    uriHostConstraint(authority.trustDomain),
    subjectKeyIdExtension(authority.keyInfo),
  ];
}

function periodOf(lifetimeSeconds: number, nowSeconds: number): ValidityPeriod {
  const startSeconds = Math.floor(nowSeconds);
  return {
    notBeforeSeconds: startSeconds - svidBackdateSeconds,
    notAfterSeconds: startSeconds + Math.floor(lifetimeSeconds),
  };
}

/** 126 random bits with the two highest of 128 set to 01: positive, and always 16 bytes long. */
function newSerial(randomBytes: RandomBytes): Uint8Array {
  const serial = Uint8Array.from(randomBytes(serialBytes));
  serial[0] = ((serial[0] ?? 0) & 0x3f) | 0x40;
  return serial;
}
