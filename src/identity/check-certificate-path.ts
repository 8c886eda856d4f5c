import { hexOf, sameBytes } from "../base/bytes.ts";
import { fail, ok, type Refusal, type Result } from "../base/result.ts";
import { isSignedBy, objectIdentifier, type ParsedCertificate, sha256 } from "../crypto/index.ts";
import { nameConstraintRefusal } from "./name-constraints.ts";
import { isAuthority } from "./trust-bundle.ts";

/** A leaf and what may lead from it to a CA that is trusted. */
export interface CertificatePathQuestion {
  readonly leaf: ParsedCertificate;
  /** As presented, in any order. */
  readonly intermediates: readonly ParsedCertificate[];
  /** The bundle of the leaf's own trust domain. */
  readonly authorities: readonly ParsedCertificate[];
  /** Keys of CAs that were revoked: the SHA-256 of their SubjectPublicKeyInfo, hex. */
  readonly revokedKeys?: ReadonlySet<string> | undefined;
  readonly nowSeconds: number;
}

/** Why no path leads from a leaf to a trusted CA. */
export type CertificatePathRefusal =
  | "untrusted-issuer"
  | "bad-signature"
  | "issuer-not-an-authority"
  | "bad-extended-key-usage"
  | "unknown-critical-extension"
  | "path-too-long"
  | "name-constraint-violated"
  | "revoked-authority"
  | "expired"
  | "not-yet-valid";

/** The extensions that this folder obeys; any other that is critical is refused (RFC 5280 section 4.2). */
export const handledExtensions: ReadonlySet<string> = new Set([
  objectIdentifier.basicConstraints,
  objectIdentifier.keyUsage,
  objectIdentifier.extendedKeyUsage,
  objectIdentifier.subjectAlternativeName,
  objectIdentifier.nameConstraints,
  objectIdentifier.subjectKeyId,
  objectIdentifier.authorityKeyId,
]);

// Enough for a CA that is being replaced; a bound on what crafted names and key ids can cost.
const pathsTriedMax = 4;

/** From the leaf, first, to the trusted CA, last. */
type CertificatePath = readonly ParsedCertificate[];

/**
 * Finds a path from the leaf over presented CAs to a trusted one and checks all of it (RFC 5280 section 6.1, with
 * names compared as bytes, no policies, and self-issued CAs counted like others). Where several paths fail, the
 * reason is that of one whose signatures hold, if there is any.
 */
export function checkCertificatePath(
  question: CertificatePathQuestion,
): Result<CertificatePath, CertificatePathRefusal> {
  let refusal: Refusal<CertificatePathRefusal> = fail("untrusted-issuer", question.leaf.issuer.text);
  for (const path of pathsFrom([question.leaf], question).slice(0, pathsTriedMax)) {
    const failed = pathRefusal(path, question);
    if (failed === undefined) return ok(path);
    if (refusal.reason === "untrusted-issuer" || refusal.reason === "bad-signature") refusal = failed;
  }
  return refusal;
}

/** All paths by names and key ids alone; signatures cost too much to be checked for every guess. */
function pathsFrom(path: CertificatePath, question: CertificatePathQuestion): readonly CertificatePath[] {
  const last = path.at(-1);
  if (last === undefined) return [];
  const complete = question.authorities.filter((issuer) => claimsIssuer(last, issuer));
  const longer = question.intermediates.filter(
    (issuer) => !path.includes(issuer) && claimsIssuer(last, issuer),
  );
  return [
    ...complete.map((authority) => [...path, authority]),
    ...longer.flatMap((issuer) => pathsFrom([...path, issuer], question)),
  ];
}

function claimsIssuer(certificate: ParsedCertificate, issuer: ParsedCertificate): boolean {
  if (!sameBytes(certificate.issuer.der, issuer.subject.der)) return false;
  const { authorityKeyId } = certificate;
  const { subjectKeyId } = issuer;
  return authorityKeyId === undefined || subjectKeyId === undefined || authorityKeyId === subjectKeyId;
}

function pathRefusal(
  path: CertificatePath,
  { nowSeconds, revokedKeys }: CertificatePathQuestion,
): Refusal<CertificatePathRefusal> | undefined {
  return (
    signatureRefusal(path) ??
    revokedRefusal(path.slice(1), revokedKeys) ??
    authorityRefusal(path.slice(1)) ??
    nameConstraintRefusal(path) ??
    periodRefusal(path, nowSeconds)
  );
}

/** From the trusted CA down, so that no key is used before a trusted one has vouched for it. */
function signatureRefusal(path: CertificatePath): Refusal<CertificatePathRefusal> | undefined {
  for (let below = path.length - 2; below >= 0; below -= 1) {
    const certificate = path[below];
    const issuer = path[below + 1];
    if (certificate === undefined || issuer === undefined) return fail("bad-signature");
    if (!isAuthority(issuer)) return fail("issuer-not-an-authority", issuer.subject.text);
    if (!isSignedBy(certificate, issuer.publicKey)) return fail("bad-signature", certificate.subject.text);
  }
  return undefined;
}

/** By key, since whoever holds it can have it certified under any name and write twins of its certificate. */
function revokedRefusal(
  authorities: readonly ParsedCertificate[],
  revokedKeys: ReadonlySet<string> | undefined,
): Refusal<"revoked-authority"> | undefined {
  if (revokedKeys === undefined || revokedKeys.size === 0) return undefined;
  const revoked = authorities.find(({ publicKeyInfo }) => revokedKeys.has(hexOf(sha256(publicKeyInfo))));
  return revoked === undefined ? undefined : fail("revoked-authority", revoked.subject.text);
}

function authorityRefusal(
  authorities: readonly ParsedCertificate[],
): Refusal<CertificatePathRefusal> | undefined {
  for (const [authoritiesBelow, authority] of authorities.entries()) {
    const pathLength = authority.basicConstraints?.pathLength;
    if (pathLength !== undefined && authoritiesBelow > pathLength) {
      return fail("path-too-long", `${authoritiesBelow} CAs below ${authority.subject.text}`);
    }
    if (!mayIssueForTls(authority)) return fail("bad-extended-key-usage", authority.subject.text);
    for (const { oid, critical } of authority.extensions.values()) {
      if (critical && !handledExtensions.has(oid)) {
        return fail("unknown-critical-extension", `${oid} of ${authority.subject.text}`);
      }
    }
  }
  return undefined;
}

/** A CA's extended key usage, where it has one, bounds what is below it (as in OpenSSL, Go and CA/Browser rules). */
function mayIssueForTls({ extendedKeyUsage }: ParsedCertificate): boolean {
  if (extendedKeyUsage === undefined) return true;
  const { anyExtendedKeyUsage, serverAuth, clientAuth } = objectIdentifier;
  if (extendedKeyUsage.includes(anyExtendedKeyUsage)) return true;
  return extendedKeyUsage.includes(serverAuth) && extendedKeyUsage.includes(clientAuth);
}

function periodRefusal(
  path: CertificatePath,
  nowSeconds: number,
): Refusal<CertificatePathRefusal> | undefined {
  for (const { notBeforeSeconds, notAfterSeconds, subject } of path) {
    if (nowSeconds < notBeforeSeconds)
      return fail("not-yet-valid", `${subject.text} from ${notBeforeSeconds}`);
    // notAfter is the last valid second as a whole (RFC 5280 section 4.1.2.5).
    if (nowSeconds >= notAfterSeconds + 1)
      return fail("expired", `${subject.text} ended ${Math.floor(nowSeconds - notAfterSeconds)} s ago`);
  }
  return undefined;
}
