import type { Clock } from "../base/clock.ts";
import { buildRevocationList, type RevokedSerial } from "../crypto/index.ts";
import type { CertificateAuthority } from "./certificate-authority.ts";
import { svidBackdateSeconds, svidLifetimeSecondsMax } from "./svid-limits.ts";

/** What a CA's list is to name. */
export interface RevocationListRequest {
  /** Larger than that of every list before. */
  readonly number: number;
  readonly revoked: readonly RevokedSerial[];
}

/**
 * A CA's list of what it has signed and does not stand for any more (DER, RFC 5280 section 5). It holds for a day, as
 * long as an SVID lives at most, and begins as an SVID does, for clocks that lag.
 */
export function issueRevocationList(
  { certificate, privateKey }: CertificateAuthority,
  { number, revoked }: RevocationListRequest,
  clock: Clock,
): Uint8Array {
  const nowSeconds = Math.floor(clock.nowSeconds());
  return buildRevocationList(
    {
      issuer: certificate.subject.der,
      authorityKeyId: Buffer.from(certificate.subjectKeyId ?? "", "hex"),
      number,
      thisUpdateSeconds: nowSeconds - svidBackdateSeconds,
      nextUpdateSeconds: nowSeconds + svidLifetimeSecondsMax,
      revoked: revoked.map((one) => ({ ...one, atSeconds: Math.floor(one.atSeconds) })),
    },
    privateKey,
  );
}
