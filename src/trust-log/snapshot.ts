import { base64Of, bytesOfBase64 } from "../base/bytes.ts";
import {
  canonicalJson,
  isJsonObject,
  type Json,
  type JsonObject,
  parseCanonicalJson,
} from "../base/canonical-json.ts";
import { fail, ok, type Result } from "../base/result.ts";
import { checkAuthority } from "./authority.ts";
import { parseEntry } from "./entry.ts";
import { foldEntry } from "./fold.ts";
import { Frontier, leafHash } from "./merkle-tree.ts";
import type { StateTable } from "./state-table.ts";
import { foldVersion, TrustState } from "./trust-state.ts";

/** Why a snapshot was not taken; one replays the log instead. */
export type SnapshotRefusal = "malformed-snapshot" | "other-fold-version" | "not-committed";

/** Writes the state before an epoch entry down: a line of canonical JSON with the tree's edge, then a line a row. */
export function formatSnapshot(state: TrustState, frontier: Frontier): string {
  const header = { foldVersion, size: frontier.size, frontier: frontier.hashes.map(base64Of) };
  const lines = [canonicalJson(header)];
  for (const table of state.tables)
    for (const [key, row] of table.entries()) lines.push(canonicalJson([table.name, key, row]));
  return `${lines.join("\n")}\n`;
}

/** The size that a snapshot says it was taken at, unchecked; undefined where it is none. */
export function claimedSnapshotSize(text: string): number | undefined {
  const header = parseCanonicalJson(text.slice(0, text.indexOf("\n")));
  const size = header.ok && isJsonObject(header.value) ? header.value["size"] : undefined;
  return typeof size === "number" ? size : undefined;
}

/** A snapshot with what vouches for it. */
export interface PresentedSnapshot {
  readonly text: string;
  /** The log's entry at the snapshot's size. */
  readonly epochEntry: Uint8Array;
  /** The log's entry 0, which names the sequencer. */
  readonly genesisEntry: Uint8Array;
}

/** A state and the edge of the tree it belongs to, believed as far as the sequencers of genesis are. */
export interface ReadSnapshot {
  readonly state: TrustState;
  readonly frontier: Frontier;
  readonly epochEntry: Uint8Array;
}

/**
 * Reads a snapshot of the log that begins with `genesis` (a leaf hash in base64). Those whom genesis entitles to write
 * epochs must have committed to the digest of this very state at this very size; that the log holds that epoch entry at
 * this place is for the next step to show (`LogFollower.resume`). After their keys have changed there is no way but a
 * full replay.
 */
export function readSnapshot(
  presented: PresentedSnapshot,
  genesis: string,
): Result<ReadSnapshot, SnapshotRefusal> {
  const [headerLine, ...lines] = presented.text.split("\n");
  if (lines.pop() !== "") return fail("malformed-snapshot", "cut off");
  const header = parseCanonicalJson(headerLine ?? "");
  if (!header.ok || !isJsonObject(header.value)) return fail("malformed-snapshot", "header");
  if (header.value["foldVersion"] !== foldVersion) return fail("other-fold-version");
  const frontier = frontierOf(header.value);
  if (frontier === undefined) return fail("malformed-snapshot", "edge of the tree");

  const state = new TrustState();
  const tables = new Map<string, StateTable<never>>(state.tables.map((table) => [table.name, table]));
  for (const line of lines) {
    const row = parseCanonicalJson(line);
    if (!row.ok || !putRow(tables, row.value)) return fail("malformed-snapshot", "row");
  }
  const isCommitted = commitsTo(presented, genesis, { size: frontier.size, stateDigest: state.digest() });
  return isCommitted ? ok({ state, frontier, epochEntry: presented.epochEntry }) : fail("not-committed");
}

function commitsTo(
  { epochEntry, genesisEntry }: PresentedSnapshot,
  genesis: string,
  { size, stateDigest }: { readonly size: number; readonly stateDigest: string },
): boolean {
  if (base64Of(leafHash(genesisEntry)) !== genesis) return false;
  const founding = new TrustState();
  const entry = parseEntry(epochEntry);
  if (!foldEntry(founding, new Frontier(), genesisEntry).ok || !entry.ok) return false;
  const { kind, body } = entry.value.statement;
  return (
    kind === "epoch" &&
    body["size"] === size &&
    body["stateDigest"] === stateDigest &&
    checkAuthority(founding, entry.value).ok
  );
}

function frontierOf({ size, frontier }: JsonObject): Frontier | undefined {
  if (typeof size !== "number" || !Array.isArray(frontier)) return undefined;
  const hashes = frontier.map((hash: Json) => (typeof hash === "string" ? bytesOfBase64(hash) : undefined));
  const known = hashes.filter((hash) => hash !== undefined);
  return known.length === hashes.length ? Frontier.resume(size, known) : undefined;
}

function putRow(tables: ReadonlyMap<string, StateTable<never>>, value: Json): boolean {
  if (!Array.isArray(value) || value.length !== 3) return false;
  const [name, key, row]: readonly Json[] = value;
  const table = typeof name === "string" ? tables.get(name) : undefined;
  if (table === undefined || typeof key !== "string" || !isJsonObject(row)) return false;
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- the digest, checked after, vouches for the rows' shape
  table.set(key, row as never);
  return true;
}
