import type { Clock } from "../base/clock.ts";
import { type CertificateAuthority, issueRevocationList } from "../identity/index.ts";
import type { LogWriter } from "./log-writer.ts";

/** How long lists are handed out again while the log does not grow. */
const keptMillisMax = 60_000;

/** The revocation lists of the CAs whose keys are here, made when they are asked for. */
export class RevocationLists {
  readonly #writer: LogWriter;
  readonly #authorities: () => readonly CertificateAuthority[];
  readonly #clock: Clock;
  #kept: { readonly size: number; readonly atMillis: number; readonly lists: Uint8Array[] } | undefined;

  constructor(options: {
    readonly writer: LogWriter;
    readonly authorities: () => readonly CertificateAuthority[];
    readonly clock: Clock;
  }) {
    this.#writer = options.writer;
    this.#authorities = options.authorities;
    this.#clock = options.clock;
  }

  /** One list for each CA, empty or not, numbered by the size of the log that it speaks of. */
  read(): { readonly lists: Uint8Array[]; readonly size: number } {
    const { size } = this.#writer.tree;
    const nowMillis = this.#clock.monotonicMillis();
    const kept = this.#kept;
    if (kept?.size === size && nowMillis - kept.atMillis < keptMillisMax) return kept;
    const revoked = [...this.#writer.state.revokedCertificates.entries()].map(([, row]) => row);
    const lists = this.#authorities().map((authority) => {
      const { subjectKeyId } = authority.certificate;
      // A serial number is random, so one of which nobody has noted whose it is does no harm in every list.
      const own = revoked.filter(
        ({ authorityKeyId }) => authorityKeyId === undefined || authorityKeyId === subjectKeyId,
      );
      return issueRevocationList(authority, { number: size, revoked: own }, this.#clock);
    });
    this.#kept = { size, atMillis: nowMillis, lists };
    return this.#kept;
  }
}
