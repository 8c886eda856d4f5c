import {
  canonicalJson,
  isJsonObject,
  type Json,
  type JsonObject,
  parseCanonicalJson,
} from "../base/canonical-json.ts";
import { fail, ok, type Result } from "../base/result.ts";
import { type NoteSigner, parseNote, type SignedNote, signNote } from "./signed-note.ts";

const entryHeader = "troth entry v1\n";

/**
 * What an author says in an entry. `log` is the hash of the log's first entry, so that an entry is worth nothing in
 * any other log; each `sequence` number of an author counts once, so that an old entry cannot be put in again; and
 * after `expiresAtSeconds`, by epoch time, one that was signed but never ordered is worth nothing (0: no end).
 */
export interface EntryStatement {
  readonly kind: string;
  readonly version: number;
  readonly log: string;
  readonly author: string;
  readonly sequence: number;
  readonly expiresAtSeconds: number;
  readonly body: JsonObject;
}

/** A statement to be signed; without an end unless one is given. */
export type EntryDraft = Omit<EntryStatement, "expiresAtSeconds"> & { readonly expiresAtSeconds?: number };

/** An entry taken apart, its signatures not judged yet. */
export interface PresentedEntry {
  readonly statement: EntryStatement;
  readonly note: SignedNote;
}

/** The bytes of an entry: the statement's canonical JSON as a note, signed by its author first. */
export function signEntry(statement: EntryDraft, signers: readonly NoteSigner[]): Uint8Array {
  return signNote(entryText(statement), signers);
}

/** The text that the authors of an entry sign. */
export function entryText(statement: EntryDraft): string {
  const { kind, version, log, author, sequence, expiresAtSeconds = 0, body } = statement;
  return `${entryHeader}${canonicalJson({ kind, version, log, author, sequence, expiresAtSeconds, body })}\n`;
}

/** Takes an entry apart; every statement has exactly one spelling. */
export function parseEntry(bytes: Uint8Array): Result<PresentedEntry, "malformed-entry"> {
  const note = parseNote(bytes);
  if (!note.ok) return fail("malformed-entry", note.detail);
  const { text, signatures } = note.value;
  if (new Set(signatures.map(({ name }) => name)).size !== signatures.length)
    return fail("malformed-entry", "two signatures by one author");
  if (!text.startsWith(entryHeader)) return fail("malformed-entry", "unknown header");
  const json = parseCanonicalJson(text.slice(entryHeader.length, -1));
  if (!json.ok) return fail("malformed-entry", json.detail);
  const statement = statementOf(json.value);
  return statement === undefined
    ? fail("malformed-entry", "not a statement")
    : ok({ statement, note: note.value });
}

function statementOf(json: Json): EntryStatement | undefined {
  if (!isJsonObject(json) || Object.keys(json).length !== 7) return undefined;
  const { kind, version, log, author, sequence, expiresAtSeconds, body } = json;
  if (typeof kind !== "string" || typeof log !== "string" || typeof author !== "string") return undefined;
  if (!isNatural(version) || !isNatural(sequence) || !isNatural(expiresAtSeconds)) return undefined;
  return isJsonObject(body) ? { kind, version, log, author, sequence, expiresAtSeconds, body } : undefined;
}

function isNatural(value: Json | undefined): value is number {
  return typeof value === "number" && value >= 0;
}
