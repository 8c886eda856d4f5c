import { execFileSync, spawnSync } from "node:child_process";
import { readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, it } from "vitest";
import { temporaryFolder } from "../../test/contracts/temporary-folder.ts";
import { fakeClock } from "../../test/fakes/fake-clock.ts";
import { silentLog } from "../../test/fakes/silent-log.ts";
import { foundSmallDomain, operatorEntry, type SmallDomain } from "../../test/fakes/small-domain.ts";
import { serviceBody } from "../../test/fakes/small-trust-log.ts";
import { checkCheckpoint, leafHash, MerkleTree, verifierKeyOf } from "../trust-log/index.ts";
import { openLogFiles } from "./log-files.ts";
import { LogWriter } from "./log-writer.ts";
import { publishTiles } from "./publish-tiles.ts";

const isGoHere = spawnSync("go", ["version"]).status === 0;

/** Runs a log until it has `size` entries and closes it, which publishes the last of it. */
async function runUntil(domain: SmallDomain, tiles: string, size: number): Promise<number> {
  await using files = await openLogFiles(join(domain.folder, "log"));
  await using writer = await LogWriter.open({
    storage: files,
    keys: domain.keys,
    clock: fakeClock(),
    log: silentLog,
  });
  await using _publisher = publishTiles(tiles, writer, silentLog);
  const missing = Math.max(0, size - writer.tree.size);
  const entries = Array.from({ length: missing }, (_, ahead) =>
    operatorEntry(domain, writer.state, { kind: "service.put", body: serviceBody("/shop/web"), ahead }),
  );
  if (entries.length > 0) await writer.submit(entries);
  return writer.tree.size;
}

/** Reads the published folder as anybody would: bundles, hash tiles, checkpoint; the size that they agree on. */
async function verified(domain: SmallDomain, tiles: string): Promise<number> {
  const checked = checkCheckpoint(
    new Uint8Array(await readFile(join(tiles, "checkpoint"))),
    domain.anchor.logKey,
  );
  if (!checked.ok) throw new Error(checked.reason);
  const { size, root } = checked.value;
  const tree = new MerkleTree();
  for (let index = 0; index * 256 < size; index += 1) {
    const width = Math.min(256, size - index * 256);
    const name = `${String(index).padStart(3, "0")}${width === 256 ? "" : `.p/${width}`}`;
    const bundle = await readFile(join(tiles, "tile", "entries", name));
    const hashes = await readFile(join(tiles, "tile", "0", name));
    for (let offset = 0, column = 0; offset < bundle.length; column += 1) {
      const end = offset + 2 + bundle.readUInt16BE(offset);
      const hash = leafHash(bundle.subarray(offset + 2, end));
      if (!hashes.subarray(column * 32, (column + 1) * 32).equals(hash))
        throw new Error(`hash ${index}/${column}`);
      tree.append(hash);
      offset = end;
    }
  }
  if (tree.size !== size || !Buffer.from(tree.root()).equals(root)) throw new Error("root");
  return size;
}

it("publishes a folder that verifies, in every run, and keeps no partial tile beside a full one", async () => {
  await using folder = await temporaryFolder();
  const tiles = join(folder.path, "tiles");
  const domain = await foundSmallDomain(folder.path, fakeClock());

  for (const size of [20, 200, 256, 600]) {
    const reached = await runUntil(domain, tiles, size);
    expect(await verified(domain, tiles)).toBe(reached);
  }

  expect((await readdir(join(tiles, "tile", "entries"))).sort()).toEqual(["000", "001", "002.p"]);
  expect((await readdir(join(tiles, "tile", "0"))).sort()).toEqual(["000", "001", "002.p"]);
});

it("mends what was torn or lost since the last run, and touches nothing else", async () => {
  await using folder = await temporaryFolder();
  const tiles = join(folder.path, "tiles");
  const domain = await foundSmallDomain(folder.path, fakeClock());
  await runUntil(domain, tiles, 300);
  const torn = join(tiles, "tile", "entries", "000");
  await writeFile(torn, (await readFile(torn)).subarray(0, 100));
  await expect(verified(domain, tiles)).rejects.toThrow(/./);

  const size = await runUntil(domain, tiles, 300);

  expect(await verified(domain, tiles)).toBe(size);
});

it("removes partial tiles of the upper levels too", async () => {
  await using folder = await temporaryFolder();
  const tree = new MerkleTree();
  const hash = new Uint8Array(32);
  const read = async function* (from: number, to: number): AsyncGenerator<Uint8Array> {
    for (let index = from; index < to; index += 1) yield hash;
  };
  const publish = async (size: number): Promise<void> => {
    while (tree.size < size) tree.append(hash);
    await using _publisher = publishTiles(
      folder.path,
      { newest: { size, checkpoint: hash }, tree, read },
      silentLog,
    );
  };

  await publish(1_000);
  expect(await readdir(join(folder.path, "tile", "1"))).toEqual(["000.p"]);
  await publish(65_536);

  expect(await readdir(join(folder.path, "tile", "1"))).toEqual(["000"]);
});

it.skipIf(!isGoHere)(
  "publishes what Go's own implementation of transparency logs verifies",
  async () => {
    await using folder = await temporaryFolder();
    const tiles = join(folder.path, "tiles");
    const domain = await foundSmallDomain(folder.path, fakeClock());
    const peer = join(folder.path, "tlog-go");
    execFileSync("go", ["build", "-mod=readonly", "-o", peer, "."], { cwd: "test/peers/tlog-go" });

    const size = await runUntil(domain, tiles, 520);

    const facts = execFileSync(peer, [tiles, verifierKeyOf(domain.anchor.logKey), "300"], {
      encoding: "utf8",
    });
    expect(JSON.parse(facts)).toMatchObject({ origin: "example.org/trust-log", size, records: size });
  },
  120_000,
);
