import { readFileSync } from "node:fs";
import { cpus, hostname, release, totalmem } from "node:os";

/** The machine that numbers were taken on. */
export interface Machine {
  readonly name: string;
  readonly processor: string;
  readonly cores: number;
  readonly memoryGib: number;
  readonly kernel: string;
  readonly system: string;
  readonly node: string;
  readonly openssl: string;
}

/** This machine. */
export function thisMachine(): Machine {
  const processors = cpus();
  return {
    name: hostname().replaceAll(/[^A-Za-z0-9-]/g, "-"),
    processor: processors[0]?.model.trim() ?? "unknown",
    cores: processors.length,
    memoryGib: Math.round(totalmem() / 2 ** 30),
    kernel: release(),
    system: systemName(),
    node: process.versions.node,
    openssl: process.versions.openssl,
  };
}

/** What the bench cannot do without, in a sentence; undefined when all is there. */
export function whatIsMissing(): string | undefined {
  if (process.platform !== "linux")
    return `npm run bench needs Linux (epoll, /proc); this is ${process.platform}. Run it in a Linux machine or container.`;
  try {
    readFileSync("/proc/self/schedstat");
    return undefined;
  } catch {
    return "npm run bench needs /proc/PID/schedstat; this kernel was built without CONFIG_SCHED_INFO";
  }
}

function systemName(): string {
  try {
    return /^PRETTY_NAME="(.*)"$/m.exec(readFileSync("/etc/os-release", "utf8"))?.[1] ?? "unknown";
  } catch {
    return "unknown";
  }
}
