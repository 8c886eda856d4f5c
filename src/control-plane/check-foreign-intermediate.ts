import type { KeyObject } from "node:crypto";
import { hexOf } from "../base/bytes.ts";
import { messageOf } from "../base/mesh-error.ts";
import { fail, ok, type Result } from "../base/result.ts";
import { type ParsedCertificate, sha256 } from "../crypto/index.ts";
import {
  type CertificateAuthority,
  type IssuerWorld,
  openAuthority,
  parseTrustBundle,
  type TrustDomain,
} from "../identity/index.ts";
import { authoritiesUnder, certificateAuthoritiesOf, type TrustState } from "../trust-log/index.ts";
import { checkSample } from "./check-sample.ts";

/** Why a certificate that was made elsewhere is not one to issue by. */
export type ForeignIntermediateRefusal = "not-prepared-here" | "unfit-certificate";

/** Whether peers would accept what this certificate's key signs: one is signed, and checked as they do. */
export function checkForeignIntermediate(
  intermediate: {
    readonly trustDomain: TrustDomain;
    readonly certificate: ParsedCertificate;
    readonly privateKey: KeyObject;
  },
  state: TrustState,
  world: IssuerWorld,
): Result<CertificateAuthority, ForeignIntermediateRefusal> {
  const { trustDomain, certificate, privateKey } = intermediate;
  if (certificate.subject.text === certificate.issuer.text)
    return fail("unfit-certificate", "it is its own issuer: a root is trusted, and signs no SVIDs");
  if (certificate.subjectKeyId === undefined)
    return fail("unfit-certificate", "it has no subjectKeyIdentifier, by which it could be revoked");
  let authority: CertificateAuthority;
  try {
    authority = openAuthority(trustDomain, certificate.der, privateKey);
  } catch (error) {
    return fail("unfit-certificate", messageOf(error));
  }
  const roots = certificateAuthoritiesOf(state).filter(({ isTrusted }) => isTrusted);
  const revoked = authoritiesUnder(state, "revoked").map((one) =>
    hexOf(sha256(one.certificate.publicKeyInfo)),
  );
  const bundle = parseTrustBundle(
    trustDomain,
    roots.map((one) => one.certificate.der),
    new Set(revoked),
  );
  if (!bundle.ok) return fail("unfit-certificate", `${bundle.reason} ${bundle.detail}`);
  const sample = checkSample(authority, bundle.value, world);
  return sample.ok ? ok(authority) : sample;
}
