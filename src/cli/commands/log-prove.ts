import { open, writeFile } from "node:fs/promises";
import { base64Of } from "../../base/bytes.ts";
import { codeOf } from "../../base/mesh-error.ts";
import { checkTlogProof, formatTlogProof, parseEntry, parseVerifierKey } from "../../trust-log/index.ts";
import { describeEntry } from "../describe-entry.ts";
import { CliError, exitCode } from "../exit-codes.ts";
import { meshDirectory, requireKnownDomain } from "../mesh-directory.ts";
import { OperatorClient } from "../operator-client.ts";
import { type OutputFormat, printAnswer, talk } from "../output.ts";
import { readEntries } from "../read-entries.ts";

/** No proof and no entry is longer. */
const fileBytesMax = 64 * 1024;

/** `troth log prove INDEX`: writes the proof that an entry is in the log, and the entry, for anybody to check offline. */
export async function proveEntry(
  index: number,
  options: { dir: string; output: OutputFormat; proof?: string; entry?: string },
): Promise<void> {
  using client = await OperatorClient.open(meshDirectory(options.dir));
  const { entries, tree, checkpoint } = await readEntries(client);
  const entry = entries[index];
  if (entry === undefined)
    throw new CliError(exitCode.notFound, `no entry ${index}; the log has ${entries.length}, from 0 on`);
  const files = {
    proof: options.proof ?? `entry-${index}.tlog-proof`,
    entry: options.entry ?? `entry-${index}.entry`,
  };
  const proof = formatTlogProof({ index, hashes: tree.inclusionProof(index), checkpoint });
  await writeNew(files.proof, proof);
  await writeNew(files.entry, entry);
  const { logKey } = client.domain;
  printAnswer(
    options.output,
    "InclusionProof",
    { index, treeSize: entries.length, logKey, files },
    () => `${files.proof}\n${files.entry}\n`,
  );
  talk(
    `anybody can check it: troth log verify --proof ${files.proof} --entry ${files.entry} --log-key ${logKey}`,
  );
}

/** `troth log verify --proof FILE --entry FILE`: checks a proof against the log's key, without log and mesh. */
export async function verifyProof(options: {
  dir: string;
  output: OutputFormat;
  proof: string;
  entry: string | undefined;
  logKey: string | undefined;
}): Promise<void> {
  if (options.entry === undefined)
    throw new CliError(exitCode.usage, "--proof takes --entry FILE with it: the proof is about an entry");
  const keyText = options.logKey ?? (await requireKnownDomain(meshDirectory(options.dir))).logKey;
  const logKey = parseVerifierKey(keyText);
  if (!logKey.ok)
    throw new CliError(exitCode.unreadable, `"${keyText}" is no verifier key: ${logKey.detail}`);
  const entry = await readSmall(options.entry);
  const checked = checkTlogProof(await readSmall(options.proof), entry, logKey.value);
  if (!checked.ok) {
    const { reason, detail } = checked;
    printAnswer(
      options.output,
      "ProofVerification",
      { verified: false, reason, detail },
      () => `NOT VERIFIED\n  ${reason}: ${detail}\n`,
    );
    throw new CliError(exitCode.no, "");
  }
  const { index, size, root } = checked.value;
  const parsed = parseEntry(entry);
  const what = parsed.ok ? describeEntry(parsed.value.statement.kind, parsed.value.statement.body) : "";
  const view = { verified: true, index, treeSize: size, root: base64Of(root), log: logKey.value.name, what };
  printAnswer(
    options.output,
    "ProofVerification",
    view,
    () =>
      `verified: entry ${index} of the ${size} that ${view.log} signed, root ${view.root}\n${what === "" ? "" : `  ${what}\n`}`,
  );
}

/** Never over a file that is there: it may be somebody's only proof. */
async function writeNew(path: string, bytes: Uint8Array): Promise<void> {
  await writeFile(path, bytes, { flag: "wx" }).catch((cause: unknown) => {
    if (codeOf(cause) === "EEXIST")
      throw new CliError(exitCode.failed, `${path} is there already; name another file`);
    throw new CliError(exitCode.failed, `cannot write ${path}`, { cause });
  });
}

async function readSmall(path: string): Promise<Uint8Array> {
  try {
    await using file = await open(path);
    const buffer = new Uint8Array(fileBytesMax + 1);
    const { bytesRead } = await file.read(buffer, 0, buffer.byteLength, 0);
    if (bytesRead > fileBytesMax)
      throw new CliError(exitCode.unreadable, `${path} is larger than ${fileBytesMax} bytes`);
    return buffer.slice(0, bytesRead);
  } catch (cause) {
    if (cause instanceof CliError) throw cause;
    if (codeOf(cause) === "ENOENT") throw new CliError(exitCode.notFound, `no file ${path}`);
    throw new CliError(exitCode.unreadable, `cannot read ${path}`, { cause });
  }
}
