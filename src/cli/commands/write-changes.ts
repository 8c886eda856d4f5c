import type { PlannedChange } from "../../configuration/index.ts";
import { CliError, exitCode } from "../exit-codes.ts";
import type { OperatorClient } from "../operator-client.ts";
import { type OutputFormat, printAnswer, talk } from "../output.ts";
import { type ProxiesReached, reachedInWords } from "../proxy-progress.ts";
import { requireReached, writeEntries } from "../write-entries.ts";

/** What the control plane takes in one append, which is what makes a change happen as a whole. */
const entriesPerChangeMax = 256;

/** How changes are written. */
export interface WriteOptions {
  readonly output: OutputFormat;
  readonly dryRun: boolean;
  readonly wait: boolean;
  /** Whether followers that are older than a kind of entry may be left behind by it. */
  readonly stopOlder: boolean;
  /** In seconds. */
  readonly timeout: number;
}

/** Writes planned changes in one append, says what became of each object, and waits until the proxies have them. */
export async function writeChanges(
  client: OperatorClient,
  changes: readonly PlannedChange[],
  options: WriteOptions,
): Promise<void> {
  const entries = changes.flatMap((change) => change.entries);
  if (entries.length > entriesPerChangeMax)
    throw new CliError(
      exitCode.usage,
      `this takes ${entries.length} entries, and one change may take ${entriesPerChangeMax}: apply the files in parts`,
    );
  for (const note of notesOn(client, changes)) talk(`note: ${note}`);
  const waitMillisMax = options.timeout * 1000;
  const isWritten = entries.length > 0 && !options.dryRun;
  const { size, proposals, proxies } = isWritten
    ? await writeEntries(client, entries, options.wait ? waitMillisMax : undefined, {
        mayStopFollowers: options.stopOlder,
      })
    : { size: client.view.follower.size, proposals: [], proxies: undefined };
  const shown = changes.map(({ kind, name, outcome, entries: { length } }) => ({
    kind,
    name,
    outcome,
    entries: length,
  }));
  printAnswer(
    options.output,
    "ChangeReport",
    {
      dryRun: options.dryRun,
      treeSize: size,
      entries: entries.length,
      changes: shown,
      proposals,
      ...(proxies === undefined ? {} : { proxies }),
    },
    () => {
      const lines = changes.map(
        ({ kind, name, outcome }) =>
          `${kind.toLowerCase()}${name.startsWith("/") ? "" : "/"}${name} ${outcome}\n`,
      );
      return `${lines.join("")}${lastLine({ entries: entries.length, waiting: proposals.length, size, isDry: options.dryRun, proxies })}\n`;
    },
  );
  if (proxies !== undefined) requireReached(proxies, size, waitMillisMax);
}

function lastLine(about: {
  entries: number;
  waiting: number;
  size: number;
  isDry: boolean;
  proxies: ProxiesReached | undefined;
}): string {
  const count = about.entries === 1 ? "1 entry" : `${about.entries} entries`;
  if (about.entries === 0) return `nothing to change; the trust log stays at size ${about.size}`;
  if (about.isDry) return `dry run: ${count} would be written after size ${about.size}`;
  const waits = about.waiting === 0 ? "" : `, ${about.waiting} of them proposed: see troth proposals`;
  const reached = about.proxies === undefined ? "" : `: ${reachedInWords(about.proxies)}`;
  return `${count} written${waits}; tree size ${about.size}${reached}`;
}

/** What is allowed and perhaps not meant. */
function notesOn({ state }: OperatorClient, changes: readonly PlannedChange[]): string[] {
  const notes = new Set<string>();
  const written = new Set(
    changes.flatMap(({ after }) => (after?.kind === "Service" ? [after.metadata.name] : [])),
  );
  const isKnown = (name: string): boolean =>
    name.endsWith("/*") || written.has(name) || state.services.has(name);
  for (const { kind, name, outcome, after } of changes) {
    if (outcome === "unchanged") continue;
    if (after?.kind === "AccessPolicy")
      for (const one of [name, ...after.spec.rules.map(({ from }) => from)])
        if (!isKnown(one)) notes.add(`${one} is not registered (yet)`);
    if (kind !== "Service") continue;
    const nodes = after?.kind === "Service" ? after.spec.nodes : [];
    const cut = [...state.instances.entries()].filter(
      ([, { service, node }]) => service === name && !nodes.includes("*") && !nodes.includes(node),
    );
    if (cut.length > 0) notes.add(`${cut.length} running instances of ${name} lose their identity by this`);
  }
  return [...notes];
}
