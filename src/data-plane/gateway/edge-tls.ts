import { constants, createPrivateKey, X509Certificate } from "node:crypto";
import tls from "node:tls";
import { messageOf } from "../../base/mesh-error.ts";
import { fail, ok, type Result } from "../../base/result.ts";
import { publicCiphers } from "../../transport/index.ts";
import { handshakeTimeoutMillis } from "../mesh-tls.ts";
import type { EdgeCertificate } from "./gateway-settings.ts";

/** A certificate that handshakes can show. */
export interface UsableCertificate {
  readonly leaf: X509Certificate;
  readonly options: tls.SecureContextOptions;
  readonly context: tls.SecureContext;
}

/** Reads certificates with their keys; refuses what no handshake could show. */
export function readCertificates(
  files: readonly EdgeCertificate[],
): Result<readonly UsableCertificate[], "certificate-unusable"> {
  const usable: UsableCertificate[] = [];
  for (const { file, chainPem, keyPem } of files)
    try {
      const leaf = new X509Certificate(chainPem);
      if (!leaf.checkPrivateKey(createPrivateKey(keyPem)))
        return fail("certificate-unusable", `the key is not that of the certificate in ${file}`);
      const options = optionsFor(chainPem, keyPem);
      usable.push({ leaf, options, context: tls.createSecureContext(options) });
    } catch (error) {
      return fail("certificate-unusable", `${file} and its key: ${messageOf(error)}`);
    }
  return ok(usable);
}

/** A TLS server for clients that show no certificate, which shows each the one for the host that it names. */
export class EdgeTls {
  readonly server: tls.Server;
  #certificates: readonly UsableCertificate[];

  constructor(certificates: readonly UsableCertificate[]) {
    this.#certificates = certificates;
    this.server = tls.createServer({
      ...certificates[0]?.options,
      ALPNProtocols: ["h2", "http/1.1"],
      handshakeTimeout: handshakeTimeoutMillis,
      SNICallback: (name, callback) => callback(null, this.#contextFor(name)),
    });
  }

  /** Shows these in handshakes from now on; connections that are open go on. */
  use(certificates: readonly UsableCertificate[]): void {
    this.#certificates = certificates;
    this.server.setSecureContext(certificates[0]?.options ?? {});
  }

  #contextFor(name: string): tls.SecureContext | undefined {
    const found = this.#certificates.find(({ leaf }) => leaf.checkHost(name) !== undefined);
    return (found ?? this.#certificates[0])?.context;
  }
}

function optionsFor(cert: string, key: string): tls.SecureContextOptions {
  return {
    cert,
    key,
    ciphers: publicCiphers,
    honorCipherOrder: true,
    minVersion: "TLSv1.2",
    // A client that could ask for handshake after handshake on one connection would have us sign for it each time.
    secureOptions: constants.SSL_OP_NO_RENEGOTIATION,
  };
}
