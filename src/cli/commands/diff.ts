import { compareLines, type PlannedChange, planChanges, writeYaml } from "../../configuration/index.ts";
import { readConfiguration, requireRulesForTcp } from "../configuration-files.ts";
import { CliError, exitCode } from "../exit-codes.ts";
import { meshDirectory } from "../mesh-directory.ts";
import { OperatorClient } from "../operator-client.ts";
import { type OutputFormat, printAnswer } from "../output.ts";

/** How many unchanged lines stand around a changed one. */
const contextLines = 3;

/** `troth diff -f FILE…`: what `troth apply` would change. Exit code 1 where that is anything. */
export async function diff(options: {
  dir: string;
  output: OutputFormat;
  file: readonly string[];
}): Promise<void> {
  const configuration = await readConfiguration(options.file);
  using client = await OperatorClient.open(meshDirectory(options.dir));
  requireRulesForTcp(configuration, client.state);
  const changes = planChanges(client.state, configuration.manifests).filter(
    ({ outcome }) => outcome !== "unchanged",
  );
  const shown = changes.map(({ kind, name, outcome, before, after }) => ({
    kind,
    name,
    outcome,
    before: before ?? null,
    after: after ?? null,
  }));
  printAnswer(options.output, "Difference", { changes: shown }, () => changes.map(differenceOf).join(""));
  if (changes.length > 0) throw new CliError(exitCode.no, "");
}

/** One object in the form of a unified diff, without line numbers: its YAML has none that anybody has seen. */
function differenceOf({ kind, name, outcome, before, after }: PlannedChange): string {
  const lines = compareLines(
    before === undefined ? "" : writeYaml([before]),
    after === undefined ? "" : writeYaml([after]),
  );
  const isNear = lines.map((_, at) =>
    lines.slice(Math.max(0, at - contextLines), at + contextLines + 1).some(({ mark }) => mark !== " "),
  );
  const body = lines.flatMap(({ mark, text }, at) => {
    if (isNear[at] === true) return [`${mark}${text}\n`];
    return isNear[at - 1] === true ? ["@@\n"] : [];
  });
  const title = `${kind.toLowerCase()}${name.startsWith("/") ? "" : "/"}${name}`;
  return `--- ${before === undefined ? "/dev/null" : title}\n+++ ${after === undefined ? "/dev/null" : title} (${outcome})\n${body.join("")}`;
}
