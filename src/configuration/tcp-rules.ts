import type { Problem } from "./problem.ts";
import type { ReadManifests } from "./read-manifests.ts";

/**
 * What is wrong with rules for services that are called over TCP: they have methods or paths, which TCP has not. What a
 * service is called over is what the files say of it, and, where they say nothing, what `isTcpNow` says.
 */
export function tcpRuleProblems(
  { manifests, problemAt }: Pick<ReadManifests, "manifests" | "problemAt">,
  isTcpNow: (service: string) => boolean,
): Problem[] {
  const protocols = new Map<string, "http" | "tcp">();
  for (const manifest of manifests)
    if (manifest.kind === "TrafficPolicy") protocols.set(manifest.metadata.name, manifest.spec.protocol);
  const isTcp = (service: string): boolean => {
    const said = protocols.get(service);
    return said === undefined ? isTcpNow(service) : said === "tcp";
  };
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
