import type { Problem } from "./problem.ts";
import type { ReadManifests } from "./read-manifests.ts";

/** What is wrong with rules for services that are called over TCP: they have methods or paths, which TCP has not. */
export function tcpRuleProblems(
  { manifests, problemAt }: Pick<ReadManifests, "manifests" | "problemAt">,
  isTcp: (service: string) => boolean,
): Problem[] {
  return manifests.flatMap((manifest) => {
    if (manifest.kind !== "AccessPolicy" || !isTcp(manifest.metadata.name)) return [];
    const message = `${manifest.metadata.name} is called over TCP, which has no requests; leave this out`;
    return manifest.spec.rules.flatMap((rule, place) =>
      (["methods", "paths"] as const)
        .filter((part) => rule[part].length > 0)
        .map((part) => problemAt(manifest, ["spec", "rules", place, part], message)),
    );
  });
}
