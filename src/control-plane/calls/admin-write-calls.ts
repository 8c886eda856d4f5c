import { Code, ConnectError, type HandlerContext, type ServiceImpl } from "@connectrpc/connect";
import { messageOf } from "../../base/mesh-error.ts";
import type { Refusal } from "../../base/result.ts";
import type { Admin } from "../../protocol/index.ts";
import type { PersonRole } from "../../trust-log/index.ts";
import type { AlarmReason } from "../follower-registry.ts";
import { openRateLimit } from "../rate-limit.ts";
import { callingPerson, type Person } from "./callers.ts";
import type { ControlPlaneParts } from "./parts.ts";

const entriesPerAppendMax = 256;
/** What one append may hold; the disk takes 4 MiB at once. */
const appendBytesMax = 1024 * 1024;
const appendsPerPerson = { perSecond: 200, burst: 1_000, callersMax: 10_000 };
/** Each of them writes a file. */
const proposalsPerPerson = { perSecond: 5, burst: 100, callersMax: 10_000 };
const sessionsPerPerson = { perSecond: 1, burst: 10, callersMax: 10_000 };
const writers: ReadonlySet<PersonRole> = new Set(["operator", "approver"]);

/**
 * The calls of people by which something changes. They give no power: what an entry may do is judged by its
 * signatures, in the fold.
 */
export function adminWriteCalls(parts: ControlPlaneParts): Partial<ServiceImpl<typeof Admin>> {
  const { issuer, registry, proposals } = parts;
  const appends = openRateLimit(parts.clock, appendsPerPerson);
  const proposing = openRateLimit(parts.clock, proposalsPerPerson);
  const opening = openRateLimit(parts.clock, sessionsPerPerson);
  const writerOf = (context: HandlerContext, limit: typeof appends): Person =>
    within(callingPerson(parts, context, writers), limit);
  const refuse = (person: Person, reason: AlarmReason, refusal: Refusal<string>): ConnectError => {
    registry.raise(person.name, reason, `${person.name}: ${refusal.reason}: ${refusal.detail}`);
    return new ConnectError(`${refusal.reason}: ${refusal.detail}`, Code.PermissionDenied);
  };
  return {
    append: async ({ entries }, context) => {
      const person = writerOf(context, appends);
      const bytes = entries.reduce((sum, entry) => sum + entry.byteLength, 0);
      if (entries.length > entriesPerAppendMax || bytes > appendBytesMax)
        throw new ConnectError("too many entries at once", Code.InvalidArgument);
      const written = await stored(issuer.writer.submit(entries));
      if (!written.ok) throw refuse(person, "entry-refused", written);
      return { size: BigInt(written.value) };
    },
    propose: async ({ entry }, context) => {
      const person = writerOf(context, proposing);
      const proposed = await stored(proposals.propose(entry, person.name));
      if (!proposed.ok) throw refuse(person, "proposal-refused", proposed);
      return { id: proposed.value };
    },
    approve: async ({ entry }, context) => {
      const person = writerOf(context, proposing);
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
    openSession: (_request, context) => {
      const person = within(callingPerson(parts, context), opening);
      const opened = parts.sessions.open(person);
      return { url: opened.url, expiresAtSeconds: BigInt(opened.expiresAtSeconds) };
    },
    listSessions: (_request, context) => {
      const person = within(callingPerson(parts, context), opening);
      const listed = parts.sessions.list(person.name);
      return { sessions: listed.map((one) => ({ ...one, endsAtSeconds: BigInt(one.endsAtSeconds) })) };
    },
    endSession: ({ id }, context) => {
      const person = within(callingPerson(parts, context), opening);
      if (!parts.sessions.end(person.name, id))
        throw new ConnectError(`unknown-session: ${person.name} has no session ${id}`, Code.NotFound);
      return {};
    },
  };
}

function within(person: Person, limit: { readonly take: (caller: string) => boolean }): Person {
  if (!limit.take(person.name)) throw new ConnectError("too many calls; try again", Code.ResourceExhausted);
  return person;
}

/** What could not be written is told to the caller as such: a full disk is nothing that the caller did wrong. */
async function stored<Value>(writing: Promise<Value>): Promise<Value> {
  try {
    return await writing;
  } catch (error) {
    throw new ConnectError(messageOf(error), Code.ResourceExhausted);
  }
}
