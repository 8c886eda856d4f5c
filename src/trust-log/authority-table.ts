import { bytesOfBase64, hexOf } from "../base/bytes.ts";
import { type ParsedCertificate, parseCertificate, sha256 } from "../crypto/index.ts";
import { StateTable } from "./state-table.ts";
import type { CertificateAuthorityRow } from "./trust-state.ts";

/** What a row holds, read. */
export interface ReadAuthority {
  /** The SHA-256 of its certificate, hex. */
  readonly id: string;
  readonly kind: "root" | "intermediate";
  readonly certificate: ParsedCertificate;
  /** Whether it is in the trust bundle. */
  readonly isTrusted: boolean;
}

/**
 * The table of certificate authorities, which finds them by their identifier and by whose key signed them without a look
 * at all of them. Whatever an issuer has shown is a row, also what is no certificate; such rows are never found.
 */
export class AuthorityTable extends StateTable<CertificateAuthorityRow> {
  readonly #keyById = new Map<string, string>();
  readonly #keysByIssuer = new Map<string, Set<string>>();
  /** Rows that have been set since the last question; reading a certificate takes longer than setting a row. */
  readonly #unread = new Set<string>();

  constructor() {
    super("certificateAuthorities");
  }

  override set(key: string, row: CertificateAuthorityRow): void {
    super.set(key, row);
    this.#unread.add(key);
  }

  /** All that can be read, in the order in which they came. */
  *readable(): Generator<ReadAuthority> {
    for (const [key] of this.entries()) yield* this.#read(key);
  }

  /** The one whose certificate has this SHA-256 (hex). */
  withId(id: string): ReadAuthority | undefined {
    this.#readNew();
    const key = this.#keyById.get(id);
    return key === undefined ? undefined : this.#read(key)[0];
  }

  /** Those whose certificates name the key identifier (hex) of the one that signed them as this. */
  signedBy(keyId: string): readonly ReadAuthority[] {
    this.#readNew();
    return [...(this.#keysByIssuer.get(keyId) ?? [])].flatMap((key) => this.#read(key));
  }

  #readNew(): void {
    for (const key of this.#unread)
      for (const { id, certificate } of this.#read(key)) {
        this.#keyById.set(id, key);
        const { authorityKeyId } = certificate;
        if (authorityKeyId === undefined) continue;
        const known = this.#keysByIssuer.get(authorityKeyId);
        if (known === undefined) this.#keysByIssuer.set(authorityKeyId, new Set([key]));
        else known.add(key);
      }
    this.#unread.clear();
  }

  /** The row of a key, or none where it is gone or nothing that can be read. */
  #read(key: string): readonly ReadAuthority[] {
    const row = this.get(key);
    if (row === undefined) return [];
    const known = readRows.get(row) ?? readRow(row);
    readRows.set(row, known);
    return known === "unreadable" ? [] : [known];
  }
}

/** Rows never change, and they are asked about with every certificate. */
const readRows = new WeakMap<CertificateAuthorityRow, ReadAuthority | "unreadable">();

function readRow({ certificate: encoded, isTrusted }: CertificateAuthorityRow): ReadAuthority | "unreadable" {
  const der = bytesOfBase64(encoded) ?? new Uint8Array(0);
  const parsed = parseCertificate(der);
  if (!parsed.ok) return "unreadable";
  const certificate = parsed.value;
  const kind = certificate.subject.text === certificate.issuer.text ? "root" : "intermediate";
  return { id: hexOf(sha256(der)), kind, certificate, isTrusted };
}
