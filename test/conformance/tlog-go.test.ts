import { execFileSync, spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { base64Of, bytesOf } from "../../src/base/bytes.ts";
import {
  entryBundle,
  formatTlogProof,
  leafHash,
  MerkleTree,
  newEntryBundles,
  newHashTiles,
  signCheckpoint,
  tilePath,
  verifierKeyOf,
} from "../../src/trust-log/index.ts";
import { SmallTrustLog, signerNamed } from "../fakes/small-trust-log.ts";

const isGoHere = spawnSync("go", ["version"]).status === 0;
if (!isGoHere)
  console.log("skipped: the published log as golang.org/x/mod/sumdb reads it (no go on the PATH)");

const folder = mkdtempSync(join(tmpdir(), "troth-tlog-go-"));
const peer = join(folder, "tlog-go");
const signer = signerNamed("example.org/trust-log");
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** Publishes a log in steps, each of which adds files and leaves those of earlier steps alone. */
function publish(
  name: string,
  entries: readonly Uint8Array[],
  sizes: readonly number[],
): { at: string; tree: MerkleTree } {
  const at = join(folder, name);
  const tree = new MerkleTree();
  const write = (path: string, bytes: Uint8Array): void => {
    mkdirSync(dirname(join(at, path)), { recursive: true });
    writeFileSync(join(at, path), bytes);
  };
  for (const size of sizes) {
    const from = tree.size;
    for (const entry of entries.slice(from, size)) tree.append(leafHash(entry));
    for (const { path, bytes } of newHashTiles(tree, from, size)) write(path, bytes);
    for (const { path, from: first, to } of newEntryBundles(from, size))
      write(path, entryBundle(entries.slice(first, to)));
    write("checkpoint", signCheckpoint({ size, root: tree.root() }, signer));
  }
  return { at, tree };
}

function ask(at: string, key: string, ...rest: readonly string[]): { status: number | null; output: string } {
  const { status, stdout, stderr } = spawnSync(peer, [at, key, ...rest], { encoding: "utf8" });
  return { status, output: status === 0 ? stdout : stderr };
}

function flipBit(file: string, byte: number): void {
  const bytes = new Uint8Array(readFileSync(file));
  writeFileSync(file, bytes.with(byte, (bytes[byte] ?? 0) ^ 1));
}

describe.skipIf(!isGoHere)("golang.org/x/mod/sumdb", () => {
  const entries = Array.from({ length: 66_000 }, (_, index) => bytesOf(`entry ${index}`));
  const key = verifierKeyOf(signer);

  beforeAll(() => {
    execFileSync("go", ["build", "-mod=readonly", "-o", peer, "."], {
      cwd: "test/peers/tlog-go",
      stdio: "inherit",
    });
  }, 120_000);

  test.each([
    ["one entry", [1], 1],
    ["less than a tile", [3, 200], 3],
    ["a full tile", [256], 255],
    ["a full tile and one entry", [100, 257], 100],
    ["a partial tile at the second level", [255, 600, 1000], 600],
    ["a third level", [300, 65_000, 66_000], 65_000],
  ])("finds signature, root, all records and the older tree in a log of %s", (name, sizes, older) => {
    const { at, tree } = publish(name.replaceAll(" ", "-"), entries, sizes);

    const { status, output } = ask(at, key, String(older));

    expect(output).toMatch(/^\{/);
    expect(status).toBe(0);
    expect(JSON.parse(output)).toEqual({
      origin: signer.name,
      size: tree.size,
      root: base64Of(tree.root()),
      records: tree.size,
      olderRoot: base64Of(tree.root(older)),
    });
  });

  test("reads the notes that entries are", () => {
    const log = new SmallTrustLog();
    log.putNode("edge-1");
    log.putEpoch();

    const { at } = publish("real-entries", log.entries, [log.entries.length]);

    expect(ask(at, key)).toMatchObject({ status: 0 });
  });

  test("accepts the proof of an entry as a file, and only for that entry under that key", () => {
    const log = new SmallTrustLog();
    log.putNode("edge-1");
    for (let epoch = 0; epoch < 300; epoch += 1) log.putEpoch();
    const logKey = verifierKeyOf(log.logKey);
    const write = (name: string, bytes: Uint8Array): string => {
      writeFileSync(join(folder, name), bytes);
      return join(folder, name);
    };
    for (const [index, size] of [
      [0, 1],
      [2, 3],
      [0, 256],
      [255, 257],
      [256, 257],
      [300, log.entries.length],
    ] as const) {
      const hashes = log.tree.inclusionProof(index, size);
      const proof = write("proof", formatTlogProof({ index, hashes, checkpoint: log.checkpoint(size) }));
      const entry = write("entry", log.entries[index] ?? new Uint8Array(0));
      const other = write("other", log.entries[index + 1] ?? new Uint8Array(0));

      const { status, output } = ask("--proof", proof, entry, logKey);

      expect([index, status]).toEqual([index, 0]);
      expect(JSON.parse(output)).toMatchObject({
        origin: log.logKey.name,
        size,
        root: base64Of(log.tree.root(size)),
      });
      expect(ask("--proof", proof, other, logKey).status).toBe(1);
      expect(ask("--proof", proof, entry, key).status).toBe(1);
    }
  });

  test("refuses another key, a changed checkpoint, a changed tile and a changed entry, as it should", () => {
    const { at } = publish("changed", entries, [300]);
    const files = [
      ["checkpoint", signer.name.length + 2],
      [tilePath(0, 0), 40],
      [tilePath(0, 1, 44), 40],
      [tilePath(1, 0, 1), 0],
      ["tile/entries/000", 2],
      ["tile/entries/001.p/44", 5],
    ] as const;

    expect(ask(at, verifierKeyOf(signerNamed(signer.name))).status).toBe(1);
    for (const [path, byte] of files) {
      flipBit(join(at, path), byte);
      expect([path, ask(at, key).status]).toEqual([path, 1]);
      flipBit(join(at, path), byte);
    }
    expect(ask(at, key).status).toBe(0);
  });
});
