import { existsSync } from "node:fs";

/** Where iproute2 puts it; not looked for along PATH, which others may have a say in. */
const programs = ["/usr/bin/ss", "/bin/ss", "/usr/sbin/ss", "/sbin/ss"];

/** The path of `ss`, which asks the kernel's socket diagnostics (sock_diag(7)); undefined where it is not installed. */
export function socketStatistics(): string | undefined {
  return programs.find((path) => existsSync(path));
}
