import type { UnfinishedEntry } from "../trust-log/index.ts";
import { describeEntry } from "./describe-entry.ts";

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
  return { id, kind, what: describeEntry(kind, body), role: needed.role, missing };
}

function articleOf(role: string): string {
  return `${/^[aeiou]/.test(role) ? "an" : "a"} ${role}`;
}
