import { join } from "node:path";
import { base64Of, sameBytes } from "../../base/bytes.ts";
import { readFileIfPresent, readJournal } from "../../storage/index.ts";
import {
  checkCheckpoint,
  entriesOfBundle,
  entryBundlePath,
  foldEntry,
  hashBytes,
  leafHash,
  MerkleTree,
  newHashTiles,
  parseVerifierKey,
  TrustState,
  tilePath,
  tileWidth,
} from "../../trust-log/index.ts";
import { CliError, exitCode } from "../exit-codes.ts";
import { meshDirectory, requireKnownDomain } from "../mesh-directory.ts";
import { type OutputFormat, printAnswer } from "../output.ts";

/** What verifying the whole history found. */
export interface LogVerdict {
  readonly verified: boolean;
  readonly size: number;
  readonly root: string;
  /** Entries beyond the newest published checkpoint: written, not signed yet. */
  readonly unsigned: number;
  readonly ineffective: readonly { readonly index: number; readonly reason: string }[];
  readonly problems: readonly string[];
}

/** `troth log verify`: proves the whole history offline, from the files alone and the hash of its first entry. */
export async function verifyLog(options: { dir: string; output: OutputFormat }): Promise<void> {
  const directory = meshDirectory(options.dir);
  const domain = await requireKnownDomain(directory);
  const verdict = await verifyLogFiles({
    log: directory.controlPlaneLog,
    tiles: directory.tiles,
    genesis: domain.genesis,
    logKey: domain.logKey,
  });
  printAnswer(options.output, "LogVerification", verdict, () =>
    verdict.verified
      ? `verified: ${verdict.size} entries, root ${verdict.root}, ${verdict.unsigned} not yet published, ${verdict.ineffective.length} without effect\n`
      : `NOT VERIFIED\n${verdict.problems.map((problem) => `  ${problem}\n`).join("")}`,
  );
  if (!verdict.verified) throw new CliError(exitCode.no, "");
}

/** Recomputes everything: frames, hashes, signatures, authority, state digests, tiles, and the signed root over it all. */
export async function verifyLogFiles(files: {
  log: string;
  tiles: string;
  genesis: string;
  logKey: string;
}): Promise<LogVerdict> {
  const logKey = parseVerifierKey(files.logKey);
  if (!logKey.ok) throw new CliError(exitCode.unreadable, "the log's key is damaged");
  const note = await readFileIfPresent(join(files.tiles, "checkpoint"));
  if (note === undefined) throw new CliError(exitCode.notFound, `no checkpoint in ${files.tiles}`);
  const problems: string[] = [];
  const checkpoint = checkCheckpoint(note, logKey.value);
  if (!checkpoint.ok) problems.push(`checkpoint: ${checkpoint.reason} ${checkpoint.detail}`);
  const size = checkpoint.ok ? checkpoint.value.size : 0;

  const { tree, ineffective } = await replay(files, size, problems);
  if (checkpoint.ok && tree.size < size && problems.length === 0)
    problems.push(`entry ${tree.size}: missing; the checkpoint covers ${size} entries`);
  if (checkpoint.ok && tree.size >= size) {
    if (!sameBytes(tree.root(size), checkpoint.value.root))
      problems.push(`the entries do not hash to the root that was signed at size ${size}`);
    await compareTiles(files.tiles, tree, size, problems);
  }
  return {
    verified: problems.length === 0,
    size,
    root: base64Of(checkpoint.ok ? checkpoint.value.root : new Uint8Array(0)),
    unsigned: Math.max(0, tree.size - size),
    ineffective,
    problems,
  };
}

async function replay(
  files: { log: string; tiles: string; genesis: string },
  size: number,
  problems: string[],
): Promise<{ tree: MerkleTree; ineffective: { index: number; reason: string }[] }> {
  const tree = new MerkleTree();
  const state = new TrustState();
  const ineffective: { index: number; reason: string }[] = [];
  const published = new PublishedLog(files.tiles, size);
  let canFold = true;
  for await (const finding of readJournal(join(files.log, "segments"))) {
    if (!("bytes" in finding)) {
      // What a crash leaves behind the last signed entry is no damage; the writer cuts it off when it starts.
      if (finding.problem === "torn" && finding.index >= size) continue;
      problems.push(
        `entry ${finding.index}: ${finding.problem} at byte ${finding.offset} of ${finding.path}`,
      );
      canFold = false;
      continue;
    }
    const { index, bytes } = finding;
    const hash = leafHash(bytes);
    if (index === 0 && base64Of(hash) !== files.genesis)
      problems.push("entry 0: not the first entry that this directory knows");
    const expected = await published.leaf(index);
    if (expected !== undefined && !sameBytes(expected, hash))
      problems.push(`entry ${index}: not what was published (its hash differs from the tile's)`);
    if (await published.differs(index, bytes))
      problems.push(`entry ${index}: not what was published (its entry bundle differs or is missing)`);
    const folded = canFold ? foldEntry(state, tree, bytes) : undefined;
    if (tree.size === index) tree.append(hash);
    if (folded === undefined) continue;
    if (!folded.ok) {
      problems.push(`entry ${index}: ${folded.reason}: ${folded.detail}`);
      canFold = false;
    } else if (!folded.value.hasEffect) {
      ineffective.push({ index, reason: folded.value.reason });
      // The writer lets nothing without effect in; here it means that the entry is not what its author signed.
      problems.push(`entry ${index}: ${folded.value.reason}: ${folded.value.detail}`);
    }
  }
  return { tree, ineffective };
}

/** The log as it was published: leaf hashes as the tiles of level 0 give them, entries as the bundles do. */
class PublishedLog {
  readonly #folder: string;
  readonly #size: number;
  #tile: { readonly index: number; readonly bytes: Uint8Array | undefined } | undefined;
  #bundle: { readonly index: number; readonly entries: readonly Uint8Array[] } | undefined;

  constructor(folder: string, size: number) {
    this.#folder = folder;
    this.#size = size;
  }

  /** The published hash of an entry, where there is one. */
  async leaf(index: number): Promise<Uint8Array | undefined> {
    if (index >= this.#size) return undefined;
    const tile = Math.floor(index / tileWidth);
    if (this.#tile?.index !== tile)
      this.#tile = { index: tile, bytes: await this.#read(tilePath(0, tile, this.#widthOf(tile))) };
    const at = (index % tileWidth) * hashBytes;
    return this.#tile.bytes?.slice(at, at + hashBytes);
  }

  /** Whether the published entry is missing or another one. */
  async differs(index: number, entry: Uint8Array): Promise<boolean> {
    if (index >= this.#size) return false;
    const bundle = Math.floor(index / tileWidth);
    if (this.#bundle?.index !== bundle) {
      const bytes = await this.#read(entryBundlePath(bundle, this.#widthOf(bundle)));
      this.#bundle = { index: bundle, entries: bytes === undefined ? [] : entriesOfBundle(bytes) };
    }
    const published = this.#bundle.entries[index % tileWidth];
    return published === undefined || !sameBytes(published, entry);
  }

  #widthOf(tile: number): number {
    return Math.min(tileWidth, this.#size - tile * tileWidth);
  }

  #read(path: string): Promise<Uint8Array | undefined> {
    return readFileIfPresent(join(this.#folder, path));
  }
}

async function compareTiles(
  folder: string,
  tree: MerkleTree,
  size: number,
  problems: string[],
): Promise<void> {
  for (const { path, bytes } of newHashTiles(tree, 0, size)) {
    const published = await readFileIfPresent(join(folder, path));
    if (published === undefined) problems.push(`${path}: missing`);
    else if (!sameBytes(published, bytes))
      problems.push(`${path}: differs from the entries${firstDifference(path, published, bytes)}`);
  }
}

/** For a tile of leaves the place says which entry it is. */
function firstDifference(path: string, published: Uint8Array, expected: Uint8Array): string {
  const match = /^tile\/0\/((?:x[0-9]{3}\/)*[0-9]{3})/.exec(path);
  const place = expected.findIndex((byte, at) => published[at] !== byte);
  if (match?.[1] === undefined || place < 0) return "";
  const tile = Number(match[1].replaceAll(/[x/]/g, ""));
  return ` at entry ${tile * tileWidth + Math.floor(place / hashBytes)}`;
}
