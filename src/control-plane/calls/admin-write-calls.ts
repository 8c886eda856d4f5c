import type { MessageInitShape } from "@bufbuild/protobuf";
import { Code, ConnectError, type HandlerContext, type ServiceImpl } from "@connectrpc/connect";
import { bytesOfBase64 } from "../../base/bytes.ts";
import { messageOf } from "../../base/mesh-error.ts";
import { fail, ok, type Refusal, type Result } from "../../base/result.ts";
import type { Admin, PrepareAuthorityRequest, PrepareAuthorityResponseSchema } from "../../protocol/index.ts";
import { type PersonRole, parseEntry, revisionOf } from "../../trust-log/index.ts";
import type { AlarmReason, OlderFollower } from "../follower-registry.ts";
import type { PreparationRefusal } from "../held-authorities.ts";
import { ownRoles } from "../log-keys.ts";
import { openRateLimit } from "../rate-limit.ts";
import { tokenUses } from "../token-keys.ts";
import { callingPerson, type Person, within } from "./callers.ts";
import { ownKeyOf } from "./own-key-messages.ts";
import type { ControlPlaneParts } from "./parts.ts";

const entriesPerAppendMax = 256;
/** What one append may hold; the disk takes 4 MiB at once. */
const appendBytesMax = 1024 * 1024;
const appendsPerPerson = { perSecond: 200, burst: 1_000, callersMax: 10_000 };
/** Each of them writes a file. */
const proposalsPerPerson = { perSecond: 5, burst: 100, callersMax: 10_000 };
/** Each of them writes a key, and an intermediate an entry. */
const preparationsPerPerson = { perSecond: 0.2, burst: 20, callersMax: 10_000 };
/** Each of them asks somebody else's server. */
const refreshesPerPerson = { perSecond: 1, burst: 10, callersMax: 10_000 };
/** Followers that a refusal names. */
const namedMax = 10;
const operators: ReadonlySet<PersonRole> = new Set(["operator"]);
const writers: ReadonlySet<PersonRole> = new Set(["operator", "approver"]);

/**
 * The calls of people by which something changes. They give no power: what an entry may do is judged by its
 * signatures, in the fold.
 */
export function adminWriteCalls(parts: ControlPlaneParts): Partial<ServiceImpl<typeof Admin>> {
  const { issuer, registry, proposals } = parts;
  const appends = openRateLimit(parts.clock, appendsPerPerson);
  const proposing = openRateLimit(parts.clock, proposalsPerPerson);
  const preparing = openRateLimit(parts.clock, preparationsPerPerson);
  const refreshing = openRateLimit(parts.clock, refreshesPerPerson);
  const writerOf = (context: HandlerContext, limit: typeof appends): Person =>
    within(callingPerson(parts, context, writers), limit);
  const refuse = (person: Person, reason: AlarmReason, refused: Refusal<string>): ConnectError => {
    registry.raise(person.name, reason, `${person.name}: ${refused.reason}: ${refused.detail}`);
    return refusal(refused);
  };
  return {
    append: async ({ entries, mayStopFollowers }, context) => {
      const person = writerOf(context, appends);
      const bytes = entries.reduce((sum, entry) => sum + entry.byteLength, 0);
      if (entries.length > entriesPerAppendMax || bytes > appendBytesMax)
        throw new ConnectError("too many entries at once", Code.InvalidArgument);
      if (!mayStopFollowers) requireFollowed(parts, entries);
      const written = await stored(issuer.writer.submit(entries));
      if (!written.ok) {
        // Two programs of one person may sign at the same moment; who is refused signs again.
        if (written.reason === "replayed" && areOf(person, entries)) throw refusal(written);
        throw refuse(person, "entry-refused", written);
      }
      return { size: BigInt(written.value) };
    },
    propose: async ({ entry }, context) => {
      const person = writerOf(context, proposing);
      const proposed = await stored(proposals.propose(entry, person.name));
      if (!proposed.ok) throw refuse(person, "proposal-refused", proposed);
      return { id: proposed.value };
    },
    approve: async ({ entry, mayStopFollowers }, context) => {
      const person = writerOf(context, proposing);
      if (!mayStopFollowers) requireFollowed(parts, [entry]);
      const approved = await stored(proposals.approve(entry));
      if (!approved.ok) throw refuse(person, "approval-refused", approved);
      return { size: BigInt(approved.value) };
    },
    withdrawProposal: async ({ id }, context) => {
      const person = writerOf(context, proposing);
      const withdrawn = await proposals.withdraw(id, person);
      if (!withdrawn.ok) throw refuse(person, "withdrawal-refused", withdrawn);
      return {};
    },
    prepareAuthority: async (request, context) => {
      const person = writerOf(context, preparing);
      const prepared = await stored(prepare(parts, request));
      if (!prepared.ok) throw refuse(person, "preparation-refused", prepared);
      return prepared.value;
    },
    prepareTokenKey: async ({ use }, context) => {
      within(callingPerson(parts, context, operators), preparing);
      const known = tokenUses.find((one) => one === use);
      if (known === undefined)
        throw new ConnectError(`bad-use: expected one of ${tokenUses.join(", ")}`, Code.InvalidArgument);
      const { publicKey, notAfterSeconds } = await stored(parts.tokenKeys.prepare(known));
      const spki = bytesOfBase64(publicKey) ?? new Uint8Array(0);
      return { publicKey: spki, notAfterSeconds: BigInt(notAfterSeconds) };
    },
    prepareOwnKey: async (request, context) => {
      within(callingPerson(parts, context, operators), preparing);
      const role = ownRoles.find((one) => one === request.role);
      if (role === undefined)
        throw new ConnectError(`bad-role: expected one of ${ownRoles.join(", ")}`, Code.InvalidArgument);
      const key = await stored(parts.keys.prepare(role, issuer.writer.state));
      return { key: ownKeyOf({ role, key }, "prepared") };
    },
    refreshFederation: async ({ trustDomain }, context) => {
      writerOf(context, refreshing);
      const standing = await parts.federation.refresh(trustDomain);
      if (standing === undefined)
        throw new ConnectError(`not-federated: there is no federation with ${trustDomain}`, Code.NotFound);
      return { standing, size: BigInt(issuer.writer.newest?.size ?? 0) };
    },
  };
}

function refusal({ reason, detail }: Refusal<string>): ConnectError {
  return new ConnectError(`${reason}: ${detail}`, Code.PermissionDenied);
}

function areOf({ name }: Person, entries: readonly Uint8Array[]): boolean {
  return entries.every((bytes) => {
    const parsed = parseEntry(bytes);
    return parsed.ok && parsed.value.statement.author === name;
  });
}

/** Makes an authority of the kind that was asked for. */
async function prepare(
  { authorities }: ControlPlaneParts,
  { kind, certificate }: Pick<PrepareAuthorityRequest, "kind" | "certificate">,
): Promise<
  Result<MessageInitShape<typeof PrepareAuthorityResponseSchema>, PreparationRefusal | "unknown-kind">
> {
  if (kind === "root") return ok({ certificate: await authorities.prepareRoot() });
  if (kind === "request") return ok({ request: await authorities.prepareRequest() });
  if (kind !== "intermediate") return fail("unknown-kind", kind);
  const made =
    certificate.byteLength > 0
      ? await authorities.takeIntermediate(certificate)
      : await authorities.prepareIntermediate();
  return made.ok ? ok({ certificate: made.value.certificate, size: BigInt(made.value.size) }) : made;
}

/**
 * Refuses entries before which connected followers would stop, since they are older than the entries' kinds: they would
 * learn nothing more, and refuse all work once their view is stale.
 */
function requireFollowed({ registry, issuer }: ControlPlaneParts, entries: readonly Uint8Array[]): void {
  const { state } = issuer.writer;
  for (const bytes of entries) {
    const parsed = parseEntry(bytes);
    // What is no entry has its own refusal.
    if (!parsed.ok) continue;
    const { kind } = parsed.value.statement;
    const older = registry.olderThan(revisionOf(kind), state);
    if (older.length > 0) throw new ConnectError(wouldStop(kind, older), Code.FailedPrecondition);
  }
}

function wouldStop(kind: string, older: readonly OlderFollower[]): string {
  const names = older.slice(0, namedMax).map(({ name, told }) => `${name} (${versionOf(told)})`);
  const more = older.length > namedMax ? ` and ${older.length - namedMax} more` : "";
  return `older-followers: ${kind} is newer than what follows the log, which would stop before it: ${names.join(", ")}${more}. Replace the node agents (restart them) and the sidecars (troth proxy replace) by this version first, or say --stop-older`;
}

function versionOf(told: OlderFollower["told"]): string {
  if (told === undefined) return "not heard of yet, since the control plane has just started";
  const version = told.softwareVersion === "" ? "an older version" : `version ${told.softwareVersion}`;
  return told.isRetiring === true ? `${version}, replaced, ends what it has` : version;
}

/** What could not be written is told to the caller as such: a full disk is nothing that the caller did wrong. */
async function stored<Value>(writing: Promise<Value>): Promise<Value> {
  try {
    return await writing;
  } catch (error) {
    throw new ConnectError(messageOf(error), Code.ResourceExhausted);
  }
}
