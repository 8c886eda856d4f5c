import type { Procfs } from "./procfs.ts";

/** So many network namespaces of one machine are looked into, as of its containers; a caller from another is not told. */
const namespacesMax = 1_024;

/**
 * Finds network namespaces other than this process's own in which Unix sockets are: an accepted one is in the namespace
 * of whoever has connected, and in no other one's lists. Answers with a process of each, by which it can be entered.
 */
export function namespacesWith(inodes: ReadonlySet<string>, procfs: Procfs): number[] {
  const seen = new Set([procfs.networkNamespace("self")]);
  const found: number[] = [];
  for (const pid of procfs.pids()) {
    if (seen.size > namespacesMax) break;
    const namespace = procfs.networkNamespace(pid);
    if (namespace === undefined || seen.has(namespace)) continue;
    seen.add(namespace);
    if (procfs.unixSockets(pid).some((inode) => inodes.has(inode))) found.push(pid);
  }
  return found;
}
