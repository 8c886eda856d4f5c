import { closeSync, existsSync, openSync, readdirSync, readFileSync, readlinkSync, readSync } from "node:fs";
import { join } from "node:path";
import { codeOf } from "../base/mesh-error.ts";

const pageBytes = 4_096;
/** USER_HZ, in which the kernel counts for programs whatever its own clock is: 100 on all of Node.js' platforms. */
const tickMillis = 10;
/** As much of a table as is read in one turn: about half a millisecond. */
const tableBytesPerTurnMax = 32 * pageBytes;
/** A process may have put anything into its environment; the beginning of it is looked at. */
const environmentBytesMax = 256 * 1024;

/** Which process a number means at this moment, since numbers are given out again. */
export interface ProcessStat {
  readonly pid: number;
  readonly parentPid: number;
  /** When it started, in clock ticks since the kernel did. */
  readonly startedTicks: number;
}

/** Whose a process is. */
export interface ProcessOwner {
  /** The effective ones. */
  readonly uid: number;
  readonly gid: number;
  /** Supplementary groups. */
  readonly groups: readonly number[];
}

/**
 * What Linux tells of processes (proc(5)). Whatever has ended, or may not be looked at, is undefined. Its small files
 * are read synchronously, which takes some microseconds each; the tables of connections may be long and are read in turns.
 */
export class Procfs {
  readonly #root: string;

  /** `root` is another folder only where recorded files stand in for a kernel. */
  constructor(root = "/proc") {
    this.#root = root;
  }

  /** Whether it is told here which process is at the other end of a connection; on Linux alone. */
  get tellsCallers(): boolean {
    return existsSync(join(this.#root, "net/tcp")) && this.#link("self/fd/0") !== undefined;
  }

  /**
   * Reads the connections of this process's network namespace, some whole rows at a time, until `take` wants no more;
   * false where there is no such table. The kernel hands out a page a call, so a long table takes some hundred calls,
   * and others have a turn in between.
   */
  async table(name: "tcp" | "tcp6", take: (rows: Buffer) => boolean): Promise<boolean> {
    let file: number;
    try {
      file = openSync(join(this.#root, "net", name), "r");
    } catch {
      return false;
    }
    const rows = Buffer.allocUnsafe(tableBytesPerTurnMax);
    try {
      let kept = 0;
      for (;;) {
        const end = fill(file, rows, kept);
        const whole = rows.lastIndexOf("\n", end - 1, "latin1") + 1;
        if (whole > 0 && !take(rows.subarray(0, whole))) return true;
        if (end === kept) return true;
        rows.copy(rows, 0, whole, end);
        kept = end - whole;
        await new Promise((resolve) => setImmediate(resolve));
      }
    } catch {
      return false;
    } finally {
      closeSync(file);
    }
  }

  /** About how many rows {@link table} has of connections, those that are over among them; 0 where it is not told. */
  connectionCount(): number {
    const lines = `${this.#text("net/sockstat") ?? ""}${this.#text("net/sockstat6") ?? ""}`;
    return [...lines.matchAll(/^TCP6?: inuse ([0-9]+)(?: orphan [0-9]+ tw ([0-9]+))?/gm)]
      .flatMap(([, inUse = 0, over = 0]) => [Number(inUse), Number(over)])
      .reduce((sum, count) => sum + count, 0);
  }

  /** The network namespace of a process; undefined where that may not be seen. */
  networkNamespace(pid: number | "self"): string | undefined {
    return this.#link(`${pid}/ns/net`);
  }

  /** The inodes of the Unix sockets in the network namespace of a process. */
  unixSockets(pid: number): string[] {
    // `Num RefCount Protocol Flags Type St Inode Path`
    const rows = (this.#text(`${pid}/net/unix`) ?? "").matchAll(/^\S+:(?: +\S+){5} +([0-9]+)/gm);
    return [...rows].map(([, inode = ""]) => inode);
  }

  /** All process numbers of this process's pid namespace, ascending. */
  pids(): number[] {
    return this.#numbers("").sort((left, right) => left - right);
  }

  /** Which process a number means now. */
  stat(pid: number): ProcessStat | undefined {
    const text = this.#text(`${pid}/stat`);
    // The second field is the program's name in parentheses and may hold anything, so counting begins behind it.
    const fields = text?.slice(text.lastIndexOf(")") + 2).split(" ");
    const [state, parentPid, startedTicks] = [fields?.[0], Number(fields?.[1]), Number(fields?.[19])];
    if (state === undefined || state === "Z" || state === "X") return undefined;
    if (!Number.isSafeInteger(parentPid) || !Number.isSafeInteger(startedTicks)) return undefined;
    return { pid, parentPid, startedTicks };
  }

  /** Whose a process is now. */
  owner(pid: number): ProcessOwner | undefined {
    const text = this.#text(`${pid}/status`);
    const numbers = (name: string): number[] | undefined =>
      new RegExp(`^${name}:\\s*(.*)$`, "m")
        .exec(text ?? "")?.[1]
        ?.split(/\s+/)
        .filter(Boolean)
        .map(Number);
    const uid = numbers("Uid")?.[1];
    const gid = numbers("Gid")?.[1];
    return uid === undefined || gid === undefined ? undefined : { uid, gid, groups: numbers("Groups") ?? [] };
  }

  /** What a process has used of the processors, and its resident memory. */
  usage(pid: number): { readonly cpuMillis: number; readonly memoryBytes: number } | undefined {
    const stat = this.#text(`${pid}/stat`);
    const fields = stat?.slice(stat.lastIndexOf(")") + 2).split(" ");
    const ticks = Number(fields?.[11]) + Number(fields?.[12]);
    const resident = Number(/^VmRSS:\s*([0-9]+) kB$/m.exec(this.#text(`${pid}/status`) ?? "")?.[1]);
    if (!Number.isSafeInteger(ticks) || !Number.isSafeInteger(resident)) return undefined;
    return { cpuMillis: ticks * tickMillis, memoryBytes: resident * 1024 };
  }

  /** The control groups of a process (cgroups(7)) by their hierarchies' names; that of version 2 has the name "". */
  cgroups(pid: number): ReadonlyMap<string, string> {
    const rows = [...(this.#text(`${pid}/cgroup`) ?? "").matchAll(/^[0-9]+:([^:]*):(.*)$/gm)];
    return new Map(rows.map(([, name = "", path = ""]) => [name, path]));
  }

  /** The path of the program that a process runs; ends with " (deleted)" where it is there no more. */
  executable(pid: number): string | undefined {
    return this.#link(`${pid}/exe`);
  }

  /** The numbers of the descriptors that a process has open; undefined where that may not be looked at. */
  descriptors(pid: number): number[] | undefined {
    try {
      return this.#numbers(`${pid}/fd`);
    } catch {
      return undefined;
    }
  }

  /** What a descriptor is, as `socket:[123]`. */
  descriptor(pid: number, descriptor: number): string | undefined {
    return this.#link(`${pid}/fd/${descriptor}`);
  }

  /** The children of all threads of a process; undefined where the kernel does not list them. */
  children(pid: number): number[] | undefined {
    try {
      return this.#numbers(`${pid}/task`).flatMap((thread) =>
        readFileSync(join(this.#root, `${pid}/task/${thread}/children`), "latin1")
          .split(" ")
          .filter(Boolean)
          .map(Number),
      );
    } catch (error) {
      // A thread that has just ended has none.
      return codeOf(error) === "ESRCH" ? [] : undefined;
    }
  }

  /** Whether a process was started with `variable`, as `NAME=value`, in its environment. */
  hasInEnvironment(pid: number, variable: string): boolean {
    try {
      const file = openSync(join(this.#root, `${pid}/environ`), "r");
      try {
        const bytes = Buffer.alloc(environmentBytesMax);
        let length = 0;
        let read = -1;
        while (read !== 0 && length < bytes.length) {
          read = readSync(file, bytes, length, bytes.length - length, null);
          length += read;
        }
        return `\0${bytes.toString("latin1", 0, length)}\0`.includes(`\0${variable}\0`);
      } finally {
        closeSync(file);
      }
    } catch {
      return false;
    }
  }

  #numbers(folder: string): number[] {
    return readdirSync(join(this.#root, folder))
      .filter((name) => /^[0-9]+$/.test(name))
      .map(Number);
  }

  #text(path: string): string | undefined {
    try {
      return readFileSync(join(this.#root, path), "latin1");
    } catch {
      return undefined;
    }
  }

  #link(path: string): string | undefined {
    try {
      return readlinkSync(join(this.#root, path), "latin1");
    } catch {
      return undefined;
    }
  }
}

/** Reads until the buffer is full but for a page, or there is no more; where what has been read ends. */
function fill(file: number, buffer: Buffer, from: number): number {
  let end = from;
  while (buffer.length - end >= pageBytes) {
    const read = readSync(file, buffer, end, buffer.length - end, null);
    if (read === 0) break;
    end += read;
  }
  return end;
}
