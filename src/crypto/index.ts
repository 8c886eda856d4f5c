export {
  buildAuthorityRequest,
  buildCertificate,
  buildCertificateRequest,
  buildSelfSignedCertificate,
  type CertificateContent,
  distinguishedName,
  type SelfSignedContent,
} from "./build-certificate.ts";
export {
  authorityConstraints,
  authorityKeyIdExtension,
  endEntityConstraints,
  extendedKeyUsageExtension,
  issuerKeyIdExtension,
  keyUsageExtension,
  subjectKeyIdExtension,
  uriHostConstraint,
  uriNamesExtension,
} from "./build-extensions.ts";
export {
  buildRevocationList,
  type RevocationListContent,
} from "./build-revocation-list.ts";
export {
  type CertificateRefusal,
  certificateBytesMax,
  isSignedBy,
  type ParsedCertificate,
  parseCertificate,
} from "./certificate.ts";
export {
  type CertificateExtension,
  generalNameTag,
  type KeyUsage,
  type NameSubtree,
} from "./certificate-extensions.ts";
export {
  type CertificateRequest,
  type CertificateRequestRefusal,
  certificateRequestBytesMax,
  parseCertificateRequest,
} from "./certificate-request.ts";
export {
  base64UrlOf,
  bytesOfBase64Url,
  type CompactJws,
  type CompactJwsRefusal,
  readCompactJws,
  type TokenObject,
  tokenBytesMax,
  writeCompactJws,
} from "./compact-jws.ts";
export { textOfDer } from "./der-values.ts";
export { derText } from "./der-writer.ts";
export type { DistinguishedName } from "./distinguished-name.ts";
export {
  ed25519PublicKey,
  ed25519PublicKeyBytes,
  ed25519SignatureBytes,
  generateEd25519,
  type KeyPair,
  publicKeyBytes,
  signEd25519,
  verifyEd25519,
} from "./ed25519.ts";
export {
  generateX25519,
  openSealed,
  type SealBinding,
  sealedOverheadBytes,
  sealTo,
  x25519PublicKeyBytes,
  x25519PublicKeyOf,
} from "./hpke.ts";
export {
  fitsAlgorithm,
  isJoseAlgorithm,
  type JoseAlgorithm,
  joseAlgorithms,
  signEs256,
  verifyJws,
} from "./jose-algorithm.ts";
export { type JwkRefusal, parsePublicJwk, publicJwkOf } from "./jwk.ts";
export { objectIdentifier } from "./object-identifiers.ts";
export {
  exportPrivateKey,
  exportPublicKey,
  generateP256,
  importPrivateKey,
  p256PublicKey,
  pemOfPrivateKey,
} from "./p256.ts";
export {
  isListSignedBy,
  type ParsedRevocationList,
  parseRevocationList,
  type RevocationListRefusal,
  type RevokedSerial,
  revocationListBytesMax,
  revocationReasons,
} from "./revocation-list.ts";
export { sha256 } from "./sha256.ts";
