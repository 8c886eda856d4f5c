import type { KeyObject } from "node:crypto";
import { sameBytes } from "../base/bytes.ts";
import { fail, ok, type Refusal, type Result } from "../base/result.ts";
import {
  exportPublicKey,
  generateP256,
  isSignedBy,
  type ParsedCertificate,
  p256PublicKey,
  parseCertificate,
} from "../crypto/index.ts";
import {
  type CertificateAuthority,
  createIntermediate,
  type IssuerWorld,
  isAuthority,
  openAuthority,
  parseTrustBundle,
  spiffeIdOfTrustDomain,
  type TrustDomain,
} from "../identity/index.ts";
import { checkSample } from "./check-sample.ts";

/** What `ca.trust` and `ca.issue` take. */
const loggedBytesMax = 8192;

/** Why an authority that was made elsewhere is not one to found a trust domain with. */
export type FoundingAuthorityRefusal =
  | "malformed-certificate"
  | "not-a-chain"
  | "not-a-root"
  | "not-an-authority"
  | "no-key-identifier"
  | "key-mismatch"
  | "wrong-key-type"
  | "not-yet-valid"
  | "expired"
  | "path-length"
  | "other-trust-domain"
  | "unfit-certificate";

/** An authority that was made elsewhere, with its key. */
export interface GivenAuthority {
  readonly trustDomain: TrustDomain;
  /** DER: a root, or an intermediate and the root that signed it. */
  readonly certificates: readonly Uint8Array[];
  /** That of the first certificate. */
  readonly privateKey: KeyObject;
  /** Of the intermediate that is made under a root. */
  readonly intermediateLifetimeSeconds: number;
}

/** What a trust domain is founded with: who is trusted, and who signs. */
export interface FoundingAuthorities {
  readonly rootCertificate: Uint8Array;
  /** Undefined where its key is elsewhere. */
  readonly root: CertificateAuthority | undefined;
  readonly intermediate: CertificateAuthority;
}

/**
 * Whether peers would accept what is signed with this authority's key: everything that can be said plainly is checked
 * first, and then one certificate is signed, and checked as they do.
 */
export function checkFoundingAuthority(
  given: GivenAuthority,
  world: IssuerWorld,
): Result<FoundingAuthorities, FoundingAuthorityRefusal> {
  const { trustDomain, privateKey, intermediateLifetimeSeconds: lifetimeSeconds } = given;
  const chain = readChain(given.certificates);
  if (!chain.ok) return chain;
  const { first, root } = chain.value;
  const problem = problemOf(first, trustDomain, world) ?? problemOf(root, trustDomain, world);
  if (problem !== undefined) return problem;
  if (root.basicConstraints?.pathLength === 0)
    return fail("path-length", `${nameOf(root)} permits no authority below it (pathlen:0); it takes one`);
  if (p256PublicKey(first.publicKeyInfo) === undefined)
    return fail("wrong-key-type", `the key of ${nameOf(first)} is not on P-256, on which Troth signs`);
  if (!sameBytes(exportPublicKey(privateKey), first.publicKeyInfo))
    return fail("key-mismatch", `the key is not that of ${nameOf(first)}`);

  const isRoot = first === root;
  if (!isRoot && !namesDomain(first, trustDomain))
    return fail("other-trust-domain", `${nameOf(first)} does not name ${spiffeIdOfTrustDomain(trustDomain)}`);
  const authority = openAuthority(trustDomain, first.der, privateKey);
  const intermediate = isRoot
    ? createIntermediate(authority, { privateKey: generateP256().privateKey, lifetimeSeconds }, world)
    : authority;
  const bundle = parseTrustBundle(trustDomain, [root.der]);
  const sample = bundle.ok ? checkSample(intermediate, bundle.value, world) : bundle;
  if (!sample.ok) return fail("unfit-certificate", sample.detail);
  return ok({ rootCertificate: root.der, root: isRoot ? authority : undefined, intermediate });
}

interface Chain {
  readonly first: ParsedCertificate;
  readonly root: ParsedCertificate;
}

function readChain(certificates: readonly Uint8Array[]): Result<Chain, FoundingAuthorityRefusal> {
  const parsed: ParsedCertificate[] = [];
  for (const der of certificates) {
    const one = parseCertificate(der);
    if (!one.ok) return fail("malformed-certificate", `${one.reason} ${one.detail}`);
    if (der.byteLength > loggedBytesMax)
      return fail("malformed-certificate", `${der.byteLength} bytes, and the log takes ${loggedBytesMax}`);
    parsed.push(one.value);
  }
  const [first, above] = parsed;
  if (first === undefined || parsed.length > 2)
    return fail("not-a-chain", "it takes a root, or an intermediate and then the root that signed it");
  const root = above ?? first;
  if (!isUnder(root, root))
    return fail("not-a-root", `${nameOf(root)} is not self-signed; the root comes last`);
  if (above !== undefined && !isUnder(first, above))
    return fail("not-a-chain", `${nameOf(first)} was not signed by ${nameOf(above)}`);
  return ok({ first, root });
}

/** What is wrong with a certificate of either place. */
function problemOf(
  certificate: ParsedCertificate,
  trustDomain: TrustDomain,
  { clock }: IssuerWorld,
): Refusal<FoundingAuthorityRefusal> | undefined {
  const { notBeforeSeconds, notAfterSeconds, subjectKeyId } = certificate;
  const name = nameOf(certificate);
  const nowSeconds = clock.nowSeconds();
  if (!isAuthority(certificate))
    return fail("not-an-authority", `${name} may not sign certificates (CA:TRUE and keyCertSign)`);
  if (subjectKeyId === undefined)
    return fail("no-key-identifier", `${name} has no subjectKeyIdentifier, by which it could be revoked`);
  if (nowSeconds < notBeforeSeconds)
    return fail("not-yet-valid", `${name} is valid from ${momentOf(notBeforeSeconds)}`);
  if (nowSeconds > notAfterSeconds) return fail("expired", `${name} ended at ${momentOf(notAfterSeconds)}`);
  const isOthers = certificate.uriNames.length > 0 && !namesDomain(certificate, trustDomain);
  return isOthers
    ? fail("other-trust-domain", `${name} is of ${certificate.uriNames.join(", ")}`)
    : undefined;
}

function isUnder(certificate: ParsedCertificate, issuer: ParsedCertificate): boolean {
  return sameBytes(certificate.issuer.der, issuer.subject.der) && isSignedBy(certificate, issuer.publicKey);
}

function namesDomain({ uriNames }: ParsedCertificate, trustDomain: TrustDomain): boolean {
  return uriNames.includes(spiffeIdOfTrustDomain(trustDomain));
}

function nameOf({ subject }: ParsedCertificate): string {
  return `"${subject.text}"`;
}

function momentOf(seconds: number): string {
  return new Date(seconds * 1000).toISOString();
}
