import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { cliPage } from "./reference/cli-page.ts";
import { configurationPage } from "./reference/configuration-page.ts";
import { entryKindsPage } from "./reference/entry-kinds-page.ts";

/** Writes docs/reference from the code; with `--check`, says whether it is what the code says now. */
const folder = join(import.meta.dirname, "..", "docs", "reference");
const isCheck = process.argv.includes("--check");

for (const { file, text } of [cliPage(), configurationPage(), entryKindsPage()]) {
  const path = join(folder, file);
  if (isCheck) {
    if (present(path) === text) continue;
    process.stdout.write(`docs/reference/${file} is not what the code says; run: npm run generate\n`);
    process.exitCode = 1;
  } else {
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, text);
  }
}

function present(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return undefined;
  }
}
