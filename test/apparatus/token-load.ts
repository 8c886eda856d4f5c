import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { messageOf } from "../../src/base/mesh-error.ts";
import { type RunningMesh, troth } from "./running-mesh.ts";
import { connectWorkload } from "./workload-client.ts";

/** Lets programs of this user obtain the identity of a service over the Workload API. */
export async function putWorkloadEntry(mesh: RunningMesh, service: string): Promise<void> {
  const file = join(mesh.path, "workload.json");
  const entry = {
    apiVersion: "troth/v1",
    kind: "WorkloadEntry",
    metadata: { name: "tokens" },
    spec: { service, selectors: [`unix:uid:${process.getuid?.()}`] },
  };
  await writeFile(file, JSON.stringify(entry));
  const applied = await troth(mesh.path, "apply", "-f", file);
  if (applied.code !== 0) throw new Error(`troth apply: ${applied.stderr}`);
}

/** Obtains JWT-SVIDs at a steady rate until it is over, and has each of them checked; what went wrong, in words. */
export async function askForTokens(
  { directory }: Pick<RunningMesh, "directory">,
  load: { readonly perSecond: number; readonly isOver: () => boolean },
): Promise<{ readonly tokens: number; readonly failures: readonly string[] }> {
  using client = connectWorkload(`unix://${directory.workloadSocket}`);
  // Each for an audience of its own, since the agent hands one out again.
  const one = async (audience: string): Promise<string> => {
    try {
      const { svids } = await client.api.fetchJWTSVID({ audience: [audience] });
      await client.api.validateJWTSVID({ audience, svid: svids[0]?.svid ?? "" });
      return "";
    } catch (error) {
      return messageOf(error);
    }
  };
  const asked: Promise<string>[] = [];
  while (!load.isOver()) {
    asked.push(one(`ledger-${asked.length}`));
    await sleep(1000 / load.perSecond);
  }
  const outcomes = await Promise.all(asked);
  return { tokens: outcomes.length, failures: outcomes.filter((outcome) => outcome !== "") };
}
