import { base64Of, bytesOf } from "../base/bytes.ts";
import { canonicalJson } from "../base/canonical-json.ts";
import { sha256 } from "../crypto/index.ts";
import { AuthorityTable } from "./authority-table.ts";
import type { AuthorRole, DataClass, EntryBody, RevocationReason, StalenessBound } from "./entry-kinds.ts";
import { PrefixTable } from "./prefix-table.ts";
import { StateTable } from "./state-table.ts";

/** The version of the rules in fold.ts; a follower that knows only an older one stops. */
export const foldVersion = 2;

/**
 * A key that the log knows. `sequence` is the highest number that its owner used and `open` are lower ones still
 * unused, as when an entry waits for its second signature; removed keys stay, so that what they once signed cannot be
 * put in again under a key that was added anew.
 */
export type AuthorRow = {
  readonly role: AuthorRole;
  readonly publicKey: string;
  readonly sequence: number;
  readonly open: readonly number[];
  readonly isRemoved: boolean;
};
/** How many signatures of which role an entry of a kind takes, and how many of approvers besides. */
export type AuthorityRow = {
  readonly role: AuthorRole;
  readonly signatures: number;
  readonly approvals: number;
};
/** A certificate authority's certificate: a trusted root or one that the log has seen issued. */
export type CertificateAuthorityRow = { readonly certificate: string; readonly isTrusted: boolean };
/** A registered service. */
export type ServiceRow = Omit<EntryBody<"service.put">, "name">;
/** What callers of a service may or may not do. */
export type RuleRow = EntryBody<"rule.put"> & { readonly index: number };
/** How calls of a service are carried. */
export type TrafficRow = Omit<EntryBody<"traffic.put">, "service">;
/** Where a node is. */
export type ZoneRow = { readonly zone: string };
/** An invitation that has not been used. */
export type InviteRow = { readonly node: string; readonly expiresAtSeconds: number };
/** A machine whose agent has joined; its key is the agent's TLS key. */
export type NodeRow = { readonly nodeKey: string };
/** One running copy of a workload. */
export type InstanceRow = {
  readonly service: string;
  readonly node: string;
  readonly auditKey: string;
  readonly registeredAtSeconds: number;
  /** Whether nothing new is to be sent to it. */
  readonly isDraining: boolean;
  /** How many keys it has had certificates for, and the last of them (SHA-256, hex); absent before `svid.put`. */
  readonly generation?: number;
  readonly keySha256?: string;
};
/** A certificate that the log knows, by the SHA-256 of its DER. */
export type CertificateRow = {
  readonly spiffeId: string;
  readonly instance: string;
  readonly serial: string;
  readonly notAfterSeconds: number;
  /** Of the authority that signed it; absent before `svid.put`. */
  readonly authorityKeyId?: string;
  /** Whether it is to be replaced now (`instance.renew`). */
  readonly isDue?: true;
};
/** Who may obtain a service's identity over the Workload API. */
export type WorkloadRow = Omit<EntryBody<"workload.put">, "name">;
/** What never counts again: an instance for ever, a token until it has expired (`expiresAtSeconds` is 0 for never). */
export type RevocationRow = {
  readonly reason: RevocationReason;
  readonly atSeconds: number;
  readonly expiresAtSeconds: number;
};
/** A certificate that was revoked before its end, for revocation lists. */
export type RevokedCertificateRow = CertificateRow & {
  readonly reason: RevocationReason;
  readonly atSeconds: number;
};
/** What has no identity until it is lifted. */
export type HoldRow = { readonly reason: RevocationReason; readonly atSeconds: number };
/** What has been decided of an instance; one without a row is as its registration and drains leave it. */
export type StandingRow = {
  readonly state: "degraded" | "quarantined";
  readonly reason: string;
  readonly evidence: Readonly<Record<string, number>>;
  /** The index of the entry that decided. */
  readonly decision: number;
  readonly atSeconds: number;
  /** Who may end it; the control plane ends nothing that people have decided. */
  readonly liftedBy: "operator" | "control-plane";
};
/** Where an authority is in its life; one without a row has been prepared. */
export type AuthorityStatusRow = {
  readonly status: "active" | "old" | "tainted" | "revoked";
  readonly sinceSeconds: number;
};
/** A key that signs tokens. */
export type TokenKeyRow = EntryBody<"jwk.put">;
/** A federated trust domain. */
export type FederationRow = Omit<EntryBody<"federation.put">, "trustDomain">;
/** Where a service of a federated trust domain is reached. */
export type RemoteRow = { readonly addresses: readonly string[] };
/** Whether and how requests to a service carry request tokens. */
export type RequestTokenRow = Omit<EntryBody<"requesttoken.put">, "to">;
/**
 * Who may serve a prefix. `index` is that of the entry which said so, `under` the prefix that it was handed on from
 * (empty where the prefix authority granted it), `sequence` the last number under which its holder handed on or recalled.
 */
export type PrefixRow = Omit<EntryBody<"prefix.grant">, "prefix"> & {
  readonly index: number;
  readonly under: string;
  readonly sequence: number;
};
/** What genesis fixed and where the epochs are. */
export type DomainRow = {
  readonly genesis: string;
  readonly trustDomain: string;
  readonly isTestDomain: boolean;
  /** The key by which the present generation's checkpoints are signed. */
  readonly logKey: string;
  /** How many entries of the past the second, third, ... generation took up: the index of its `log.recover`. */
  readonly recoveredSizes: readonly number[];
  readonly epochNumber: number;
  readonly epochTimeSeconds: number;
  readonly staleness: {
    readonly [key in DataClass]: {
      readonly newHandshake: StalenessBound;
      readonly openConnection: StalenessBound;
    };
  };
};

/**
 * Tables that followers of this fold version did not always have. While they are empty the digest does not name them, so
 * that an older follower agrees until the first entry of a kind that it does not know, at which it stops.
 */
const laterTables: ReadonlySet<string> = new Set([
  "traffic",
  "zones",
  "workloads",
  "revocations",
  "revokedCertificates",
  "holds",
  "authorityStatus",
  "tokenKeys",
  "federation",
  "remotes",
  "requestTokens",
  "prefixes",
  "standings",
]);

/** The public state of a trust domain: a fold of its trust log, nothing else. */
export class TrustState {
  readonly domain: StateTable<DomainRow> = new StateTable<DomainRow>("domain");
  readonly authors: StateTable<AuthorRow> = new StateTable<AuthorRow>("authors");
  readonly authority: StateTable<AuthorityRow> = new StateTable<AuthorityRow>("authority");
  readonly certificateAuthorities: AuthorityTable = new AuthorityTable();
  readonly services: StateTable<ServiceRow> = new StateTable<ServiceRow>("services");
  readonly rules: StateTable<RuleRow> = new StateTable<RuleRow>("rules");
  readonly invites: StateTable<InviteRow> = new StateTable<InviteRow>("invites");
  readonly nodes: StateTable<NodeRow> = new StateTable<NodeRow>("nodes");
  readonly instances: StateTable<InstanceRow> = new StateTable<InstanceRow>("instances");
  readonly certificates: StateTable<CertificateRow> = new StateTable<CertificateRow>("certificates");

  readonly traffic: StateTable<TrafficRow> = new StateTable<TrafficRow>("traffic");
  readonly zones: StateTable<ZoneRow> = new StateTable<ZoneRow>("zones");
  /** By the entry's name. */
  readonly workloads: StateTable<WorkloadRow> = new StateTable<WorkloadRow>("workloads");
  /** By `instance:UUID` or `token:ID`. */
  readonly revocations: StateTable<RevocationRow> = new StateTable<RevocationRow>("revocations");
  /** By the SHA-256 of the certificate. */
  readonly revokedCertificates: StateTable<RevokedCertificateRow> = new StateTable<RevokedCertificateRow>(
    "revokedCertificates",
  );
  /** By `service:/NAME` or `node:NAME`. */
  readonly holds: StateTable<HoldRow> = new StateTable<HoldRow>("holds");
  /** By what `ca.activate` calls the authority. */
  readonly authorityStatus: StateTable<AuthorityStatusRow> = new StateTable<AuthorityStatusRow>(
    "authorityStatus",
  );
  /** By the SHA-256 of the SubjectPublicKeyInfo, which is also the `kid`. */
  readonly tokenKeys: StateTable<TokenKeyRow> = new StateTable<TokenKeyRow>("tokenKeys");
  /** By trust domain. */
  readonly federation: StateTable<FederationRow> = new StateTable<FederationRow>("federation");
  /** By SPIFFE ID. */
  readonly remotes: StateTable<RemoteRow> = new StateTable<RemoteRow>("remotes");
  /** By service pattern. */
  readonly requestTokens: StateTable<RequestTokenRow> = new StateTable<RequestTokenRow>("requestTokens");
  /** By prefix; a registered service has its own name without a row. */
  readonly prefixes: PrefixTable = new PrefixTable();
  /** By instance; that of one in quarantine outlives it, so that it does not come back under the same name. */
  readonly standings: StateTable<StandingRow> = new StateTable<StandingRow>("standings");

  /** The row that genesis wrote; undefined only before genesis. */
  get genesis(): DomainRow | undefined {
    return this.domain.get("");
  }

  /** All tables in the order in which the digest names them. */
  get tables(): readonly StateTable<never>[] {
    const tables = [
      this.domain,
      this.authors,
      this.authority,
      this.certificateAuthorities,
      this.services,
      this.rules,
      this.invites,
      this.nodes,
      this.instances,
      this.certificates,
      this.traffic,
      this.zones,
      this.workloads,
      this.revocations,
      this.revokedCertificates,
      this.holds,
      this.authorityStatus,
      this.tokenKeys,
      this.federation,
      this.remotes,
      this.requestTokens,
      this.prefixes,
      this.standings,
    ];
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- rows of any table, to be read as plain JSON
    return tables as unknown as readonly StateTable<never>[];
  }

  /** An independent copy; its first digest takes as long as hashing every row. */
  clone(): TrustState {
    const copy = new TrustState();
    copy.domain.putAll(this.domain);
    copy.authors.putAll(this.authors);
    copy.authority.putAll(this.authority);
    copy.certificateAuthorities.putAll(this.certificateAuthorities);
    copy.services.putAll(this.services);
    copy.rules.putAll(this.rules);
    copy.invites.putAll(this.invites);
    copy.nodes.putAll(this.nodes);
    copy.instances.putAll(this.instances);
    copy.certificates.putAll(this.certificates);
    copy.traffic.putAll(this.traffic);
    copy.zones.putAll(this.zones);
    copy.workloads.putAll(this.workloads);
    copy.revocations.putAll(this.revocations);
    copy.revokedCertificates.putAll(this.revokedCertificates);
    copy.holds.putAll(this.holds);
    copy.authorityStatus.putAll(this.authorityStatus);
    copy.tokenKeys.putAll(this.tokenKeys);
    copy.federation.putAll(this.federation);
    copy.remotes.putAll(this.remotes);
    copy.requestTokens.putAll(this.requestTokens);
    copy.prefixes.putAll(this.prefixes);
    copy.standings.putAll(this.standings);
    return copy;
  }

  /** Whether a raw Ed25519 key is one under which the log has the control plane serve. */
  hasServerKey(key: Uint8Array | undefined): boolean {
    if (key === undefined) return false;
    const encoded = base64Of(key);
    for (const [, { role, publicKey, isRemoved }] of this.authors.entries())
      if (role === "server" && publicKey === encoded && !isRemoved) return true;
    return false;
  }

  /** What an epoch entry commits to, in base64: SHA-256 over the fold's version and every table's digest. */
  digest(): string {
    const tables = Object.fromEntries(
      this.tables
        .filter(({ name, size }) => size > 0 || !laterTables.has(name))
        .map((table) => [table.name, table.digest()]),
    );
    return base64Of(sha256(bytesOf(canonicalJson({ foldVersion, tables }))));
  }
}
