import { spawnSync } from "node:child_process";

const firstVersion = /[0-9]+\.[0-9]+(\.[0-9]+)?/;

/** The version that a program names when asked, or how to get it. */
export function findProgram(
  file: string,
  argument: string,
  howToGet: string,
): { readonly version: string } | { readonly missing: string } {
  const { error, stdout, stderr } = spawnSync(file, [argument], { encoding: "utf8", timeout: 10_000 });
  const version = error === undefined ? firstVersion.exec(`${stdout} ${stderr}`)?.[0] : undefined;
  return version === undefined ? { missing: howToGet } : { version };
}
