import { constants } from "node:crypto";
import tls from "node:tls";
import type { SvidInUse } from "../transport/index.ts";
import { keptAlive } from "./forwarding/index.ts";

/** How long a handshake may take, in milliseconds. */
export const handshakeTimeoutMillis = 5_000;

/** What proxies speak with each other, the better one first; the listener chooses (RFC 7301). */
export type MeshProtocol = "h2" | "http/1.1";

const protocols: MeshProtocol[] = ["h2", "http/1.1"];

/**
 * A listener for mutual TLS 1.3 without resumption. `rejectUnauthorized` is off because the verdict is ours
 * (check-peer.ts) and so has a reason; no byte reaches anybody before it.
 */
export function meshTlsServer(svid: SvidInUse): tls.Server {
  return tls.createServer({
    ...credentialsOf(svid),
    ...keptAlive,
    requestCert: true,
    rejectUnauthorized: false,
    minVersion: "TLSv1.3",
    secureOptions: constants.SSL_OP_NO_TICKET,
    ALPNProtocols: protocols,
    handshakeTimeout: handshakeTimeoutMillis,
  });
}

/** Lets new handshakes use another SVID; connections that are open keep theirs. */
export function useSvid(server: tls.Server, svid: SvidInUse): void {
  server.setSecureContext({
    ...credentialsOf(svid),
    minVersion: "TLSv1.3",
    secureOptions: constants.SSL_OP_NO_TICKET,
  });
}

/** Options to connect to another proxy; whom one reached is for check-peer.ts to say. */
export function meshTlsClient(
  svid: SvidInUse,
  offered: readonly MeshProtocol[] = protocols,
): tls.ConnectionOptions {
  return {
    ...credentialsOf(svid),
    rejectUnauthorized: false,
    checkServerIdentity: () => undefined,
    minVersion: "TLSv1.3",
    ALPNProtocols: [...offered],
  };
}

function credentialsOf(svid: SvidInUse): { cert: string; key: string; ca: string[] } {
  // Without an own list, Node would load the public web's roots, which have no say here.
  return { cert: svid.chainPem, key: svid.privateKeyPem, ca: [] };
}
