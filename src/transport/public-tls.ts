/**
 * Cipher suites for clients of any kind, in OpenSSL's form: those of TLS 1.3, and for clients that know only TLS 1.2
 * those with forward secrecy and authenticated encryption (RFC 9325, section 4.2; Mozilla's intermediate configuration
 * without the finite-field groups, for which a server would need parameters).
 */
export const publicCiphers: string = [
  "TLS_AES_128_GCM_SHA256",
  "TLS_AES_256_GCM_SHA384",
  "TLS_CHACHA20_POLY1305_SHA256",
  "ECDHE-ECDSA-AES128-GCM-SHA256",
  "ECDHE-RSA-AES128-GCM-SHA256",
  "ECDHE-ECDSA-AES256-GCM-SHA384",
  "ECDHE-RSA-AES256-GCM-SHA384",
  "ECDHE-ECDSA-CHACHA20-POLY1305",
  "ECDHE-RSA-CHACHA20-POLY1305",
].join(":");
