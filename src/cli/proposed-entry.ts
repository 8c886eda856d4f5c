import { isJsonObject, type Json, type JsonObject } from "../base/canonical-json.ts";
import type { UnfinishedEntry } from "../trust-log/index.ts";

/** An entry that waits at the control plane for the signatures of others. */
export interface ProposedEntry {
  readonly id: string;
  readonly kind: string;
  /** What the entry does, in words. */
  readonly what: string;
  /** Whose signatures it takes. */
  readonly role: string;
  readonly missing: { readonly signatures: number; readonly approvals: number };
}

/** What came of entries that a command had to write: those in the log, and those that wait. */
export interface Appended {
  /** The size of the log with those that are in it. */
  readonly size: number;
  readonly proposals: readonly ProposedEntry[];
}

/** Enough of a proposal's id to type. */
export function shortId(id: string): string {
  return id.slice(0, 12);
}

/** `waits for 1 more signature of an operator and 1 approval: troth approve 3f2a…`. */
export function waitsFor(proposed: ProposedEntry): string {
  return `waits for ${missingInWords(proposed)}: troth approve ${shortId(proposed.id)}`;
}

/** `1 more signature of an operator and 1 approval`. */
export function missingInWords({ role, missing }: Pick<ProposedEntry, "role" | "missing">): string {
  const { signatures, approvals } = missing;
  const parts = [
    ...(signatures > 0
      ? [`${signatures} more ${signatures === 1 ? "signature" : "signatures"} of ${articleOf(role)}`]
      : []),
    ...(approvals > 0 ? [`${approvals} ${approvals === 1 ? "approval" : "approvals"}`] : []),
  ];
  return parts.length === 0 ? "nothing" : parts.join(" and ");
}

/** What is known of a proposal that was judged. */
export function proposedEntryOf(id: string, { statement, needed, missing }: UnfinishedEntry): ProposedEntry {
  const { kind, body } = statement;
  return { id, kind, what: entryInWords(kind, body), role: needed.role, missing };
}

/** What an entry does, in a few words for the person who is asked to sign it. */
export function entryInWords(kind: string, body: JsonObject): string {
  const of = (name: string): string => wordsOf(body[name]);
  switch (kind) {
    case "rule.put":
      return `${body["effect"] === "deny" ? "forbid" : "let"} ${of("from")} ${body["effect"] === "deny" ? "to " : ""}call ${of("to")}${limitsOf(body)}`;
    case "rule.remove":
      return `remove the rule from ${of("from")} to ${of("to")}`;
    case "service.put":
      return `register service ${of("name")} (data class ${of("dataClass")}, on nodes ${of("nodes")})`;
    case "service.remove":
      return `remove service ${of("name")}`;
    case "node.invite":
      return `invite node ${of("node")}`;
    case "node.remove":
      return `remove node ${of("node")} and all that runs there`;
    case "key.put":
      return `add ${of("name")} as ${of("role")} with key ${of("publicKey")}`;
    case "key.remove":
      return `remove the key of ${of("name")}`;
    case "authority.put":
      return `from now on ${of("kinds")} takes ${grantInWords(body["grant"])}`;
    default:
      return `${kind} ${JSON.stringify(body)}`;
  }
}

function limitsOf(body: JsonObject): string {
  const limits = [wordsOf(body["methods"]), wordsOf(body["paths"])].filter((text) => text !== "");
  return limits.length === 0 ? "" : ` (only ${limits.join(" ")})`;
}

function grantInWords(grant: Json | undefined): string {
  if (!isJsonObject(grant)) return wordsOf(grant);
  const { signatures, approvals } = grant;
  return `${counted(signatures, "signature")} of role ${wordsOf(grant["role"])} and ${counted(approvals, "approval")}`;
}

function counted(count: Json | undefined, noun: string): string {
  return `${wordsOf(count)} ${noun}${count === 1 ? "" : "s"}`;
}

function wordsOf(value: Json | undefined): string {
  if (Array.isArray(value)) return value.map(wordsOf).join(", ");
  return typeof value === "object" ? JSON.stringify(value) : String(value ?? "");
}

function articleOf(role: string): string {
  return `${/^[aeiou]/.test(role) ? "an" : "a"} ${role}`;
}
