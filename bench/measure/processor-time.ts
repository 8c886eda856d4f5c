import { readdirSync, readFileSync } from "node:fs";

/** Processor time of these processes with all their threads, in nanoseconds; what has ended counts no more. */
export function processorNanos(pids: readonly number[]): number {
  let nanos = 0;
  for (const pid of pids)
    for (const thread of entriesOf(`/proc/${pid}/task`))
      nanos += Number(textOf(`/proc/${pid}/task/${thread}/schedstat`).split(" ")[0] ?? 0);
  return nanos;
}

/** Processor time that this machine has spent since it started, by all its cores, stolen time included, in seconds. */
export function machineBusySeconds(): number {
  return busySecondsOf(textOf("/proc/stat"));
}

/** The same, from the text of `/proc/stat` (proc(5); the kernel counts in hundredths of a second). */
export function busySecondsOf(stat: string): number {
  const [, user, nice, system, , , interrupts, softInterrupts, steal] = (stat.split("\n", 1)[0] ?? "").split(
    / +/,
  );
  return (
    [user, nice, system, interrupts, softInterrupts, steal].reduce(
      (sum, ticks) => sum + Number(ticks ?? 0),
      0,
    ) / 100
  );
}

/** Memory of processes, in bytes: resident, and with shared pages divided among those who share them. */
export interface Memory {
  readonly residentBytes: number;
  readonly proportionalBytes: number;
}

/** Memory of these processes together. */
export function memoryOf(pids: readonly number[]): Memory {
  const texts = pids.map((pid) => textOf(`/proc/${pid}/smaps_rollup`));
  const sum = (name: string): number =>
    texts.reduce(
      (bytes, text) => bytes + Number(new RegExp(`^${name}: +([0-9]+) kB`, "m").exec(text)?.[1] ?? 0) * 1024,
      0,
    );
  return { residentBytes: sum("Rss"), proportionalBytes: sum("Pss") };
}

/** This process and all that descend from it, as far as their parents still live. */
export function ownProcesses(): number[] {
  const childrenOf = new Map<number, number[]>();
  for (const name of entriesOf("/proc")) {
    if (!/^[0-9]+$/.test(name)) continue;
    // The name of a program may have spaces and brackets in it.
    const parent = Number(textOf(`/proc/${name}/stat`).split(") ").at(-1)?.split(" ")[1] ?? 0);
    childrenOf.set(parent, [...(childrenOf.get(parent) ?? []), Number(name)]);
  }
  const found = [process.pid];
  for (const pid of found) found.push(...(childrenOf.get(pid) ?? []));
  return found;
}

function entriesOf(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}

function textOf(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    // The process has ended.
    return "";
  }
}
