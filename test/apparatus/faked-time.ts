import { existsSync, globSync } from "node:fs";

/** The environment in which a process sees the wall clock shifted, its timers not; undefined where libfaketime is not. */
export function fakedTime(shift: string): Readonly<Record<string, string>> | undefined {
  const [library] = globSync("/usr/lib/*/faketime/libfaketime.so.1");
  if (library === undefined || !existsSync(library)) return undefined;
  return { LD_PRELOAD: library, FAKETIME: shift, FAKETIME_DONT_FAKE_MONOTONIC: "1" };
}
