import { readFile, readlink } from "node:fs/promises";
import { codeOf } from "../base/mesh-error.ts";

/** Enough to recognise a process although numbers are given out again. Empty texts where there is no procfs. */
export interface ProcessIdentity {
  readonly pid: number;
  /** Which boot of the kernel. */
  readonly boot: string;
  /** When it started, in clock ticks since then: field 22 of `/proc/<pid>/stat`. */
  readonly started: string;
  /** The pid namespace in which `pid` means something. */
  readonly space: string;
}

/** The process this runs in. */
export async function ownProcess(): Promise<ProcessIdentity> {
  return { pid: process.pid, ...(await surroundings()), started: (await statOf("self"))?.started ?? "" };
}

/**
 * Whether a process still runs. What cannot be told apart counts as alive; a process of another pid namespace of the
 * same boot is `out-of-sight`.
 */
export async function stateOf(other: ProcessIdentity): Promise<"alive" | "dead" | "out-of-sight"> {
  const { boot, space } = await surroundings();
  if (other.boot !== boot) return "dead";
  if (other.space !== space) return "out-of-sight";
  if (!exists(other.pid)) return "dead";
  const stat = await statOf(other.pid);
  if (stat === undefined) return "alive";
  const isZombie = stat.state === "Z" || stat.state === "X";
  return isZombie || stat.started !== other.started ? "dead" : "alive";
}

async function surroundings(): Promise<{ readonly boot: string; readonly space: string }> {
  const boot = await readFile("/proc/sys/kernel/random/boot_id", "utf8").catch(() => "");
  const space = await readlink("/proc/self/ns/pid").catch(() => "");
  return { boot: boot.trim(), space };
}

function exists(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return codeOf(error) !== "ESRCH";
  }
}

async function statOf(pid: number | "self"): Promise<{ state: string; started: string } | undefined> {
  const text = await readFile(`/proc/${pid}/stat`, "utf8").catch(() => undefined);
  // The second field is the program's name in parentheses and may hold anything, so counting begins behind it.
  const fields = text?.slice(text.lastIndexOf(")") + 2).split(" ");
  const [state, started] = [fields?.[0], fields?.[19]];
  return state === undefined || started === undefined ? undefined : { state, started };
}
