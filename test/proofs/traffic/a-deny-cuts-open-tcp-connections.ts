import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { missingForPostgres, postgresMesh } from "../../apparatus/postgres.ts";
import { troth } from "../../apparatus/running-mesh.ts";
import { temporaryFolder } from "../../contracts/temporary-folder.ts";
import { type Claim, failed, ok, skipped } from "../claim.ts";

const endMillisMax = 30_000;

/** One session that asks twenty times a second, and one that says nothing. */
export const claim: Claim = {
  text: "troth deny cuts the open connections to PostgreSQL, the busy and the silent, and refuses a new one; after troth allow it works again",
  uses: [postgresMesh],
  run: async () => {
    const missing = missingForPostgres();
    if (missing !== undefined) return skipped(missing);
    const { mesh, psql, start } = await postgresMesh.get();
    await using folder = await temporaryFolder();
    const script = join(folder.path, "busy.sql");
    writeFileSync(script, "SELECT 'asked' \\watch 0.05\n");
    await using busy = start("psql", "-X", "-q", "-A", "-t", "-f", script);
    await using silent = start("psql", "-X", "-q", "-c", "\\! echo there", "-c", "SELECT pg_sleep(3600)");
    await busy.untilLine(/^asked/, endMillisMax);
    await silent.untilLine(/^there/, endMillisMax);

    const atMillis = performance.now();
    const denying = troth(mesh.path, "deny", "/proof/client", "/proof/db");
    const ended = await Promise.all([busy.ended(endMillisMax), silent.ended(endMillisMax)]);
    const cutMillis = performance.now() - atMillis;
    const denied = await denying;
    if (denied.code !== 0) return failed(`troth deny: ${denied.stderr}`);
    const survived = ended.filter(({ code }) => code === 0);
    if (survived.length > 0) return failed("a session ended as if nothing had happened");

    const refused = await psql("-c", "SELECT 1");
    if (refused.code === 0) return failed("a new connection was let in after the deny");
    const allowed = await troth(mesh.path, "allow", "/proof/client", "/proof/db");
    const again = await psql("-c", "SELECT 1");
    if (allowed.code !== 0 || again.code !== 0) return failed(`after troth allow: ${again.stderr}`);
    return ok(
      `both cut ${(cutMillis / 1000).toFixed(1)} s after the command was started; a new one refused, and let in after troth allow`,
    );
  },
};
