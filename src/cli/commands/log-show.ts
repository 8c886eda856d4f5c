import { nearestWord } from "../../configuration/index.ts";
import { entryBodies, parseEntry } from "../../trust-log/index.ts";
import { describeEntry } from "../describe-entry.ts";
import { CliError, exitCode } from "../exit-codes.ts";
import { meshDirectory } from "../mesh-directory.ts";
import { OperatorClient } from "../operator-client.ts";
import { momentOf, type OutputFormat, printAnswer, tableOf } from "../output.ts";
import { readEntries } from "../read-entries.ts";

/** An entry of the log as `troth log show` tells it. */
interface ShownEntry {
  readonly index: number;
  /** The time of the epoch that it fell into. */
  readonly epochTimeSeconds: number;
  readonly kind: string;
  readonly author: string;
  readonly signers: readonly string[];
  readonly what: string;
  readonly body: object;
}

/** `troth log show`: entries of the trust log in words, the latest ones unless told where to begin. */
export async function showLog(options: {
  dir: string;
  output: OutputFormat;
  from?: number;
  limit: number;
  kind?: string;
  author?: string;
}): Promise<void> {
  requireKind(options.kind);
  using client = await OperatorClient.open(meshDirectory(options.dir));
  const { entries } = await readEntries(client);
  const { from, limit, kind, author } = options;
  const all = shownEntries(entries).filter(
    (entry) =>
      entry.index >= (from ?? 0) &&
      (kind === undefined || entry.kind === kind) &&
      (author === undefined || isBy(entry, author)),
  );
  const shown = from === undefined ? all.slice(-limit) : all.slice(0, limit);
  printAnswer(options.output, "EntryList", { treeSize: entries.length, items: shown }, () => {
    if (shown.length === 0)
      return `No such entry; the log has ${entries.length} of them: troth log show --from 0\n`;
    const isWide = options.output === "wide";
    return tableOf(
      ["INDEX", "EPOCH TIME", "KIND", isWide ? "SIGNED BY" : "AUTHOR", "WHAT"],
      shown.map((entry) => [
        String(entry.index),
        momentOf(entry.epochTimeSeconds),
        entry.kind,
        isWide ? entry.signers.join(", ") : lastSegments(entry.author),
        entry.what,
      ]),
    );
  });
}

function shownEntries(entries: readonly Uint8Array[]): ShownEntry[] {
  let epochTimeSeconds = 0;
  return entries.flatMap((bytes, index) => {
    const parsed = parseEntry(bytes);
    if (!parsed.ok)
      return [
        {
          index,
          epochTimeSeconds,
          kind: "?",
          author: "",
          signers: [],
          what: `no entry: ${parsed.detail}`,
          body: {},
        },
      ];
    const { statement, note } = parsed.value;
    const { kind, author, body } = statement;
    const time =
      kind === "genesis" ? body["createdAtSeconds"] : kind === "epoch" ? body["timeSeconds"] : undefined;
    if (typeof time === "number") epochTimeSeconds = time;
    const signers = note.signatures.map(({ name }) => name);
    return [{ index, epochTimeSeconds, kind, author, signers, what: describeEntry(kind, body), body }];
  });
}

function requireKind(kind: string | undefined): void {
  const kinds = Object.keys(entryBodies);
  if (kind === undefined || kinds.includes(kind)) return;
  const nearest = nearestWord(kind, kinds);
  const hint = nearest === undefined ? `; there are: ${kinds.join(", ")}` : ` (did you mean ${nearest}?)`;
  throw new CliError(exitCode.usage, `no kind of entry is called "${kind}"${hint}`);
}

function isBy({ author }: ShownEntry, wanted: string): boolean {
  return author === wanted || author.endsWith(`/${wanted}`);
}

/** `shop.example/operator/founder` is shown as `operator/founder`: all names begin with the trust domain. */
function lastSegments(author: string): string {
  return author.slice(author.indexOf("/") + 1);
}
