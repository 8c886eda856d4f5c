import { Code, ConnectError, type ServiceImpl } from "@connectrpc/connect";
import type { Admin } from "../../protocol/index.ts";
import { openRateLimit } from "../rate-limit.ts";
import { callingPerson, within } from "./callers.ts";
import type { ControlPlaneParts } from "./parts.ts";

const sessionsPerPerson = { perSecond: 1, burst: 10, callersMax: 10_000 };

/** The calls by which people let a web browser read, and end that. */
export function sessionCalls(parts: ControlPlaneParts): Partial<ServiceImpl<typeof Admin>> {
  const opening = openRateLimit(parts.clock, sessionsPerPerson);
  return {
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
