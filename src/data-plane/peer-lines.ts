import type { CheckedPeer } from "./check-peer.ts";
import { headerLines } from "./http1/index.ts";

/**
 * The header lines by which an application learns who called it: `X-Forwarded-Client-Cert` is the certificate that was
 * checked, and nobody else's word; `Forwarded` (RFC 7239) is one more element after those that the request came with,
 * with the caller's service as an obfuscated identifier (section 6.3), in which no SPIFFE ID of another trust domain
 * has room.
 */
export class PeerLines {
  readonly #certificate: [string, string];
  readonly #caller: string;
  #host: string | undefined;
  #lines: Uint8Array = new Uint8Array(0);

  constructor({ svid, service }: CheckedPeer) {
    this.#certificate = ["X-Forwarded-Client-Cert", `Hash=${svid.sha256};URI=${svid.spiffeId}`];
    const isLocal = service.startsWith("/");
    this.#caller = isLocal ? `_${service.slice(1).replaceAll("/", ".")}` : "unknown";
  }

  /** Those of a request with this `Host`; most have the same as the one before, and get the same bytes. */
  for(host: string): Uint8Array {
    if (host === this.#host) return this.#lines;
    this.#host = host;
    // The scanners take no host that could end a quoted string.
    const element = `for=${this.#caller};host="${host}";proto=http`;
    this.#lines = headerLines([this.#certificate, ["Forwarded", element]]);
    return this.#lines;
  }
}
