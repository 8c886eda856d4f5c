import { createPublicKey } from "node:crypto";
import { join } from "node:path";
import { base64Of, bytesOf, concatBytes, textOf } from "../../base/bytes.ts";
import { canonicalJson, type JsonObject } from "../../base/canonical-json.ts";
import { codeOf, MeshError } from "../../base/mesh-error.ts";
import {
  beginGeneration,
  type GenerationRefusal,
  logKeyFile,
  openLogCopy,
  type RestoreRefusal,
  readLogAt,
  restoreLog,
} from "../../control-plane/index.ts";
import { exportPrivateKey, generateEd25519, importPrivateKey } from "../../crypto/index.ts";
import { openFileKeyStore, readFileIfPresent, writeFileAtomically } from "../../storage/index.ts";
import {
  type EntryBody,
  entryBodies,
  entryVersion,
  foldEntry,
  generationOf,
  logKeyName,
  type NoteSigner,
  type PresentedEntry,
  parseEntry,
  parseVerifierKey,
  signEntry,
  signNote,
  verifierKeyOf,
} from "../../trust-log/index.ts";
import { confirmSigning } from "../confirm-signing.ts";
import { describeEntry } from "../describe-entry.ts";
import { CliError, exitCode } from "../exit-codes.ts";
import {
  type KnownDomain,
  type MeshDirectory,
  meshDirectory,
  requireKnownDomain,
  writeKnownDomain,
} from "../mesh-directory.ts";
import { loadOperator } from "../operator-client.ts";
import { momentOf, type OutputFormat, printAnswer } from "../output.ts";
import { openLog, systemClock } from "../system.ts";

/** Collecting signatures takes people, who take time. */
const recoveryLifetimeSeconds = 7 * 86_400;

/** What `troth log recover` takes; one of `from`, `size`, `sign`, `apply`. */
export interface RecoverOptions {
  readonly dir: string;
  readonly output: OutputFormat;
  readonly from?: string;
  readonly size?: number;
  readonly newLogKey?: boolean;
  readonly sign?: string;
  /** Signs without asking. */
  readonly yes?: boolean;
  readonly apply?: string;
}

/** `troth log recover`: brings back what an agent still has, or begins a new generation. Offline: nothing else runs. */
export async function recoverLog(options: RecoverOptions): Promise<void> {
  const { from, size, sign, apply, newLogKey } = options;
  const given = [from, size, sign, apply].filter((one) => one !== undefined);
  if (given.length !== 1 || (newLogKey === true && size === undefined))
    throw new CliError(
      exitCode.usage,
      "say one of: --from FOLDER (a copy has more), --size ENTRIES [--new-log-key] (a fork, or entries lost for good), --sign FILE, --apply FILE",
    );
  const directory = meshDirectory(options.dir);
  const domain = await requireKnownDomain(directory);
  try {
    if (from !== undefined) await restore(directory, domain, { ...options, from });
    else if (size !== undefined) await propose(directory, domain, { ...options, size });
    else if (sign !== undefined)
      await cosign(directory, domain, { sign, output: options.output, hasSaidYes: options.yes === true });
    else if (apply !== undefined) await begin(directory, domain, await entryIn(apply), options.output);
  } catch (error) {
    if (codeOf(error) === "ERR_STORAGE_LOCKED")
      throw new CliError(
        exitCode.no,
        `the control plane of ${directory.path} is running; stop it first ("troth up", "troth demo" or "npm start"), then run this again`,
        { cause: error },
      );
    if (error instanceof MeshError && error.code === "ERR_CONTROL_PLANE_COPY")
      throw new CliError(exitCode.unreadable, error.message);
    throw error;
  }
}

const restoreRemedies: { readonly [reason in RestoreRefusal]: string } = {
  "incomplete-copy": "the copy is damaged; take another agent's, or the published tiles",
  "other-log": "this is a copy of another mesh's log",
  "shorter-copy": "the copy has less than this disk, so there is nothing in it to bring back",
  forked: "two histories were signed, so people must say which counts: troth log recover --size ENTRIES",
};

async function restore(
  directory: MeshDirectory,
  domain: KnownDomain,
  { from, output }: { readonly from: string; readonly output: OutputFormat },
): Promise<void> {
  const logKey = parseVerifierKey(domain.logKey);
  if (!logKey.ok) throw new CliError(exitCode.unreadable, `the log key in ${directory.path} is damaged`);
  const copy = await openLogCopy(from, logKey.value);
  const restored = await restoreLog(directory.controlPlaneLog, domain.genesis, copy);
  if (!restored.ok)
    throw new CliError(
      exitCode.no,
      `not recovered: ${restored.reason}: ${restored.detail}; ${restoreRemedies[restored.reason]}`,
    );
  const { before, size } = restored.value;
  printAnswer(
    output,
    "LogRecovery",
    { from: copy.folder, size, recovered: size - before },
    () =>
      `recovered ${size - before} entries from ${copy.folder}; the log has ${size} again. Start the mesh as before.\n`,
  );
}

async function propose(
  directory: MeshDirectory,
  domain: KnownDomain,
  { size, newLogKey, output }: { size: number; newLogKey?: boolean; output: OutputFormat },
): Promise<void> {
  const at = await readLogAt(directory.controlPlaneLog, size);
  if (!at.ok) throw new CliError(exitCode.no, `not recovered: ${at.detail}`);
  const { state, tree } = at.value;
  const current = parseVerifierKey(domain.logKey);
  const present = current.ok ? generationOf(current.value) : 1;
  if (state.genesis?.recoveredSizes.length !== present - 1)
    throw new CliError(
      exitCode.no,
      `after ${size} entries the log was not in generation ${present} yet; name a size after that generation began`,
    );
  const generation = present + 1;
  const logKey = await prepareLogKey(directory, domain, { generation, isNew: newLogKey === true });
  const operator = await loadOperator(directory, domain.operator);
  const body: JsonObject = {
    generation,
    size,
    root: base64Of(tree.root()),
    logKey: verifierKeyOf(logKey),
  };
  const sequence = (state.authors.get(operator.name)?.sequence ?? 0) + 1;
  const nowSeconds = Math.max(systemClock.nowSeconds(), state.genesis.epochTimeSeconds);
  const expiresAtSeconds = Math.floor(nowSeconds) + recoveryLifetimeSeconds;
  const statement = { kind: "log.recover", version: entryVersion, log: domain.genesis, body };
  const entry = signEntry({ ...statement, author: operator.name, sequence, expiresAtSeconds }, [operator]);
  const folded = foldEntry(state, tree, entry);
  if (folded.ok && !folded.value.hasEffect && folded.value.reason === "unauthorised") {
    const file = join(directory.path, `recovery-${generation}.entry`);
    await writeFileAtomically(file, entry, 0o600);
    printAnswer(
      output,
      "LogRecoveryProposal",
      { file, generation, size, missing: folded.value.detail },
      () =>
        `${folded.value.hasEffect ? "" : folded.value.detail}: others must sign first.\n  on their machines: troth log recover --sign ${file}\n  then here:         troth log recover --apply ${file}\n`,
    );
    return;
  }
  await begin(directory, domain, entry, output);
}

/** The key that the next generation is signed by: a new one, or the present one under its next name. */
async function prepareLogKey(
  directory: MeshDirectory,
  { trustDomain }: KnownDomain,
  { generation, isNew }: { readonly generation: number; readonly isNew: boolean },
): Promise<NoteSigner> {
  const keyStore = await openFileKeyStore(directory.controlPlaneKeys);
  const present = await keyStore.load(logKeyFile(generation - 1));
  if (present === undefined)
    throw new CliError(
      exitCode.notFound,
      `${directory.controlPlaneKeys} has no log key: run this on the control plane's machine`,
    );
  const key = isNew ? exportPrivateKey(generateEd25519().privateKey) : present;
  await keyStore.save(logKeyFile(generation), key);
  return signerOf(key, logKeyName(trustDomain, generation));
}

function signerOf(key: Uint8Array, name: string): NoteSigner {
  const privateKey = importPrivateKey(key);
  return { name, privateKey, publicKey: createPublicKey(privateKey) };
}

async function cosign(
  directory: MeshDirectory,
  domain: KnownDomain,
  {
    sign: file,
    output,
    hasSaidYes,
  }: { readonly sign: string; readonly output: OutputFormat; readonly hasSaidYes: boolean },
): Promise<void> {
  const entry = await entryIn(file);
  const { statement, note } = presentedOf(entry, file);
  const operator = await loadOperator(directory, domain.operator);
  if (statement.log !== domain.genesis)
    throw new CliError(exitCode.no, `${file} is about another mesh's log; not signed`);
  if (note.signatures.some(({ name }) => name === operator.name))
    throw new CliError(exitCode.no, `${operator.name} has signed ${file} already`);
  const { generation, size, root, logKey } = recoveryIn(statement.body);
  const present = parseVerifierKey(domain.logKey);
  const shown = [
    ["signer", operator.name],
    ["entry", describeEntry(statement.kind, statement.body)],
    ["says", `${statement.kind} ${canonicalJson(statement.body)}`],
    ["gives up", `every entry from number ${size} on, in every agent and sidecar`],
    ["generation", `${generation}; this directory knows ${present.ok ? generationOf(present.value) : 1}`],
    ["author", statement.author],
    ["until", statement.expiresAtSeconds === 0 ? "without an end" : momentOf(statement.expiresAtSeconds)],
  ] as const;
  await confirmSigning(shown, hasSaidYes);
  const signed = textOf(signNote(note.text, [operator])) ?? "";
  const line = signed.slice(signed.lastIndexOf("\n", signed.length - 2) + 1);
  await writeFileAtomically(file, concatBytes(entry, bytesOf(line)), 0o600);
  printAnswer(
    output,
    "LogRecoverySignature",
    { file, signer: operator.name, generation, size, root, logKey },
    () =>
      `${operator.name} signed: generation ${generation} of the log goes on after ${size} entries with root ${root}, under ${logKey}\n`,
  );
}

const generationRemedies: { readonly [reason in GenerationRefusal]?: string } = {
  unauthorised: 'more people must sign: troth log recover --sign FILE (see "troth operator list --grants")',
  expired: "it was signed too long ago; begin again with --size",
  conflict: "the log here is not the one that was signed for; begin again with --size",
};

async function begin(
  directory: MeshDirectory,
  domain: KnownDomain,
  entry: Uint8Array,
  output: OutputFormat,
): Promise<void> {
  const { generation, size, logKey } = recoveryIn(presentedOf(entry, "the file").statement.body);
  const key = await (await openFileKeyStore(directory.controlPlaneKeys)).load(logKeyFile(generation));
  const signer = key === undefined ? undefined : signerOf(key, logKeyName(domain.trustDomain, generation));
  if (signer === undefined || verifierKeyOf(signer) !== logKey)
    throw new CliError(
      exitCode.no,
      `${directory.controlPlaneKeys} does not hold the key ${logKey}, by which the log would go on; run this where "troth log recover --size" was run`,
    );
  const aside = `${directory.controlPlaneLog}.before-generation-${generation}`;
  const folders = { log: directory.controlPlaneLog, tiles: directory.tiles, aside };
  const begun = await beginGeneration(folders, { size, entry, logKey: signer }, openLog("recover", "error"));
  if (!begun.ok)
    throw new CliError(
      exitCode.no,
      `not recovered: ${begun.reason}: ${begun.detail}; ${generationRemedies[begun.reason] ?? "nothing was changed"}`,
    );
  await writeKnownDomain(directory, { ...domain, logKey });
  printAnswer(
    output,
    "LogGeneration",
    { generation, size: begun.value, logKey, aside },
    () =>
      `generation ${generation}: the log goes on after ${size} entries, with the recovery as entry ${size}. What was there is in ${aside}. Start the mesh as before; agents and sidecars follow by themselves.\n`,
  );
}

async function entryIn(file: string): Promise<Uint8Array> {
  const entry = await readFileIfPresent(file);
  if (entry === undefined) throw new CliError(exitCode.notFound, `there is no file ${file}`);
  return entry;
}

function presentedOf(entry: Uint8Array, file: string): PresentedEntry {
  const presented = parseEntry(entry);
  if (presented.ok && presented.value.statement.kind === "log.recover") return presented.value;
  throw new CliError(exitCode.unreadable, `${file} is no recovery of a log`);
}

function recoveryIn(body: JsonObject): EntryBody<"log.recover"> {
  const parsed = entryBodies["log.recover"].safeParse(body);
  if (parsed.success && parseVerifierKey(parsed.data.logKey).ok) return parsed.data;
  throw new CliError(
    exitCode.unreadable,
    "the recovery does not say where the log goes on, and under which key",
  );
}
