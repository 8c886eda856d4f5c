import {
  type AuthorityKind,
  type AuthorityStatus,
  certificateAuthoritiesOf,
  type TrustState,
} from "../trust-log/index.ts";
import { CliError, exitCode } from "./exit-codes.ts";
import { durationOf } from "./output.ts";

const prefixCharactersMin = 4;
/** People take part in replacing a root, so they hear of its end early. */
const rootSecondsLeftMin = 180 * 86_400;
/** In place of a key identifier, where the log has none. */
const unsaid = "unsaid";
/** The control plane replaces an intermediate itself after two thirds of its life. */
const dueShare = 2 / 3;

/** What the control plane says of the authorities whose keys it has. */
export interface HeldHere {
  readonly held: readonly string[];
  /** The intermediate that issues now; empty where none may. */
  readonly issuing: string;
}

/** An authority of the log as people are shown it. */
export interface AuthorityView {
  /** SHA-256 of its certificate, or of the SubjectPublicKeyInfo of a key of tokens. */
  readonly id: string;
  readonly kind: AuthorityKind;
  readonly status: AuthorityStatus;
  /** Whether it signs now, or what it has signed does. */
  readonly isInUse: boolean;
  /** Whether its key is at the control plane. */
  readonly isHeld: boolean;
  /** Whether it is in the trust bundle: a root or a key of tokens. */
  readonly isTrusted: boolean;
  /** The authority that signed it; absent for one that signed itself, and for keys of tokens. */
  readonly issuer?: string;
  readonly keyId?: string;
  readonly notBeforeSeconds: number;
  readonly notAfterSeconds: number;
  /** Certificates of it that have not ended, of instances that are there. */
  readonly certificates: number;
  /** Instances whose newest certificate is of it: those that would lose something. */
  readonly instances: number;
}

/** All authorities that the log knows: each root with those below it, then keys of tokens. */
export function authorityViews(state: TrustState, { held, issuing }: HeldHere): readonly AuthorityView[] {
  const counts = countsOf(state);
  const all = certificateAuthoritiesOf(state);
  const byKeyId = new Map(all.map((one) => [one.certificate.subjectKeyId, one.id]));
  const issuerOf = (keyId: string | undefined): string | undefined =>
    keyId === undefined ? undefined : byKeyId.get(keyId);
  const usedRoot = issuerOf(all.find(({ id }) => id === issuing)?.certificate.authorityKeyId);
  const views = all.map(({ id, kind, certificate, isTrusted, status }): AuthorityView => {
    const { subjectKeyId: keyId, notBeforeSeconds, notAfterSeconds } = certificate;
    const issuer = kind === "root" ? undefined : issuerOf(certificate.authorityKeyId);
    return {
      id,
      kind,
      status,
      isInUse: id === issuing || id === usedRoot,
      isHeld: held.includes(id),
      isTrusted,
      ...(issuer === undefined ? {} : { issuer }),
      ...(keyId === undefined ? {} : { keyId }),
      notBeforeSeconds,
      notAfterSeconds,
      certificates: counts.certificates.get(keyId ?? "") ?? 0,
      instances: counts.instances.get(keyId ?? "") ?? 0,
    };
  });
  const ended = endedBy(views);
  const roots = views.filter(({ issuer }) => issuer === undefined);
  return [
    ...roots.flatMap((root) => [root, ...ended.filter(({ issuer }) => issuer === root.id)]),
    ...tokenKeyViews(state, held),
  ];
}

/** What is below an authority that was tainted or revoked is so too. */
function endedBy(views: readonly AuthorityView[]): readonly AuthorityView[] {
  const statusOf = new Map(views.map(({ id, status }) => [id, status]));
  return views.map((view) => {
    const above = statusOf.get(view.issuer ?? "");
    const goesWith = above === "revoked" || (above === "tainted" && view.status !== "revoked");
    return goesWith && above !== undefined ? { ...view, status: above } : view;
  });
}

/** How many instances show a certificate of an authority or of one below it. */
export function instancesUnder(views: readonly AuthorityView[], id: string): number {
  return views
    .filter((one) => one.id === id || one.issuer === id)
    .reduce((sum, { instances }) => sum + instances, 0);
}

/** Instances whose newest certificate does not say who signed it: it was issued while older versions might follow. */
export function unattributedInstances(state: TrustState): number {
  return countsOf(state).instances.get(unsaid) ?? 0;
}

/** The one authority whose id begins so; throws where there is none or several. */
export function requireAuthority(views: readonly AuthorityView[], text: string): AuthorityView {
  if (!/^[0-9a-f]+$/.test(text) || text.length < prefixCharactersMin)
    throw new CliError(
      exitCode.usage,
      `"${text}" is no id: it takes at least the first ${prefixCharactersMin} hexadecimal digits; see: troth ca show`,
    );
  const found = views.filter(({ id }) => id.startsWith(text));
  const [only, other] = found;
  if (only === undefined)
    throw new CliError(exitCode.notFound, `no authority's id begins with ${text}; see: troth ca show`);
  if (other !== undefined)
    throw new CliError(
      exitCode.usage,
      `${text} may be ${found.map(({ id }) => shortAuthority(id)).join(" or ")}`,
    );
  return only;
}

/** Enough of an id to say which one is meant. */
export function shortAuthority(id: string): string {
  return id.slice(0, 12);
}

/** Where an authority is, in words. */
export function statusInWords(
  view: AuthorityView,
  views: readonly AuthorityView[],
  nowSeconds: number,
): string {
  const { status, isInUse, notBeforeSeconds, notAfterSeconds, kind } = view;
  if (status === "revoked") return "revoked";
  if (nowSeconds > notAfterSeconds) return "ended";
  if (status === "tainted") return "tainted";
  if (status === "active") return isInUse || !isCertificate(view) ? "active" : "active, not in use";
  if (isInUse) return "in use";
  const used = views.find((one) => one.kind === kind && one.isInUse);
  const isBefore = used !== undefined && notBeforeSeconds < used.notBeforeSeconds;
  return status === "old" || isBefore ? "old" : "prepared";
}

/** Whether it can sign here: its key is here, or, for a root that is elsewhere, that of an intermediate below it. */
export function canSign(view: AuthorityView, views: readonly AuthorityView[]): boolean {
  return view.isHeld || views.some(({ issuer, isHeld }) => issuer === view.id && isHeld);
}

/** What a person would do next about an authority; empty where nothing is to be done. */
export function nextStep(view: AuthorityView, views: readonly AuthorityView[], nowSeconds: number): string {
  const { kind, notAfterSeconds, notBeforeSeconds } = view;
  const words = statusInWords(view, views, nowSeconds);
  const id = shortAuthority(view.id);
  const instances = instancesUnder(views, view.id);
  if (words === "prepared")
    return canSign(view, views) ? `troth ca activate ${id}` : "its key is not at this control plane";
  const isBelow = views.some((one) => one.id === view.issuer && one.status === view.status);
  if (words === "tainted")
    return isBelow
      ? ""
      : instances > 0
        ? `${instances} instances have yet to replace their certificates`
        : `troth ca revoke ${id} --reason superseded`;
  if (words === "old") return instances > 0 ? `troth ca taint ${id} has its certificates replaced` : "";
  if (words !== "in use" && words !== "active") return "";
  const leftSeconds = notAfterSeconds - nowSeconds;
  if (kind === "root")
    return leftSeconds < rootSecondsLeftMin
      ? `ends in ${durationOf(leftSeconds)}: troth ca prepare --kind root`
      : "";
  const isDue = nowSeconds > notBeforeSeconds + (notAfterSeconds - notBeforeSeconds) * dueShare;
  if (!isDue || kind !== "intermediate") return "";
  const hasRoot = views.some((one) => one.kind === "root" && one.isHeld && one.isTrusted);
  return hasRoot ? "is being replaced" : "troth ca prepare --csr FILE, for the root that signs it";
}

function isCertificate({ kind }: AuthorityView): boolean {
  return kind === "root" || kind === "intermediate";
}

function tokenKeyViews(state: TrustState, held: readonly string[]): readonly AuthorityView[] {
  return [...state.tokenKeys.entries()].map(([id, { use, notAfterSeconds }]) => {
    const status = state.authorityStatus.get(id)?.status ?? "prepared";
    return {
      id,
      kind: use,
      status,
      isInUse: status === "active",
      isHeld: held.includes(id),
      isTrusted: status !== "revoked",
      notBeforeSeconds: 0,
      notAfterSeconds,
      certificates: 0,
      instances: 0,
    };
  });
}

/** By key identifier: certificates in force, and instances whose newest certificate it is. */
function countsOf(state: TrustState): {
  readonly certificates: ReadonlyMap<string, number>;
  readonly instances: ReadonlyMap<string, number>;
} {
  const certificates = new Map<string, number>();
  const newest = new Map<string, { readonly keyId: string; readonly notAfterSeconds: number }>();
  for (const [
    ,
    { authorityKeyId: keyId = unsaid, instance, notAfterSeconds },
  ] of state.certificates.entries()) {
    certificates.set(keyId, (certificates.get(keyId) ?? 0) + 1);
    // What was entered later is newer where both end in the same second.
    if (notAfterSeconds >= (newest.get(instance)?.notAfterSeconds ?? 0))
      newest.set(instance, { keyId, notAfterSeconds });
  }
  const instances = new Map<string, number>();
  for (const { keyId } of newest.values()) instances.set(keyId, (instances.get(keyId) ?? 0) + 1);
  return { certificates, instances };
}
