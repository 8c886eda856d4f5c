import { existsSync } from "node:fs";
import { join } from "node:path";

/** Where programs of the system are; PATH is not asked, which others may have a say in. */
const programFolders = ["/usr/bin", "/usr/sbin", "/bin", "/sbin"] as const;

/** The path of a program of the system; undefined where it is not installed. */
export function systemProgram(name: string): string | undefined {
  return programFolders.map((folder) => join(folder, name)).find((path) => existsSync(path));
}

/** The path of `ss` (iproute2), which asks the kernel's socket diagnostics (sock_diag(7)); undefined where it is not. */
export function socketStatistics(): string | undefined {
  return systemProgram("ss");
}
