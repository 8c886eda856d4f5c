import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** `npm test`: the checks, then every test. With TROTH_NO_SKIPS=1, as in CI, a skipped test is a failure. */
const run = (args: readonly string[]): boolean =>
  spawnSync(process.execPath, args, { stdio: "inherit" }).status === 0;

const folder = mkdtempSync(join(tmpdir(), "troth-test-"));
try {
  const report = join(folder, "report.json");
  const isChecked = run(["scripts/check.ts"]);
  const isTested = run([
    "node_modules/vitest/vitest.mjs",
    "run",
    "--reporter=default",
    "--reporter=json",
    `--outputFile.json=${report}`,
  ]);
  const skipped = skippedIn(report);
  for (const name of skipped) process.stdout.write(`skipped: ${name}\n`);
  const mayNotSkip = process.env["TROTH_NO_SKIPS"] === "1";
  if (mayNotSkip && skipped.length > 0) process.stdout.write("skipped tests count as failures here\n");
  if (!isChecked || !isTested || (mayNotSkip && skipped.length > 0)) process.exitCode = 1;
} finally {
  rmSync(folder, { recursive: true });
}

/** Names of the tests that did not run. A reason stands in the name, or was printed when the test was skipped. */
function skippedIn(path: string): string[] {
  const report: unknown = JSON.parse(readFileSync(path, "utf8"));
  const names: string[] = [];
  const look = (value: unknown): void => {
    if (typeof value !== "object" || value === null) return;
    if (
      "status" in value &&
      "fullName" in value &&
      (value.status === "skipped" || value.status === "pending")
    )
      names.push(String(value.fullName));
    for (const inner of Object.values(value)) look(inner);
  };
  look(report);
  return names;
}
