import { execFileSync } from "node:child_process";
import { availableParallelism } from "node:os";

/** Which core each part is pinned to; undefined where nothing is pinned. */
export interface Cores {
  /** Load generator, application, control plane and node agent. */
  readonly client: number | undefined;
  /** Both proxies of a pair. */
  readonly proxies: number | undefined;
}

/** Two cores of this machine, or none where it has only one or cannot pin. */
export function chooseCores(): Cores {
  const none = { client: undefined, proxies: undefined };
  if (availableParallelism() < 2) return none;
  try {
    const said = execFileSync("taskset", ["-pc", String(process.pid)], { encoding: "utf8", stdio: "pipe" });
    const [client, proxies] = coresIn(said);
    return client === undefined || proxies === undefined ? none : { client, proxies };
  } catch {
    return none;
  }
}

/** The core numbers in what taskset says, such as "pid 7's current affinity list: 0-2,5". */
export function coresIn(said: string): number[] {
  const list = said.slice(said.lastIndexOf(":") + 1).trim();
  return list.split(",").flatMap((part) => {
    const [first = Number.NaN, last = first] = part.split("-").map(Number);
    return Number.isNaN(first) ? [] : Array.from({ length: last - first + 1 }, (_, index) => first + index);
  });
}

/** A command that runs on one core alone. */
export function pinned(core: number | undefined, file: string, args: readonly string[]): [string, string[]] {
  return core === undefined ? [file, [...args]] : ["taskset", ["-c", String(core), file, ...args]];
}
