import { randomInt } from "node:crypto";
import { cp, readdir, readFile, writeFile } from "node:fs/promises";
import { basename, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { freePort } from "../../../src/cli/free-port.ts";
import { admit, founderOf, printed, withFounder } from "../../apparatus/person.ts";
import { openMesh, type RunningMesh, startTroth, troth } from "../../apparatus/running-mesh.ts";
import { temporaryFolder } from "../../contracts/temporary-folder.ts";
import { type Claim, failed, ok, type ProofContext } from "../claim.ts";

const startMillisMax = 60_000;
const endMillisMax = 20_000;
const rebuildMillisMax = 15_000;
/** More than `snapshotIntervalEntries` of the control plane. */
const snapshotEntries = 1_040;
const entriesAtOnce = 208;
const snapshotMillisMax = 60_000;
const atOnce = 3;
/** Read as other keys are, or not at all: only in the long form. */
const alike = /\/(ca-root|ca-root-certificate|issuer|sequencer)$/;

/** What a file may look like after a power cut or on a bad disk. */
const damages: readonly { readonly name: string; readonly of: (bytes: Buffer) => Uint8Array }[] = [
  { name: "cut", of: (bytes) => bytes.subarray(0, Math.floor(bytes.byteLength / 2)) },
  { name: "empty", of: () => Buffer.alloc(0) },
  { name: "zero-filled", of: (bytes) => Buffer.alloc(bytes.byteLength) },
  { name: "garbled", of: (bytes) => bytes.map((byte, at) => (at % 7 === 3 ? byte ^ 0x5a : byte)) },
];

/** A file below the mesh directory, and how a start without it ends: 0 where it is rebuilt or not needed. */
interface Torn {
  readonly file: string;
  readonly code: 0 | 65 | 70;
}

/** Where the copies go and what the problems are of. */
interface Bench {
  readonly good: string;
  readonly folder: string;
  readonly firstStartMillis: number;
  readonly context: ProofContext;
}

export const claim: Claim = {
  text: "each file of a mesh directory that is cut, empty, zero-filled or garbled is rebuilt, or named with the remedy by a start that ends; the good file put back, the mesh starts as before; and a start after one that was killed at any moment works",
  limitSeconds: 900,
  run: async (context) => {
    await using folder = await temporaryFolder();
    const good = join(folder.path, "good");
    const firstStartMillis = await makeMesh(good, context.isFull);
    const bench = { good, folder: folder.path, firstStartMillis, context };
    const files = (await filesOf(good)).filter(({ file }) => context.isFull || !alike.test(file));
    const kills = context.isFull ? 12 : 7;
    const cases = files.flatMap((torn, at) =>
      damages
        .filter((_, kind) => context.isFull || kind === at % damages.length)
        .map((damage) => () => tear(torn, damage, bench)),
    );
    const killed = Array.from({ length: kills }, (_, at) => () => killStart(at, bench));
    const problems = await inTurns([...cases, ...killed]);
    return problems.length === 0
      ? ok(
          `${cases.length} torn files of ${files.length} kinds rebuilt or named; ${kills} starts killed, the next one worked`,
        )
      : failed(`of ${cases.length} and ${kills}: ${problems.join("; ")}`);
  },
};

/** A mesh that has stopped, with a proposal that waits; where it is to have a snapshot, with the entries that it takes. In how many milliseconds it first started. */
async function makeMesh(path: string, hasSnapshot: boolean): Promise<number> {
  await using mesh = await openMesh({ kind: "up", path });
  const { millis } = mesh.command;
  const founder = await founderOf(mesh);
  if (hasSnapshot) await fillLog(mesh);
  await using _second = await admit(mesh, { role: "operator", person: "second" });
  await printed(founder.troth("operator", "require", "--signatures", "2", "--approvals", "0"));
  await printed(founder.troth("allow", "/proof/caller", "/proof/callee"));
  if (hasSnapshot) await untilSnapshot(path);
  return millis;
}

async function untilSnapshot(path: string): Promise<void> {
  const deadline = performance.now() + snapshotMillisMax;
  while ((await namesIn(path, "control-plane/log/snapshots")).length === 0) {
    if (performance.now() > deadline) throw new Error("no snapshot was taken");
    await sleep(200);
  }
}

async function fillLog(mesh: RunningMesh): Promise<void> {
  for (let from = 0; from < snapshotEntries; from += entriesAtOnce)
    await withFounder(mesh, (client) =>
      client.append(
        Array.from({ length: entriesAtOnce }, (_, at) => ({
          kind: "rule.put",
          body: {
            from: "/proof/filler",
            to: `/proof/f${from + at}`,
            effect: "allow",
            methods: [],
            paths: [],
          },
        })),
      ),
    );
}

async function filesOf(path: string): Promise<Torn[]> {
  const below = async (folder: string, code: Torn["code"]): Promise<Torn[]> =>
    (await namesIn(path, folder)).map((name) => ({
      file: `${folder}/${name}`,
      // The root signs intermediates and nothing else, and certificates are read in the log: a start leaves both alone.
      code: name.startsWith("ca-root") || name.endsWith("-certificate") ? 0 : code,
    }));
  const several = await Promise.all([
    below("control-plane/keys", 70),
    below("control-plane/log/segments", 70),
    below("control-plane/log/snapshots", 0),
    below("control-plane/proposals", 0),
    below("agent/log/segments", 0),
  ]);
  return [
    { file: "domain.json", code: 65 },
    { file: "agent/membership.json", code: 65 },
    { file: "agent/keys/node", code: 70 },
    { file: "agent/log/checkpoint", code: 70 },
    { file: "control-plane/log/head.json", code: 70 },
    { file: "control-plane/tiles/checkpoint", code: 0 },
    { file: "operator/keys/operator", code: 0 },
    ...several.flat(),
  ];
}

/** Starts a mesh over a damaged file, and over the good one again where it did not become ready. */
async function tear(
  { file, code }: Torn,
  damage: (typeof damages)[number],
  { good, folder, context }: Bench,
): Promise<string[]> {
  const what = `${file} ${damage.name}`;
  const copy = join(folder, what.replaceAll(/[^a-z0-9]/g, "-"));
  await copyMesh(good, copy);
  const path = join(copy, file);
  const backup = await readFile(path);
  await writeFile(path, damage.of(backup));
  const seen = await start(copy);
  context.note(`${what}: ${seen.code} ${seen.said.split("\n").at(-1)}`);
  const problems: string[] = [];
  if (seen.code !== code) problems.push(`ended with ${seen.code}, not ${code}: ${seen.said}`);
  if (/^ {4}at /m.test(seen.said)) problems.push(`shows a stack: ${seen.said}`);
  if (seen.code === 0) problems.push(...(await unverified(copy)));
  else {
    if (!seen.said.includes(basename(file))) problems.push(`does not name it: ${seen.said}`);
    if (!/restore|remove|join/.test(seen.said)) problems.push(`says no remedy: ${seen.said}`);
    await writeFile(path, backup);
    const again = await start(copy);
    if (again.code !== 0) problems.push(`not even with the good file put back: ${again.said}`);
  }
  return problems.map((problem) => `${what}: ${problem}`);
}

/** Kills a start, by turns the first one of a mesh and one of a mesh that was there, and starts again at once. */
async function killStart(
  number: number,
  { good, folder, firstStartMillis, context }: Bench,
): Promise<string[]> {
  const path = join(folder, `killed-${number}`);
  if (number % 2 === 1) await copyMesh(good, path);
  const listen = `127.0.0.1:${await freePort()}`;
  const millis = randomInt(Math.ceil(firstStartMillis));
  const what = `${number % 2 === 1 ? "a start" : "a first start"} killed after ${millis} ms`;
  await using killed = startTroth(path, ["up", "--listen", listen]);
  await sleep(millis);
  killed.kill("SIGKILL");
  const next = await start(path, listen);
  context.note(`${what}: ${next.code} ${next.said}`);
  const problems = next.code === 0 ? await unverified(path) : [`ended with ${next.code}: ${next.said}`];
  return problems.map((problem) => `${what}: ${problem}`);
}

/** Starts a mesh until it is ready and its history verifies, which is code 0, and ends it; -1 where it hangs. */
async function start(
  path: string,
  address?: string,
): Promise<{ readonly code: number; readonly said: string }> {
  const listen = address ?? `127.0.0.1:${await freePort()}`;
  await using command = startTroth(path, ["up", "--listen", listen]);
  const isReady = await command.untilLine(/^ready/, startMillisMax).then(
    () => true,
    () => false,
  );
  if (isReady) {
    await rebuilt(path);
    command.kill("SIGTERM");
  }
  const ended = await command.ended(endMillisMax).catch(() => undefined);
  return { code: ended?.code ?? -1, said: command.stderr.trim() };
}

/** Waits for what a running mesh publishes anew, which is not before its nodes have shown what they have of the log. */
async function rebuilt(path: string): Promise<void> {
  const deadline = performance.now() + rebuildMillisMax;
  while ((await unverified(path)).length > 0 && performance.now() < deadline) await sleep(500);
}

async function unverified(path: string): Promise<string[]> {
  const { code, stdout, stderr } = await troth(path, "log", "verify");
  return code === 0 ? [] : [`troth log verify: ${stdout}${stderr}`];
}

async function copyMesh(from: string, to: string): Promise<void> {
  await cp(from, to, { recursive: true, filter: (source) => !source.endsWith(".sock") });
}

async function namesIn(path: string, folder: string): Promise<string[]> {
  return (await readdir(join(path, folder))).filter((name) => !name.endsWith(".sock"));
}

/** Does everything, a few things at once; all that they found. */
async function inTurns(all: readonly (() => Promise<string[]>)[]): Promise<string[]> {
  const waiting = [...all];
  const found: string[] = [];
  const work = async (): Promise<void> => {
    for (let next = waiting.shift(); next !== undefined; next = waiting.shift())
      found.push(...(await next()));
  };
  await Promise.all(Array.from({ length: atOnce }, work));
  return found;
}
