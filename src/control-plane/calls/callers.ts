import { Code, ConnectError, type HandlerContext } from "@connectrpc/connect";
import { base64Of, hexOf } from "../../base/bytes.ts";
import { sha256 } from "../../crypto/index.ts";
import { peerKey } from "../../transport/index.ts";
import { isPeoples, type PersonRole, type TrustState } from "../../trust-log/index.ts";
import type { ControlPlaneParts } from "./parts.ts";

/** A person whose key the log has. */
export interface Person {
  /** The name of the key. */
  readonly name: string;
  readonly role: PersonRole;
}

/** The alarms of callers without a key in the log share these, so that they push out nobody else's. */
const strangers = "(strangers)";

/** Whether a key is a joined node's or a person's. */
export function isMemberKey(state: TrustState, key: Uint8Array): boolean {
  return nodeOf(state, key) !== undefined || personOfKey(state, key) !== undefined;
}

/** Whether the caller proved to hold a joined node's key. */
export function isNode({ issuer }: ControlPlaneParts, context: HandlerContext): boolean {
  const key = context.values.get(peerKey);
  return key !== undefined && nodeOf(issuer.writer.state, key) !== undefined;
}

/** The joined node whose key the caller proved to hold. */
export function callingNode({ issuer }: ControlPlaneParts, context: HandlerContext): string {
  const key = context.values.get(peerKey);
  const node = key === undefined ? undefined : nodeOf(issuer.writer.state, key);
  if (node !== undefined) return node;
  throw new ConnectError(key === undefined ? "no-certificate" : "unknown-node", Code.Unauthenticated);
}

/**
 * The person whose key the caller proved to hold, in whatever role of those that may make this call. Everybody else is
 * refused, and an alarm says who tried what.
 */
export function callingPerson(
  { issuer, registry }: ControlPlaneParts,
  context: HandlerContext,
  roles?: ReadonlySet<PersonRole>,
): Person {
  const key = context.values.get(peerKey);
  const call = context.method.name;
  const person = key === undefined ? undefined : personOfKey(issuer.writer.state, key);
  if (key === undefined || person === undefined) {
    const who = key === undefined ? "a caller without a key" : `key ${fingerprintOf(key)}`;
    const why = key === undefined ? "no-certificate" : "unknown-key";
    registry.raise(strangers, "call-refused", `${call} by ${who}: ${why}`);
    throw new ConnectError(why, Code.Unauthenticated);
  }
  if (roles === undefined || roles.has(person.role)) return person;
  const may = [...roles].join(" or ");
  registry.raise(
    person.name,
    "call-refused",
    `${call} by ${person.name}, key ${fingerprintOf(key)}: wrong-role`,
  );
  throw new ConnectError(
    `wrong-role: ${person.name} is ${person.role}; ${call} takes the key of an ${may}`,
    Code.PermissionDenied,
  );
}

/** The person whose raw Ed25519 key this is, unless it was removed. */
export function personOfKey(state: TrustState, key: Uint8Array): Person | undefined {
  const encoded = base64Of(key);
  for (const [name, { role, publicKey, isRemoved }] of state.authors.entries())
    if (publicKey === encoded && !isRemoved && isPeoples(role)) return { name, role };
  return undefined;
}

/** Enough of a key's SHA-256 to find it by. */
function fingerprintOf(key: Uint8Array): string {
  return hexOf(sha256(key)).slice(0, 16);
}

function nodeOf(state: TrustState, key: Uint8Array): string | undefined {
  const encoded = base64Of(key);
  for (const [node, { nodeKey }] of state.nodes.entries()) if (nodeKey === encoded) return node;
  return undefined;
}

/** The same person, unless there are more calls of theirs than the limit lets through. */
export function within(person: Person, limit: { readonly take: (caller: string) => boolean }): Person {
  if (!limit.take(person.name)) throw new ConnectError("too many calls; try again", Code.ResourceExhausted);
  return person;
}
