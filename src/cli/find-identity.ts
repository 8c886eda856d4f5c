import {
  type AuthorityKind,
  type CertificateRow,
  certificateAuthoritiesOf,
  type InstanceRow,
  type TrustState,
} from "../trust-log/index.ts";
import { CliError, exitCode } from "./exit-codes.ts";

/** Fewer characters of an identifier could be meant for anything. */
const idCharactersMin = 4;

/** The instance that a person names by its UUID or the beginning of it. */
export function findInstance(
  state: TrustState,
  text: string,
): { readonly instance: string; readonly row: InstanceRow } {
  if (text.startsWith("/") || text.startsWith("spiffe://"))
    throw new CliError(
      exitCode.usage,
      `${text} is a name that instances share: name one of them (troth identity list), or hold the service: --service ${text.replace(/^spiffe:\/\/[^/]*/, "")}`,
    );
  const found = matching([...state.instances.entries()], text);
  const revocation = [...state.revocations.entries()].find(
    ([key]) => text.length >= idCharactersMin && key.startsWith(`instance:${text}`),
  );
  if (found === undefined && revocation !== undefined)
    throw new CliError(exitCode.no, `${text} was revoked already (${revocation[1].reason})`);
  if (found === undefined)
    throw new CliError(exitCode.notFound, `no instance ${text} has an identity; see: troth identity list`);
  const [instance, row] = found;
  return { instance, row };
}

/** The certificate in force that a person names by its serial number (hexadecimal, with or without colons). */
export function findCertificate(
  state: TrustState,
  text: string,
): { readonly certificate: string; readonly row: CertificateRow } {
  const serial = text.replaceAll(":", "").toLowerCase().replace(/^0x/, "");
  for (const [certificate, row] of state.certificates.entries())
    if (row.serial === serial) return { certificate, row };
  for (const [, { serial: revoked, reason }] of state.revokedCertificates.entries())
    if (revoked === serial)
      throw new CliError(exitCode.no, `the certificate ${serial} was revoked already (${reason})`);
  throw new CliError(
    exitCode.notFound,
    `no certificate in force has the serial number ${serial}; see: troth identity list -o wide`,
  );
}

/** The authority that a person names by its identifier or the beginning of it. */
export function findAuthority(
  state: TrustState,
  text: string,
): { readonly id: string; readonly kind: AuthorityKind } {
  const certificates = certificateAuthoritiesOf(state).map(({ id, kind }) => [id, kind] as const);
  const keys = [...state.tokenKeys.entries()].map(([id, { use }]) => [id, use] as const);
  const found = matching<AuthorityKind>([...certificates, ...keys], text.toLowerCase());
  if (found === undefined)
    throw new CliError(exitCode.notFound, `no authority ${text} is in the trust log; see: troth ca show`);
  const [id, kind] = found;
  return { id, kind };
}

function matching<Row>(
  rows: readonly (readonly [string, Row])[],
  text: string,
): readonly [string, Row] | undefined {
  const [only, other] = text.length < idCharactersMin ? [] : rows.filter(([id]) => id.startsWith(text));
  if (other !== undefined)
    throw new CliError(exitCode.usage, `${text} is the beginning of several; write more of it`);
  return only;
}
