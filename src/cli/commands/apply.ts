import { planChanges } from "../../configuration/index.ts";
import { readConfiguration, requireRulesForTcp } from "../configuration-files.ts";
import { meshDirectory } from "../mesh-directory.ts";
import { OperatorClient } from "../operator-client.ts";
import { type OutputFormat, printAnswer } from "../output.ts";
import { type WriteOptions, writeChanges } from "./write-changes.ts";

/** `troth validate FILE…`: whether the files are good, without a mesh. */
export async function validate(paths: readonly string[], options: { output: OutputFormat }): Promise<void> {
  const configuration = await readConfiguration(paths);
  requireRulesForTcp(configuration);
  const { manifests, files } = configuration;
  const objects = manifests.map(({ kind, metadata }) => ({ kind, name: metadata.name }));
  printAnswer(options.output, "ValidationReport", { valid: true, files, objects }, () => {
    const count = `${objects.length} object${objects.length === 1 ? "" : "s"}`;
    return `valid: ${count} in ${files} file${files === 1 ? "" : "s"}\n`;
  });
}

/** `troth apply -f FILE…`: makes the mesh what the files say, with the fewest entries and in one append. */
export async function apply(options: WriteOptions & { dir: string; file: readonly string[] }): Promise<void> {
  const configuration = await readConfiguration(options.file);
  using client = await OperatorClient.open(meshDirectory(options.dir));
  requireRulesForTcp(configuration, client.state);
  await writeChanges(client, planChanges(client.state, configuration.manifests), options);
}
