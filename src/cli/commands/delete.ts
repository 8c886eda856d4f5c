import {
  isManifestKind,
  manifestSchemas,
  type PlannedChange,
  planRemoval,
} from "../../configuration/index.ts";
import { readConfiguration } from "../configuration-files.ts";
import { CliError, exitCode } from "../exit-codes.ts";
import { meshDirectory } from "../mesh-directory.ts";
import { OperatorClient } from "../operator-client.ts";
import { requireResourceKind } from "../resources.ts";
import { type WriteOptions, writeChanges } from "./write-changes.ts";

/** `troth delete KIND NAME` and `troth delete -f FILE…`: removes objects; all of them must be there. */
export async function deleteObjects(
  kindText: string | undefined,
  name: string | undefined,
  options: WriteOptions & { dir: string; file?: readonly string[] },
): Promise<void> {
  const wanted = await wantedObjects(kindText, name, options.file);
  using client = await OperatorClient.open(meshDirectory(options.dir));
  const changes: PlannedChange[] = [];
  const missing: string[] = [];
  for (const one of wanted) {
    const change = isManifestKind(one.kind) ? planRemoval(client.state, one.kind, one.name) : undefined;
    if (change === undefined) missing.push(`${one.kind} ${one.name}`);
    else changes.push(change);
  }
  if (missing.length > 0)
    throw new CliError(exitCode.notFound, `no ${missing.join(", no ")}; nothing was removed`);
  await writeChanges(client, changes, options);
}

async function wantedObjects(
  kindText: string | undefined,
  name: string | undefined,
  files: readonly string[] | undefined,
): Promise<{ kind: string; name: string }[]> {
  if (files !== undefined) {
    if (kindText !== undefined) throw new CliError(exitCode.usage, "give either KIND and NAME, or -f FILE");
    const { manifests } = await readConfiguration(files);
    return manifests.map(({ kind, metadata }) => ({ kind, name: metadata.name }));
  }
  if (kindText === undefined || name === undefined)
    throw new CliError(exitCode.usage, "give KIND and NAME, or -f FILE; see troth delete --help");
  const kind = requireResourceKind(kindText);
  if (!isManifestKind(kind))
    throw new CliError(
      exitCode.usage,
      `${kind} cannot be deleted like this; ${Object.keys(manifestSchemas).join(", ")} can`,
    );
  return [
    {
      kind,
      name: kind === "WorkloadEntry" || kind === "Federation" || name.startsWith("/") ? name : `/${name}`,
    },
  ];
}
