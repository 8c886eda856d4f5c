import { base64Of } from "../base/bytes.ts";
import type { Clock } from "../base/clock.ts";
import type { Log } from "../base/log.ts";
import { messageOf } from "../base/mesh-error.ts";
import { isListSignedBy, type ParsedRevocationList, parseRevocationList } from "../crypto/index.ts";
import type { LogView } from "../transport/index.ts";
import { certificateAuthoritiesOf } from "../trust-log/index.ts";

/** A list holds for a day; it is not kept for longer than this. */
const keptMillisMax = 6 * 3_600_000;

/** What keeping revocation lists takes. */
export interface RevocationListKeeperOptions {
  readonly view: LogView;
  readonly clock: Clock;
  readonly log: Log;
  /** Asks the control plane for them. */
  readonly read: () => Promise<readonly Uint8Array[]>;
  readonly changed: () => void;
}

/** The revocation lists of the mesh's authorities, for a program that knows no trust log; kept as the log changes. */
export class RevocationListKeeper {
  readonly #options: RevocationListKeeperOptions;
  #pem = "";
  /** What the lists were made from. */
  #of = "";
  #atMillis = Number.NEGATIVE_INFINITY;
  #isAsking = false;

  constructor(options: RevocationListKeeperOptions) {
    this.#options = options;
  }

  /** All of them, PEM; empty before the first have come. */
  get pem(): string {
    return this.#pem;
  }

  /** Asks for them where the log has revoked something since, or they are old; tried again at the next step. */
  async stepped(): Promise<void> {
    const { view, clock, log, read, changed } = this.#options;
    const { state } = view.follower;
    const of = `${state.revokedCertificates.digest()} ${state.certificateAuthorities.digest()}`;
    const isCurrent = of === this.#of && clock.monotonicMillis() - this.#atMillis < keptMillisMax;
    if (isCurrent || this.#isAsking) return;
    this.#isAsking = true;
    try {
      const pem = (await read())
        .flatMap((der) => this.#checked(der))
        .map(pemOfList)
        .join("");
      this.#of = of;
      this.#atMillis = clock.monotonicMillis();
      this.#pem = pem;
      changed();
    } catch (error) {
      log.warn("no revocation lists; those before stay", { error: messageOf(error) });
    } finally {
      this.#isAsking = false;
    }
  }

  /** Only what an authority of the log has signed; the agent that hands it on is not believed. */
  #checked(der: Uint8Array): ParsedRevocationList[] {
    const list = parseRevocationList(der);
    const authorities = certificateAuthoritiesOf(this.#options.view.follower.state);
    const signer = authorities.find(
      ({ certificate }) => list.ok && certificate.subjectKeyId === list.value.authorityKeyId,
    );
    return list.ok && signer !== undefined && isListSignedBy(list.value, signer.certificate.publicKey)
      ? [list.value]
      : [];
  }
}

function pemOfList({ der }: ParsedRevocationList): string {
  const lines = base64Of(der).match(/.{1,64}/g) ?? [];
  return `-----BEGIN X509 CRL-----\n${lines.join("\n")}\n-----END X509 CRL-----\n`;
}
