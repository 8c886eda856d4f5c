import type { X509Certificate } from "node:crypto";
import type { TLSSocket } from "node:tls";
import { publicKeyBytes } from "../crypto/index.ts";

/**
 * The raw Ed25519 key that the peer proved to hold in the handshake, or undefined where it showed no certificate or
 * one with another kind of key. The control tier knows its peers by their keys in the trust log; the self-signed
 * certificate around a key says nothing, so nothing else in it is read.
 */
export function peerKeyOf(socket: TLSSocket): Uint8Array | undefined {
  // A resumed session proves nothing anew, and on the client it shows no certificate at all.
  if (socket.isSessionReused()) return undefined;
  // Read once: on a client, a second getPeerX509Certificate() answers undefined.
  const certificate = socket.getPeerX509Certificate();
  return certificate === undefined ? undefined : ed25519KeyOf(certificate);
}

function ed25519KeyOf(certificate: X509Certificate): Uint8Array | undefined {
  try {
    const key = certificate.publicKey;
    return key.asymmetricKeyType === "ed25519" ? publicKeyBytes(key) : undefined;
  } catch {
    return undefined;
  }
}
