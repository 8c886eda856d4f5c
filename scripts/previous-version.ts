import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { z } from "zod";

/**
 * Writes down what the version before this one speaks, for the checks that nothing breaks it: its commit, its protocol
 * as a descriptor image, and its kinds of entries. `node scripts/previous-version.ts COMMIT`, once a version is out.
 */
const [commit = "HEAD"] = process.argv.slice(2);
const root = join(import.meta.dirname, "..");
const folder = join(root, "test", "peers", "previous-version");
const buf = join(root, `node_modules/@bufbuild/buf-${process.platform}-${process.arch}/bin/buf`);
const tree = mkdtempSync(join(tmpdir(), "troth-previous-"));
try {
  const hash = execFileSync("git", ["rev-parse", `${commit}^{commit}`], {
    cwd: root,
    encoding: "utf8",
  }).trim();
  const archive = execFileSync("git", ["archive", hash], { cwd: root, maxBuffer: 2 ** 30 });
  execFileSync("tar", ["-x", "-C", tree], { input: archive });
  symlinkSync(join(root, "node_modules"), join(tree, "node_modules"));
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, "commit"), `${hash}\n`);
  execFileSync(buf, ["build", "--exclude-source-info", "-o", join(folder, "mesh.binpb")], { cwd: tree });
  const kinds: unknown = await import(pathToFileURL(join(tree, "src", "trust-log", "entry-kinds.ts")).href);
  writeFileSync(join(folder, "entry-kinds.json"), `${JSON.stringify(kindsOf(kinds), undefined, 2)}\n`);
} finally {
  rmSync(tree, { recursive: true, force: true });
}

/** The revision of the kinds, and the SHA-256 of each one's schema. */
function kindsOf(module: unknown): object {
  const parsed = z
    .looseObject({
      entryBodies: z.record(z.string(), z.instanceof(z.ZodType)),
      entryRevision: z.int().default(1),
    })
    .parse(module);
  const kinds = Object.entries(parsed.entryBodies).map(([kind, schema]) => [kind, schemaDigest(schema)]);
  return { entryRevision: parsed.entryRevision, kinds: Object.fromEntries(kinds) };
}

function schemaDigest(schema: z.ZodType): string {
  return createHash("sha256")
    .update(JSON.stringify(z.toJSONSchema(schema)))
    .digest("hex");
}
