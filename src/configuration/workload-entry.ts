import { z } from "zod";
import { entryBodies, type WorkloadRow } from "../trust-log/index.ts";
import { dialectVersion, servicePrefixText, textLike } from "./dialect-text.ts";

const workload = entryBodies["workload.put"].shape;

/** Who may obtain a service's identity over the Workload API: entry kinds `workload.put` and `workload.remove`. */
export const workloadEntryManifest = z.strictObject({
  apiVersion: z.literal(dialectVersion),
  kind: z.literal("WorkloadEntry"),
  metadata: z.strictObject({
    name: textLike(workload.name, "a name of at most 63 lower-case letters, digits and hyphens").describe(
      "The entry's name. Of several entries that fit a process, the first by name is its default.",
    ),
  }),
  spec: z
    .strictObject({
      service: servicePrefixText.describe("The service whose identity it is."),
      selectors: z
        .array(textLike(workload.selectors.element, "a selector as SPIRE writes them, such as unix:uid:1000"))
        .min(1, "expected at least one selector")
        .max(16, "expected at most 16 selectors")
        .refine((all) => new Set(all).size === all.length, "expected each selector once")
        .describe(
          "What a process must be, all of it: `unix:uid:`, `unix:gid:`, `unix:supplementary_gid:`, `unix:user:`, `unix:path:` and `unix:sha256:`.",
        ),
      hint: z
        .string()
        .max(1024, "expected at most 1024 characters")
        .default("")
        .describe("Tells a process that has several identities what this one is for; empty unless given."),
    })
    .describe("Which processes, without a sidecar, may have the identity of which service."),
});

/** A workload entry as a file says it. */
export type WorkloadEntryManifest = z.infer<typeof workloadEntryManifest>;

/** The entry of this name as the state has it. */
export function workloadEntryOf(
  name: string,
  { service, selectors, hint }: WorkloadRow,
): WorkloadEntryManifest {
  const spec = { service, selectors: [...selectors], hint };
  return orderedEntry({ apiVersion: dialectVersion, kind: "WorkloadEntry", metadata: { name }, spec });
}

/** The one form of all entries that mean the same. */
export function orderedEntry(manifest: WorkloadEntryManifest): WorkloadEntryManifest {
  const { service, selectors, hint } = manifest.spec;
  return { ...manifest, spec: { service, selectors: [...selectors].sort(), hint } };
}
