import { meshDirectory } from "../mesh-directory.ts";
import { OperatorClient } from "../operator-client.ts";
import { type OutputFormat, printObjects } from "../output.ts";
import { resourceTable } from "../resource-table.ts";
import { gatherFacts, requireResourceKind, requireResources, resourcesOf } from "../resources.ts";

/** `troth get KIND [NAME]`: objects as the mesh has them, in the dialect that `troth apply` reads. */
export async function get(
  kindText: string,
  name: string | undefined,
  options: { dir: string; output: OutputFormat },
): Promise<void> {
  const kind = requireResourceKind(kindText);
  using client = await OperatorClient.open(meshDirectory(options.dir));
  const facts = await gatherFacts(client);
  const objects = name === undefined ? resourcesOf(kind, facts) : requireResources(kind, name, facts);
  printObjects(options.output, { kind, objects, isList: name === undefined || objects.length > 1 }, () =>
    resourceTable(kind, objects, { facts, isWide: options.output === "wide" }),
  );
}
