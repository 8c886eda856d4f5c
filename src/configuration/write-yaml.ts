import { stringify } from "yaml";

/** Objects as YAML documents that {@link readManifests} and every other YAML 1.2 reader read back as they are. */
export function writeYaml(objects: readonly object[]): string {
  return objects
    .map((object) => stringify(object, { lineWidth: 0, aliasDuplicateObjects: false }))
    .join("---\n");
}
