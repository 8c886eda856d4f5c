import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { temporaryFolder } from "../../../test/contracts/temporary-folder.ts";
import { SmallTrustLog, serviceBody } from "../../../test/fakes/small-trust-log.ts";
import { base64Of } from "../../base/bytes.ts";
import { exportPrivateKey } from "../../crypto/index.ts";
import { openFileJournal, openFileKeyStore, openHead, openWriterLock } from "../../storage/index.ts";
import { generationOf, type NoteSigner, parseVerifierKey, verifierKeyOf } from "../../trust-log/index.ts";
import { meshDirectory, requireKnownDomain, writeKnownDomain } from "../mesh-directory.ts";
import { type RecoverOptions, recoverLog } from "./recover-log.ts";
import { verifyLogFiles } from "./verify-log.ts";

const size = 6;
let stack: AsyncDisposableStack;
let log: SmallTrustLog;
/** Alice's directory holds the control plane; Bob's only his key. */
let alices: string;
let bobs: string;
let answers: string[];
let said: string[];

beforeEach(async () => {
  stack = new AsyncDisposableStack();
  const folder = stack.use(await temporaryFolder()).path;
  alices = join(folder, "alice");
  bobs = join(folder, "bob");
  log = new SmallTrustLog();
  log.put("authority.put", { kinds: ["rule.put"], grant: { role: "operator", signatures: 2, approvals: 0 } });
  for (let count = 2; count < 9; count += 1) log.put("service.put", serviceBody(`/s${count}`));
  const [alice, bob] = log.operators;
  await makeDirectory(alices, alice);
  await makeDirectory(bobs, bob);
  await (await openFileKeyStore(meshDirectory(alices).controlPlaneKeys)).save(
    "log",
    exportPrivateKey(log.logKey.privateKey),
  );
  const { controlPlaneLog } = meshDirectory(alices);
  await mkdir(controlPlaneLog, { recursive: true });
  await using lock = await openWriterLock(controlPlaneLog);
  await using journal = await openFileJournal(join(controlPlaneLog, "segments"), lock);
  await journal.appendAll(log.entries);
  await (await openHead(controlPlaneLog, lock)).advance({ size: log.tree.size, root: log.tree.root() });
  answers = [];
  said = [];
  vi.spyOn(process.stderr, "write").mockImplementation((text) => said.push(String(text)) > 0);
  vi.spyOn(process.stdout, "write").mockImplementation((text) => answers.push(String(text)) > 0);
});
afterEach(async () => {
  vi.restoreAllMocks();
  await stack.disposeAsync();
});

async function makeDirectory(path: string, operator: NoteSigner): Promise<void> {
  const directory = meshDirectory(path);
  await mkdir(path, { recursive: true });
  const keys = await openFileKeyStore(directory.operatorKeys);
  await keys.save("operator", exportPrivateKey(operator.privateKey));
  await writeKnownDomain(directory, {
    trustDomain: "example.org",
    address: "127.0.0.1:1",
    genesis: log.genesis,
    logKey: verifierKeyOf(log.logKey),
    operator: operator.name,
  });
}

function recover(dir: string, options: Omit<RecoverOptions, "dir" | "output">): Promise<void> {
  return recoverLog({ dir, output: "json", ...options });
}

async function generation(): Promise<number> {
  const key = parseVerifierKey((await requireKnownDomain(meshDirectory(alices))).logKey);
  return key.ok ? generationOf(key.value) : 0;
}

test("a generation that takes two people begins once both have signed, and verifies", async () => {
  await recover(alices, { size, newLogKey: true });
  const { file, missing } = JSON.parse(answers.at(-1) ?? "");
  expect(missing).toBe("1 of 2 signatures");
  await expect(recover(alices, { apply: file })).rejects.toThrow("unauthorised: 1 of 2 signatures");
  await expect(recover(alices, { sign: file })).rejects.toThrow("has signed");
  expect(await generation()).toBe(1);

  const carried = join(bobs, "from-alice.entry");
  await writeFile(carried, await readFile(file));
  await expect(recover(bobs, { sign: carried })).rejects.toThrow("nobody is there to ask");
  expect(await readFile(carried)).toEqual(await readFile(file));
  const [shown] = said.filter((line) => line.startsWith("says "));
  expect(shown).toContain(`"root":"${base64Of(log.tree.root(size))}"`);
  await recover(bobs, { sign: carried, yes: true });
  await writeFile(file, await readFile(carried));
  await recover(alices, { apply: file });

  expect(await generation()).toBe(2);
  const { controlPlaneLog, tiles } = meshDirectory(alices);
  const { logKey, genesis } = await requireKnownDomain(meshDirectory(alices));
  const verdict = await verifyLogFiles({ log: controlPlaneLog, tiles, genesis, logKey });
  expect([verdict.problems, verdict.size]).toEqual([[], size + 1]);
  expect(logKey).not.toContain(verifierKeyOf(log.logKey).split("+").at(-1));
  await expect(recover(alices, { size })).rejects.toThrow("was not in generation 2 yet");
});

test("says what to do instead", async () => {
  await expect(recover(alices, {})).rejects.toMatchObject({ exitCode: 2 });
  await expect(recover(alices, { size, apply: "x" })).rejects.toMatchObject({ exitCode: 2 });
  await expect(recover(alices, { from: "x", newLogKey: true })).rejects.toMatchObject({ exitCode: 2 });
  await expect(recover(alices, { size: 99 })).rejects.toThrow("fewer than 99");
  await expect(recover(alices, { from: bobs })).rejects.toThrow(
    /no copy of a trust log in .* expected an agent's folder/,
  );
  await expect(recover(alices, { sign: join(bobs, "domain.json") })).rejects.toThrow(
    "is no recovery of a log",
  );
  await expect(recover(alices, { apply: join(bobs, "nothing") })).rejects.toMatchObject({ exitCode: 4 });
  await expect(recover(bobs, { size })).rejects.toThrow("fewer than 6");
  await using _lock = await openWriterLock(meshDirectory(alices).controlPlaneLog);
  const another = new SmallTrustLog();
  await writeFile(join(bobs, "other.entry"), another.entry("log.recover", another.recoveryBody(log.logKey)));
  await expect(recover(bobs, { sign: join(bobs, "other.entry") })).rejects.toThrow("another mesh's log");
  await recover(alices, { size });
  const { file } = JSON.parse(answers.at(-1) ?? "");
  await recover(alices, { size });
  await expect(recover(alices, { apply: file })).rejects.toThrow("is running; stop it first");
});
