import { readFile } from "node:fs/promises";
import { messageOf } from "../base/mesh-error.ts";
import { parseCertificate } from "../crypto/index.ts";
import { CliError, exitCode } from "./exit-codes.ts";

const pemBytesMax = 65_536;

/** The certificates of a PEM file, DER, in their order; throws what is wrong with it. */
export async function readCertificates(file: string): Promise<readonly Uint8Array[]> {
  const text = await readFile(file).catch((error: unknown) => {
    throw new CliError(exitCode.unreadable, messageOf(error));
  });
  if (text.byteLength > pemBytesMax)
    throw new CliError(exitCode.unreadable, `${file} is larger than ${pemBytesMax} bytes`);
  const blocks = text
    .toString("latin1")
    .matchAll(/-----BEGIN CERTIFICATE-----([A-Za-z0-9+/=\s]*)-----END CERTIFICATE-----/g);
  const certificates = [...blocks].map(([, body = ""]) => Uint8Array.from(Buffer.from(body, "base64")));
  for (const der of certificates) {
    const parsed = parseCertificate(der);
    if (!parsed.ok) throw new CliError(exitCode.unreadable, `${file}: ${parsed.reason} ${parsed.detail}`);
  }
  return certificates;
}
