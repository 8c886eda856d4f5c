import { join } from "node:path";
import { expect, test } from "vitest";
import { temporaryFolder } from "../../test/contracts/temporary-folder.ts";
import { fakeClock } from "../../test/fakes/fake-clock.ts";
import { silentLog } from "../../test/fakes/silent-log.ts";
import { foundSmallDomain, putAsOperator, type SmallDomain } from "../../test/fakes/small-domain.ts";
import { keyTextOf, signerNamed } from "../../test/fakes/small-trust-log.ts";
import type { KeyStore } from "../storage/index.ts";
import type { NoteSigner } from "../trust-log/index.ts";
import { openLogFiles } from "./log-files.ts";
import { type LogKeys, ownRoles, requireLogKeys } from "./log-keys.ts";
import type { LogStorage } from "./log-storage.ts";
import { LogWriter } from "./log-writer.ts";

interface World extends AsyncDisposable {
  readonly domain: SmallDomain;
  readonly keys: LogKeys;
  readonly writer: LogWriter;
  readonly put: (key: NoteSigner, role: string) => Promise<number>;
  readonly remove: (name: string) => Promise<number>;
  /** The same domain after a restart, with these keys unless its own. */
  readonly reopened: (keyStore?: KeyStore) => Promise<World>;
}

async function openWorld(): Promise<World> {
  const stack = new AsyncDisposableStack();
  const folder = stack.use(await temporaryFolder());
  const domain = await foundSmallDomain(folder.path, fakeClock());
  const storage = stack.use(await openLogFiles(join(domain.folder, "log")));
  return openWriter(domain, storage, stack);
}

async function openWriter(
  domain: SmallDomain,
  storage: LogStorage,
  stack: AsyncDisposableStack,
  keyStore = domain.keyStore,
): Promise<World> {
  const keys = await requireLogKeys(keyStore, "example.org");
  const writer = stack.use(await LogWriter.open({ storage, keys, clock: fakeClock(), log: silentLog }));
  const put = (kind: string, body: Record<string, string>): Promise<number> =>
    putAsOperator(domain, writer, { kind, body });
  return {
    domain,
    keys,
    writer,
    put: (key, role) => put("key.put", { name: key.name, role, publicKey: keyTextOf(key) }),
    remove: (name) => put("key.remove", { name }),
    reopened: async (other) => {
      await writer[Symbol.asyncDispose]();
      return openWriter(domain, storage, stack, other);
    },
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  };
}

const lock = { kind: "instance.lock", body: { instance: "3fa85f64-5717-4562-b3fc-2c963f66afa6" } };

test.each(ownRoles)("a prepared key of role %s acts from the entry that names it", async (role) => {
  await using world = await openWorld();
  const { keys, writer } = world;

  const next = await keys.prepare(role, writer.state);
  const before = keys.signer(role, writer.state)?.name;
  await world.put(next, role);
  const after = keys.signer(role, writer.state)?.name;

  expect([before, after]).toEqual([`example.org/${role}`, `example.org/${role}-2`]);
  expect(keys.prepared(writer.state)).toEqual([]);
});

test("it is prepared once, whoever asks how often, and after a restart too", async () => {
  await using world = await openWorld();
  const first = await world.keys.prepare("issuer", world.writer.state);
  const again = await world.keys.prepare("issuer", world.writer.state);
  const later = await world.reopened();

  expect(keyTextOf(again)).toBe(keyTextOf(first));
  expect(later.keys.prepared(later.writer.state).map(({ key }) => keyTextOf(key))).toEqual([
    keyTextOf(first),
  ]);
});

test("the writer goes on by it once the old one is removed, in the same batch and after a restart", async () => {
  await using world = await openWorld();
  const { keys, writer } = world;
  await world.put(await keys.prepare("issuer", writer.state), "issuer");

  const removing = world.remove("example.org/issuer");
  const written = writer.write([{ role: "issuer", kind: "instance.lock", body: lock.body }]);
  await removing;

  // Refused for what it says, not for who says it.
  expect(await written).toMatchObject({ ok: false, reason: "conflict" });
  const later = await world.reopened();
  expect(later.keys.signer("issuer", later.writer.state)?.name).toBe("example.org/issuer-2");
});

test("where the newer one is removed, the older one acts again", async () => {
  await using world = await openWorld();
  const { keys, writer } = world;
  await world.put(await keys.prepare("server", writer.state), "server");

  await world.remove("example.org/server-2");

  expect(keys.signer("server", writer.state)?.name).toBe("example.org/server");
  expect((await keys.prepare("server", writer.state)).name).toBe("example.org/server-3");
});

test.each(ownRoles)("the last key of role %s that is here is not removed", async (role) => {
  await using world = await openWorld();
  // In the log too, and its private half is elsewhere.
  await world.put(signerNamed(`example.org/${role}-2`), role);

  await expect(world.remove(`example.org/${role}`)).rejects.toThrow("last-own-key");
  await world.remove(`example.org/${role}-2`);

  expect(world.keys.signer(role, world.writer.state)?.name).toBe(`example.org/${role}`);
});

test("a key of another name, or in another role than its name says, never acts", async () => {
  await using world = await openWorld();
  const { keys, writer } = world;
  const next = await keys.prepare("issuer", writer.state);
  await world.put(next, "sequencer");

  expect(keys.signer("issuer", writer.state)?.name).toBe("example.org/issuer");
  expect(keys.signer("sequencer", writer.state)?.name).toBe("example.org/sequencer");
});

test.each([
  ["missing", undefined, '"issuer-2" is missing'],
  ["damaged", new Uint8Array([1, 2, 3]), '"issuer-2" is damaged'],
  ["another one", "other", '"issuer-2" is not the one that the trust log names'],
] as const)("nothing is opened where the one key in force is %s", async (_what, bytes, says) => {
  await using world = await openWorld();
  await world.put(await world.keys.prepare("issuer", world.writer.state), "issuer");
  await world.remove("example.org/issuer");
  const { keyStore } = world.domain;
  const other = (await keyStore.load("server")) ?? new Uint8Array(0);
  const load = async (name: string): Promise<Uint8Array | undefined> => {
    if (name !== "issuer-2") return keyStore.load(name);
    return bytes === "other" ? other : bytes;
  };

  await expect(world.reopened({ ...keyStore, load })).rejects.toThrow(says);
});

test("a damaged key that is only prepared keeps nobody from starting", async () => {
  await using world = await openWorld();
  await world.keys.prepare("issuer", world.writer.state);
  await world.domain.keyStore.save("issuer-2", new Uint8Array([1, 2, 3]));

  const later = await world.reopened();

  expect(later.keys.signer("issuer", later.writer.state)?.name).toBe("example.org/issuer");
  await expect(later.keys.prepare("issuer", later.writer.state)).rejects.toThrow('"issuer-2" is damaged');
});
