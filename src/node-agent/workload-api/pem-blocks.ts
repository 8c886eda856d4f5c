import { bytesOfBase64 } from "../../base/bytes.ts";

/** The DER of every block in a text of PEM (RFC 7468) that this process wrote itself. */
export function derOfPem(text: string): Uint8Array[] {
  return [...text.matchAll(/-----BEGIN [A-Z ]+-----([^-]*)-----END/g)].flatMap(
    ([, body = ""]) => bytesOfBase64(body.replaceAll(/\s/g, "")) ?? [],
  );
}
