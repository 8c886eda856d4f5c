import { svidBackdateSeconds, svidLifetimeSecondsMax } from "../../identity/index.ts";
import {
  authoritiesUnder,
  certificateAuthoritiesOf,
  type EntryStatement,
  type KnownAuthority,
  parseEntry,
  type TrustState,
} from "../../trust-log/index.ts";
import { shortAuthority } from "../authority-views.ts";
import { CliError, exitCode } from "../exit-codes.ts";
import { meshDirectory } from "../mesh-directory.ts";
import { OperatorClient } from "../operator-client.ts";
import { durationOf, printAnswer, tableOf } from "../output.ts";
import { readEntries } from "../read-entries.ts";
import { systemClock } from "../system.ts";
import type { AuthorityOptions } from "./authorities.ts";

/** An authority that signs nothing for so long was prepared in vain, or for something that is not in the log. */
const unusedSecondsMax = 7 * 86_400;
const findingsShownMax = 50;

/** Something about an issued certificate or an authority that is not as it should be. */
export interface AuditFinding {
  /** The entry; absent for a finding about an authority. */
  readonly index?: number;
  readonly finding:
    | "too-long"
    | "unknown-authority"
    | "outlives-authority"
    | "signed-when-tainted"
    | "untrusted-authority"
    | "unused-authority";
  readonly detail: string;
}

/** What the log says that an authority has signed. */
export interface AuthorityUse {
  readonly authority: string;
  readonly issued: number;
  readonly longestSeconds: number;
}

/** What comes out of an audit. */
export interface AuthorityAudit {
  readonly certificates: number;
  /** Certificates of which the log does not say by whom they were signed. */
  readonly unattributed: number;
  readonly authorities: readonly AuthorityUse[];
  readonly findings: readonly AuditFinding[];
}

/** `troth ca audit`: every issuance of the log against the authorities that it knows. */
export async function auditAuthorities(options: AuthorityOptions): Promise<void> {
  using client = await OperatorClient.open(meshDirectory(options.dir));
  const { entries } = await readEntries(client);
  const audit = auditEntries(entries, client.state, systemClock.nowSeconds());
  const { certificates, unattributed, authorities, findings } = audit;
  printAnswer(options.output, "AuthorityAudit", audit, () => {
    const used = tableOf(
      ["AUTHORITY", "CERTIFICATES", "LONGEST"],
      authorities.map(({ authority, issued, longestSeconds }) => [
        shortAuthority(authority),
        String(issued),
        issued === 0 ? "" : durationOf(longestSeconds),
      ]),
    );
    const unsaid = unattributed === 0 ? "" : `, ${unattributed} of them without an authority's name`;
    const count = `${certificates} certificates were logged${unsaid}\n`;
    if (findings.length === 0) return `${used}${count}nothing is amiss\n`;
    const shown = findings
      .slice(0, findingsShownMax)
      .map(({ index, finding, detail }) => [index === undefined ? "" : String(index), finding, detail]);
    const more = findings.length - shown.length;
    return `${used}${count}${tableOf(["ENTRY", "FINDING", "DETAIL"], shown)}${more > 0 ? `and ${more} more: -o json\n` : ""}`;
  });
  if (findings.length > 0) throw new CliError(exitCode.no, `${findings.length} findings`);
}

/** Goes through a log from its first entry; `state` is what it folds to. */
export function auditEntries(
  entries: readonly Uint8Array[],
  state: TrustState,
  nowSeconds: number,
): AuthorityAudit {
  const all = certificateAuthoritiesOf(state);
  const byKeyId = new Map(all.map((one) => [one.certificate.subjectKeyId, one]));
  const uses = new Map(all.map(({ id }) => [id, { issued: 0, longestSeconds: 0 }]));
  const tainted = new Set<string>();
  const findings: AuditFinding[] = [];
  const counts = { certificates: 0, unattributed: 0 };
  for (const [index, bytes] of entries.entries()) {
    const parsed = parseEntry(bytes);
    if (!parsed.ok) continue;
    const { kind, body } = parsed.value.statement;
    if (kind === "ca.taint" && typeof body["authority"] === "string") tainted.add(body["authority"]);
    if (kind === "ca.activate" && typeof body["authority"] === "string") tainted.delete(body["authority"]);
    const issuance = issuanceIn(parsed.value.statement);
    if (issuance === undefined) continue;
    counts.certificates += 1;
    if (issuance.keyId === undefined) counts.unattributed += 1;
    const authority = byKeyId.get(issuance.keyId);
    findings.push(...findingsOf(issuance, { index, authority, isTainted: tainted.has(authority?.id ?? "") }));
    const use = uses.get(authority?.id ?? "");
    if (use === undefined) continue;
    use.issued += 1;
    use.longestSeconds = Math.max(use.longestSeconds, issuance.lifetimeSeconds);
  }
  const authorities = [...uses].map(([authority, use]) => ({ authority, ...use }));
  if (counts.unattributed === 0) findings.push(...authorityFindings({ state, all, uses, nowSeconds }));
  return { ...counts, authorities, findings };
}

interface Issuance {
  readonly spiffeId: string;
  readonly keyId: string | undefined;
  readonly lifetimeSeconds: number;
  readonly notAfterSeconds: number;
}

function issuanceIn({ kind, body }: EntryStatement): Issuance | undefined {
  if (kind !== "svid.issue" && kind !== "svid.put") return undefined;
  const { spiffeId, authorityKeyId, notBeforeSeconds, notAfterSeconds } = body;
  if (
    typeof spiffeId !== "string" ||
    typeof notBeforeSeconds !== "number" ||
    typeof notAfterSeconds !== "number"
  )
    return undefined;
  return {
    spiffeId,
    keyId: typeof authorityKeyId === "string" ? authorityKeyId : undefined,
    lifetimeSeconds: notAfterSeconds - notBeforeSeconds,
    notAfterSeconds,
  };
}

function findingsOf(
  { spiffeId, keyId, lifetimeSeconds, notAfterSeconds }: Issuance,
  where: {
    readonly index: number;
    readonly authority: KnownAuthority | undefined;
    readonly isTainted: boolean;
  },
): readonly AuditFinding[] {
  const { index, authority, isTainted } = where;
  const findings: AuditFinding[] = [];
  if (lifetimeSeconds > svidLifetimeSecondsMax + svidBackdateSeconds)
    findings.push({ index, finding: "too-long", detail: `${spiffeId}: ${durationOf(lifetimeSeconds)}` });
  if (keyId !== undefined && authority === undefined)
    findings.push({ index, finding: "unknown-authority", detail: `${spiffeId}: signed by the key ${keyId}` });
  if (authority !== undefined && notAfterSeconds > authority.certificate.notAfterSeconds)
    findings.push({
      index,
      finding: "outlives-authority",
      detail: `${spiffeId}: ends after ${shortAuthority(authority.id)}`,
    });
  if (authority !== undefined && isTainted)
    findings.push({
      index,
      finding: "signed-when-tainted",
      detail: `${spiffeId}: ${shortAuthority(authority.id)} was tainted before`,
    });
  return findings;
}

function authorityFindings(about: {
  readonly state: TrustState;
  readonly all: readonly KnownAuthority[];
  readonly uses: ReadonlyMap<string, { readonly issued: number }>;
  readonly nowSeconds: number;
}): readonly AuditFinding[] {
  const { state, all, uses, nowSeconds } = about;
  const revoked = new Set(authoritiesUnder(state, "revoked").map(({ id }) => id));
  const roots = all.filter(({ kind }) => kind === "root");
  return all
    .filter(({ id, kind }) => kind === "intermediate" && !revoked.has(id))
    .flatMap(({ id, certificate }): AuditFinding[] => {
      const { authorityKeyId, notBeforeSeconds, notAfterSeconds } = certificate;
      const root = roots.find((one) => one.certificate.subjectKeyId === authorityKeyId);
      if (root?.isTrusted !== true && nowSeconds <= notAfterSeconds)
        return [
          {
            finding: "untrusted-authority",
            detail: `${shortAuthority(id)} is under no root that is trusted`,
          },
        ];
      const isUnused = uses.get(id)?.issued === 0 && nowSeconds - notBeforeSeconds > unusedSecondsMax;
      if (!isUnused || nowSeconds > notAfterSeconds) return [];
      const age = durationOf(nowSeconds - notBeforeSeconds);
      return [{ finding: "unused-authority", detail: `${shortAuthority(id)} has signed nothing in ${age}` }];
    });
}
