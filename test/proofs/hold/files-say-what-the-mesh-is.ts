import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { demoMesh } from "../../apparatus/demo-mesh.ts";
import { repository, troth } from "../../apparatus/running-mesh.ts";
import { type Claim, failed, ok } from "../claim.ts";

/** The diff of nothing is empty and ends with exit code 0; of anything else it is not and does not. */
export const claim: Claim = {
  text: "examples/shop.yaml is what the demo registers, and what troth get prints is taken back by troth apply without a change",
  uses: [demoMesh],
  run: async () => {
    const { path } = await demoMesh.get();
    const example = await troth(path, "diff", "-f", join(repository, "examples", "shop.yaml"));
    if (example.code !== 0) return failed(`the example differs: ${example.stdout}${example.stderr}`);
    const services = await troth(path, "get", "service", "-o", "yaml");
    const policies = await troth(path, "get", "accesspolicy", "-o", "yaml");
    const folder = await mkdtemp(join(tmpdir(), "troth-proof-"));
    try {
      const file = join(folder, "mesh.yaml");
      await writeFile(file, `${services.stdout}---\n${policies.stdout}`);
      const again = await troth(path, "diff", "-f", file);
      if (again.code !== 0) return failed(`what was printed differs: ${again.stdout}${again.stderr}`);
      await writeFile(
        file,
        `${services.stdout.replace("team: finance", "team: other")}---\n${policies.stdout}`,
      );
      const changed = await troth(path, "diff", "-f", file);
      if (changed.code !== 1 || !changed.stdout.includes("+  team: other"))
        return failed(`a changed team is not told: ${changed.code} ${changed.stdout}${changed.stderr}`);
      return ok("6 services and 4 access policies, there and back");
    } finally {
      await rm(folder, { recursive: true });
    }
  },
};
