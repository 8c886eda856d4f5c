import { base64Of, textOf } from "../../base/bytes.ts";
import { canonicalJson } from "../../base/canonical-json.ts";
import { publicKeyBytes } from "../../crypto/index.ts";
import {
  type AuthorityRow,
  type AuthorRole,
  defaultGrants,
  type EntryKind,
  isEntryKind,
  isPersonName,
  type LogStep,
  parseEntry,
  parseVerifierKey,
  peoplesRoles,
  verifierKeyOf,
} from "../../trust-log/index.ts";
import { CliError, exitCode } from "../exit-codes.ts";
import { formatMeshCard, parseMeshCard } from "../mesh-card.ts";
import {
  makeMeshDirectory,
  meshDirectory,
  readKnownDomain,
  requireKnownDomain,
  writeKnownDomain,
} from "../mesh-directory.ts";
import { loadOperator, type NewEntry, OperatorClient } from "../operator-client.ts";
import { type OutputFormat, printAnswer, tableOf } from "../output.ts";
import { type Appended, shortId } from "../proposed-entry.ts";

/** A kind of entry and what it is to take. */
interface Change {
  readonly kind: EntryKind;
  readonly grant: AuthorityRow;
}

interface Options {
  readonly dir: string;
  readonly output: OutputFormat;
}

/** `troth operator list`: the people whose keys the log has or had, and what each kind of entry takes. */
export async function listOperators(options: Options & { readonly grants: boolean }): Promise<void> {
  const since = new Map<string, number>();
  const stepped = (step: LogStep): void => noteKeys(step, since);
  using client = await OperatorClient.open(meshDirectory(options.dir), { stepped });
  const items = [...client.state.authors.entries()]
    .filter(([, { role }]) => peoplesRoles.has(role))
    .map(([name, { role, publicKey, isRemoved }]) => ({
      name,
      role,
      publicKey,
      isRemoved,
      sinceEntry: since.get(publicKey) ?? 0,
      isThisDirectory: name === client.name,
    }));
  const grants = [...client.state.authority.entries()]
    .map(([kind, { role, signatures, approvals }]) => ({ kind, role, signatures, approvals }))
    .sort((left, right) => (left.kind < right.kind ? -1 : 1));
  printAnswer(options.output, "OperatorList", { items, ...(options.grants ? { grants } : {}) }, () => {
    const people = tableOf(
      ["NAME", "ROLE", "SINCE ENTRY", "STATUS"],
      items.map((item) => [
        item.name,
        item.role,
        String(item.sinceEntry),
        `${item.isRemoved ? "removed" : "in force"}${item.isThisDirectory ? ", this directory's" : ""}`,
      ]),
    );
    if (!options.grants) return people;
    const rows = grants.map((one) => [one.kind, one.role, String(one.signatures), String(one.approvals)]);
    return `${people}\n${tableOf(["ENTRY KIND", "WRITTEN BY", "SIGNATURES", "APPROVALS"], rows)}`;
  });
}

/** `troth operator card`: what somebody else needs to know of this mesh, in one line without a secret. */
export async function showCard(options: Options): Promise<void> {
  const domain = await requireKnownDomain(meshDirectory(options.dir));
  const card = formatMeshCard(domain);
  printAnswer(options.output, "MeshCard", { card }, () => `${card}\n`);
}

/** `troth operator key`: makes a person's key in a directory of theirs; prints what has to be added to the log. */
export async function makeKey(
  cardText: string,
  options: Options & { readonly name: string; readonly role: string },
): Promise<void> {
  const card = parseMeshCard(cardText.trim());
  if (!card.ok) throw new CliError(exitCode.unreadable, `this is no mesh card: ${card.detail}`);
  if (!peoplesRoles.has(options.role))
    throw new CliError(exitCode.usage, `--role takes ${[...peoplesRoles].join(", ")}, not "${options.role}"`);
  if (!isPersonName(options.name))
    throw new CliError(
      exitCode.usage,
      `"${options.name}" is no name: lower-case letters, digits and hyphens`,
    );
  const directory = meshDirectory(options.dir);
  const operator = `${card.value.trustDomain}/${options.role}/${options.name}`;
  const known = await readKnownDomain(directory);
  if (known !== undefined && known.operator !== operator)
    throw new CliError(
      exitCode.failed,
      `${directory.path} has the key of ${known.operator} already; choose another directory with --dir`,
    );
  await makeMeshDirectory(directory);
  const key = await loadOperator(directory, operator);
  await writeKnownDomain(directory, { ...card.value, operator });
  const verifierKey = verifierKeyOf(key);
  printAnswer(options.output, "OperatorKey", { name: operator, role: options.role, verifierKey }, () => {
    process.stderr.write("troth: it counts once an operator has run: troth operator add KEY\n");
    return `${verifierKey}\n`;
  });
}

/** `troth operator add VKEY`: enters a person's key into the log, in the role that its name says. */
export async function addOperator(verifierKey: string, options: Options): Promise<void> {
  const parsed = parseVerifierKey(verifierKey.trim());
  if (!parsed.ok)
    throw new CliError(exitCode.unreadable, `this is no key of "troth operator key": ${parsed.detail}`);
  const { name, publicKey } = parsed.value;
  using client = await OperatorClient.open(meshDirectory(options.dir));
  const { trustDomain } = client.domain;
  const [domain, role = "", person = "", ...rest] = name.split("/");
  if (domain !== trustDomain || !peoplesRoles.has(role) || !isPersonName(person) || rest.length > 0)
    throw new CliError(
      exitCode.usage,
      `${name} is not ${trustDomain}/ROLE/PERSON with one of the roles ${[...peoplesRoles].join(", ")}`,
    );
  const body = { name, role, publicKey: base64Of(publicKeyBytes(publicKey)) };
  const appended = await client.append([{ kind: "key.put", body }]);
  tell(options, appended, { name, role }, `${name} is ${role}`);
}

/** `troth operator remove NAME`: the key counts no more, and its streams and sessions end. */
export async function removeOperator(text: string, options: Options): Promise<void> {
  using client = await OperatorClient.open(meshDirectory(options.dir));
  const names = [...client.state.authors.entries()]
    .filter(([, { role, isRemoved }]) => !isRemoved && peoplesRoles.has(role))
    .map(([name]) => name)
    .filter((name) => name === text || name.endsWith(`/${text}`));
  const [name, other] = names;
  if (name === undefined)
    throw new CliError(exitCode.notFound, `no key of a person is named ${text}; see: troth operator list`);
  if (other !== undefined)
    throw new CliError(exitCode.usage, `${text} may be ${names.join(" or ")}; write the whole name`);
  const appended = await client.append([{ kind: "key.remove", body: { name } }]);
  tell(options, appended, { name }, `the key of ${name} counts no more`);
}

/** `troth operator require`: how many signatures and approvals entries take from now on. */
export async function requireSignatures(
  options: Options & {
    readonly signatures?: number;
    readonly approvals?: number;
    readonly kind: readonly string[];
  },
): Promise<void> {
  const { signatures, approvals } = options;
  if (signatures === undefined && approvals === undefined)
    throw new CliError(exitCode.usage, "say how many: --signatures N, --approvals N, or both");
  using client = await OperatorClient.open(meshDirectory(options.dir));
  const kinds = options.kind.length > 0 ? options.kind : kindsOf(client, "operator");
  const wanted = (grant: AuthorityRow): AuthorityRow => ({
    role: grant.role,
    signatures: signatures ?? grant.signatures,
    approvals: approvals ?? grant.approvals,
  });
  const changes: Change[] = [];
  for (const kind of kinds) {
    const held = client.state.authority.get(kind);
    // A kind that is newer than the trust domain is granted here for the first time.
    const grant = held ?? defaultGrants[kind];
    if (grant === undefined || !isEntryKind(kind))
      throw new CliError(
        exitCode.notFound,
        `no entries are of kind ${kind}; see: troth operator list --grants`,
      );
    // One that the control plane writes can only be granted as it is.
    if (held === undefined && grant.role !== "operator") {
      changes.push({ kind, grant });
      continue;
    }
    if (grant.role !== "operator")
      throw new CliError(exitCode.usage, `${kind} is written by the control plane (${grant.role})`);
    const after = wanted(grant);
    if (after.signatures !== held?.signatures || after.approvals !== held.approvals)
      changes.push({ kind, grant: after });
  }
  requireKeys(client, { signatures: signatures ?? 1, approvals: approvals ?? 0 });
  const groups = byGrant(changes);
  const appended = await client.append(groups.flatMap(entryOf));
  // Each raises what the next one takes, so those that wait are the last.
  const changed = groups.slice(0, groups.length - appended.proposals.length).flat().length;
  const answer = { kinds: [...kinds], signatures: signatures ?? null, approvals: approvals ?? null, changed };
  const says =
    changes.length === 0
      ? "that is so already"
      : `changed for ${changed} of ${changes.length} kinds of entries`;
  tell(options, appended, answer, says);
}

/** The kinds by the grant that comes out: an entry holds for all of its kinds at once. */
function byGrant(changes: readonly Change[]): Change[][] {
  return [...Map.groupBy(changes, ({ grant }) => canonicalJson({ ...grant })).values()];
}

function entryOf(changes: readonly Change[]): NewEntry[] {
  const [first] = changes;
  if (first === undefined) return [];
  const body = { kinds: changes.map(({ kind }) => kind), grant: { ...first.grant } };
  return [{ kind: "authority.put", body }];
}

/** What the fold would refuse, said before anything is signed. */
function requireKeys(
  client: OperatorClient,
  { signatures, approvals }: { readonly signatures: number; readonly approvals: number },
): void {
  const held = (role: AuthorRole): number =>
    [...client.state.authors.entries()].filter(([, row]) => row.role === role && !row.isRemoved).length;
  for (const [role, count] of [
    ["operator", signatures],
    ["approver", approvals],
  ] as const)
    if (held(role) < count)
      throw new CliError(
        exitCode.no,
        `not enough keys: that takes ${count} of role ${role}, and the log has ${held(role)}; add one first: troth operator key, troth operator add`,
      );
}

function kindsOf(client: OperatorClient, role: AuthorRole): EntryKind[] {
  return [...client.state.authority.entries()]
    .filter(([, grant]) => grant.role === role)
    .map(([kind]) => kind)
    .filter((kind) => isEntryKind(kind))
    .sort();
}

function tell(options: Options, { size, proposals }: Appended, answer: object, says: string): void {
  printAnswer(options.output, "OperatorChange", { ...answer, size, proposals }, () => {
    const [only] = proposals;
    if (only === undefined) return `${says}\n`;
    if (proposals.length === 1) return `${says}, once proposal ${shortId(only.id)} has its signatures\n`;
    return `${says}; ${proposals.length} proposals wait for signatures: troth approve --all\n`;
  });
}

/** Remembers at which entry each key of a person came into the log. */
function noteKeys({ firstIndex, entries }: LogStep, since: Map<string, number>): void {
  for (const [place, bytes] of entries.entries()) {
    if (textOf(bytes)?.includes('"kind":"key.put"') !== true) continue;
    const parsed = parseEntry(bytes);
    const key = parsed.ok ? parsed.value.statement.body["publicKey"] : undefined;
    if (typeof key === "string" && !since.has(key)) since.set(key, firstIndex + place);
  }
}
