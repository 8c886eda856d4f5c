import { generateP256, pemOfPrivateKey } from "../../src/crypto/index.ts";
import type { SvidInUse } from "../../src/transport/index.ts";

/** An SVID with a key of its own and a certificate that nobody could read, told apart by its hash. */
export function svidNamed(sha256: string): SvidInUse {
  const { privateKey } = generateP256();
  return {
    certificate: new Uint8Array(1),
    privateKey,
    chainPem: "",
    privateKeyPem: pemOfPrivateKey(privateKey),
    serial: "01",
    sha256,
    authorityKeyId: undefined,
    notBeforeSeconds: 0,
    notAfterSeconds: 0,
  };
}
