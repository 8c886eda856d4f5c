import { hexOf } from "../base/bytes.ts";
import { Procfs } from "../peer-process/index.ts";
import { randomBytes } from "./system.ts";
import type { ParentMessage } from "./until-stopped.ts";

/** Whom a sidecar's ports for its application serve: that application's processes, or every process of the machine. */
export type OutboundClients = "own" | "any";

/**
 * Marks the processes of one application, also where they have left its process tree; the sidecar is given the same. It
 * can be read by processes of the same user, and of root, alone.
 */
export const treeVariable = "TROTH_PROCESS_TREE";

const markBytes = 16;

/** A mark that nobody can guess. */
export function newTreeMark(): string {
  return hexOf(randomBytes(markBytes));
}

/** Tells a sidecar which process is its application; undefined where that could not be started. */
export function applicationMessage(pid: number | undefined): ParentMessage | undefined {
  const stat = pid === undefined ? undefined : new Procfs().stat(pid);
  return stat === undefined
    ? undefined
    : { kind: "application", pid: stat.pid, startedTicks: stat.startedTicks };
}
