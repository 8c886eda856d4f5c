import { readdir, readFile, readlink } from "node:fs/promises";

/**
 * Which process listens on a TCP port of this machine, as "process 123 (name)"; undefined where that cannot be told:
 * there is no procfs, or the process is another user's.
 */
export async function holderOfPort(port: number): Promise<string | undefined> {
  const inodes = new Set([
    ...(await listening("/proc/net/tcp", port)),
    ...(await listening("/proc/net/tcp6", port)),
  ]);
  if (inodes.size === 0) return undefined;
  for (const pid of await readdir("/proc").catch(() => [])) {
    if (!/^[0-9]+$/.test(pid)) continue;
    for (const descriptor of await readdir(`/proc/${pid}/fd`).catch(() => [])) {
      const link = await readlink(`/proc/${pid}/fd/${descriptor}`).catch(() => "");
      const inode = /^socket:\[([0-9]+)\]$/.exec(link)?.[1];
      if (inode === undefined || !inodes.has(inode)) continue;
      const name = (await readFile(`/proc/${pid}/comm`, "utf8").catch(() => "")).trim();
      return `process ${pid}${name === "" ? "" : ` (${name})`}`;
    }
  }
  return undefined;
}

/** Inodes of the sockets that listen on a port. */
async function listening(table: string, port: number): Promise<string[]> {
  const lines = (await readFile(table, "utf8").catch(() => "")).split("\n").slice(1);
  return lines.flatMap((line) => {
    const fields = line.trim().split(/ +/);
    const [, local = "", , state] = fields;
    const isMeant = state === "0A" && Number.parseInt(local.split(":")[1] ?? "", 16) === port;
    return isMeant && fields[9] !== undefined ? [fields[9]] : [];
  });
}
