import { softwareVersion } from "../../base/software-version.ts";
import { entryRevision } from "../../trust-log/index.ts";
import { CliError } from "../exit-codes.ts";
import { meshDirectory, readKnownDomain } from "../mesh-directory.ts";
import { OperatorClient } from "../operator-client.ts";
import { type OutputFormat, printAnswer, tableOf, talk } from "../output.ts";
import { versionText } from "../proxy-state.ts";

/** A process of the mesh, or several proxies, and the version that it said it is. */
interface VersionRow {
  readonly process: string;
  /** Empty of one that is older than that it would tell. */
  readonly softwareVersion: string;
  /** Which kinds of entries it folds (entry-kinds.ts); 0 where it does not tell, which is the first. */
  readonly entryRevision: number;
  /** How many proxies of one service these are. */
  readonly count: number;
}

/** `troth version`: this command's, and, where a mesh is in reach, those of everything in it. */
export async function version(options: { dir: string; output: OutputFormat }): Promise<void> {
  const here = { process: "troth", softwareVersion, entryRevision, count: 1 };
  const items = [here, ...(await versionsInMesh(options.dir))];
  printAnswer(options.output, "VersionList", { softwareVersion, items }, () =>
    tableOf(
      ["PROCESS", "VERSION", "COUNT"],
      items.map((row) => [row.process, versionText(row.softwareVersion), String(row.count)]),
    ),
  );
}

async function versionsInMesh(dir: string): Promise<VersionRow[]> {
  const directory = meshDirectory(dir);
  if ((await readKnownDomain(directory)) === undefined) return [];
  try {
    using client = await OperatorClient.open(directory);
    const status = await client.admin.getStatus({});
    const controlPlane = rowOf("control plane", status);
    const agents = status.nodes.map((node) => rowOf(`node agent of ${node.node}`, node));
    const proxies = Map.groupBy(
      status.followers.map((follower) => rowOf(`proxy of ${follower.service}`, follower)),
      (row) => `${row.process} ${row.softwareVersion} ${row.entryRevision}`,
    );
    const counted = [...proxies.values()].flatMap(([first, ...others]) =>
      first === undefined ? [] : [{ ...first, count: others.length + 1 }],
    );
    return [
      controlPlane,
      ...agents,
      ...counted.sort((left, right) => (left.process < right.process ? -1 : 1)),
    ];
  } catch (error) {
    // What this command is can be said all the same.
    if (!(error instanceof CliError)) throw error;
    talk(`note: of the mesh nothing is known now: ${error.message}`);
    return [];
  }
}

function rowOf(
  process: string,
  told: { readonly softwareVersion: string; readonly entryRevision: number },
): VersionRow {
  return { process, softwareVersion: told.softwareVersion, entryRevision: told.entryRevision, count: 1 };
}
