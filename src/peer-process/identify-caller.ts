import type { Socket } from "node:net";
import { fail, ok, type Result } from "../base/result.ts";
import { type ConnectionEnd, findConnections } from "./connection-row.ts";
import { type ProcessStat, Procfs } from "./procfs.ts";

/** So many processes may have one socket open, as the workers of a server do, before its caller is nobody in particular. */
const holdersMax = 256;
const parentsMax = 64;
/** A table of connections that changes while it is read may be read without a row that is in it all the time. */
const tableReadsMax = 3;
/** So many descriptors are looked at before others have a turn: some milliseconds. */
const descriptorsPerTurnMax = 1_024;

/** The two ends of a connection that was accepted. */
export interface ConnectionEnds {
  readonly local: ConnectionEnd;
  readonly remote: ConnectionEnd;
}

/** Why it is not known which process is at the other end. */
export type CallerRefusal =
  /** Only Linux tells. */
  | "platform-cannot-tell"
  /** Not a connection, or not one any more. */
  | "connection-over"
  /** The other end is not of this machine, or of another network namespace. */
  | "not-of-this-machine"
  /** No process that may be looked at has the socket: it is another user's, or of another pid namespace. */
  | "out-of-sight"
  /** A process ended, or gave the socket away, while it was looked at. */
  | "changed-meanwhile"
  | "too-many-processes";

/** Whose socket the other end is, which the kernel tells of any. */
export interface SocketOwner {
  /** Who made it. */
  readonly uid: number;
  readonly inode: number;
}

/** One process that has the other end of a connection open. */
export interface CallerProcess extends ProcessStat {
  /** Effective user and group, supplementary groups. */
  readonly uid: number;
  readonly gid: number;
  readonly groups: readonly number[];
  /** The path of its program; ends with " (deleted)" where that is there no more, undefined where it may not be seen. */
  readonly executable: string | undefined;
  /** Its parent, that one's parent, and so on. */
  readonly parents: readonly ProcessStat[];
}

/**
 * Who is at the other end. A socket that was inherited, or handed on, is open in several processes: any of them may have
 * written what is read from it, so what is asked of the caller must be true of all. There is always one at least.
 */
export interface LocalCaller extends SocketOwner {
  readonly processes: readonly [CallerProcess, ...CallerProcess[]];
}

/** The ends of an accepted TCP connection; undefined where it is over, or is none of TCP. */
export function endsOf(socket: Socket): ConnectionEnds | undefined {
  const { localAddress, localPort, remoteAddress, remotePort } = socket;
  if (localAddress === undefined || remoteAddress === undefined) return undefined;
  if (localPort === undefined || remotePort === undefined) return undefined;
  return {
    local: { address: localAddress, port: localPort },
    remote: { address: remoteAddress, port: remotePort },
  };
}

/** Tells which user made the socket at the other end of a TCP connection that this machine accepted from itself. */
export async function ownerOfConnection(
  { local, remote }: ConnectionEnds,
  procfs = new Procfs(),
): Promise<Result<SocketOwner, CallerRefusal>> {
  for (let read = 0; read < tableReadsMax; read += 1) {
    const rows = await findConnections(procfs, [{ near: remote, far: local }]);
    if (rows === undefined) return fail("platform-cannot-tell", "no table of connections in /proc");
    const [row] = rows;
    // Of a socket that no process has open the kernel names user 0, whoever's it was.
    if (row?.inode === 0) return fail("connection-over", "the caller has closed it");
    if (row !== undefined) return ok(row);
  }
  return fail("not-of-this-machine", `no connection from ${remote.address}:${remote.port} in /proc/net/tcp`);
}

/**
 * Tells which processes have the other end of an accepted TCP connection open, by looking at the descriptors of all
 * processes that this one may look at: some 5 ms where there are a hundred, 50 where there are a thousand. What it tells
 * was so at one moment; a pid that is given out anew is noticed by when its process started.
 */
export async function identifyCaller(
  ends: ConnectionEnds,
  procfs = new Procfs(),
): Promise<Result<LocalCaller, CallerRefusal>> {
  const owner = await ownerOfConnection(ends, procfs);
  return owner.ok ? callerHolding(owner.value, procfs) : owner;
}

/** As {@link identifyCaller}, of a socket whose inode is known; without a user, it is that of the first process found. */
export async function callerHolding(
  socket: { readonly inode: number; readonly uid?: number },
  procfs: Procfs,
): Promise<Result<LocalCaller, CallerRefusal>> {
  const callers = await callersHolding([socket.inode], procfs);
  const caller = callers.get(socket.inode) ?? fail("out-of-sight", "");
  if (socket.uid === undefined) return caller;
  if (caller.ok) return ok({ ...caller.value, uid: socket.uid });
  return caller.reason === "out-of-sight"
    ? fail(caller.reason, `${caller.detail}; user ${socket.uid} made it`)
    : caller;
}

/** Who has each of these sockets open, by its inode, in one look at the descriptors of all processes. */
export async function callersHolding(
  inodes: readonly number[],
  procfs: Procfs,
): Promise<ReadonlyMap<number, Result<LocalCaller, CallerRefusal>>> {
  const holders = await holdersOf(new Map(inodes.map((inode) => [`socket:[${inode}]`, []])), procfs);
  return new Map(
    inodes.map((inode) => {
      const link = `socket:[${inode}]`;
      return [inode, callerOf(inode, { link, holders: holders.get(link) ?? [] }, procfs)];
    }),
  );
}

function callerOf(
  inode: number,
  { link, holders }: { readonly link: string; readonly holders: readonly Holder[] },
  procfs: Procfs,
): Result<LocalCaller, CallerRefusal> {
  if (holders.length > holdersMax)
    return fail("too-many-processes", `over ${holdersMax} processes have the connection open`);
  const [first, ...others] = holders.map((holder) => describe(holder, link, procfs));
  if (first === undefined) return fail("out-of-sight", "no process that may be looked at has it open");
  if (first === "changed" || others.includes("changed"))
    return fail("changed-meanwhile", "a process ended, or closed the connection, while it was looked at");
  const rest = others.filter((process) => process !== "changed");
  return ok({ inode, uid: first.uid, processes: [first, ...rest] });
}

/** A process as it was before its descriptors were looked at, and the one that is sought. */
interface Holder {
  readonly stat: ProcessStat;
  readonly descriptor: number;
}

/** Fills in, for each link, the processes that have it open. */
async function holdersOf(
  holders: ReadonlyMap<string, Holder[]>,
  procfs: Procfs,
): Promise<ReadonlyMap<string, readonly Holder[]>> {
  let looked = 0;
  for (const pid of procfs.pids()) {
    const stat = procfs.stat(pid);
    const descriptors = stat === undefined ? undefined : procfs.descriptors(pid);
    if (stat === undefined || descriptors === undefined) continue;
    for (const descriptor of descriptors) {
      const list = holders.get(procfs.descriptor(pid, descriptor) ?? "");
      // One process may have it open twice.
      if (list !== undefined && list.at(-1)?.stat.pid !== pid) list.push({ stat, descriptor });
    }
    looked += descriptors.length + 1;
    if (looked < descriptorsPerTurnMax) continue;
    looked = 0;
    await new Promise((resolve) => setImmediate(resolve));
  }
  return holders;
}

/** What is told of a process is told only where it is, after that, still the one that has the connection open. */
function describe({ stat, descriptor }: Holder, link: string, procfs: Procfs): CallerProcess | "changed" {
  const { pid } = stat;
  const owner = procfs.owner(pid);
  const executable = procfs.executable(pid);
  const parents = parentsOf(stat, procfs);
  const isSame = procfs.stat(pid)?.startedTicks === stat.startedTicks;
  if (owner === undefined || !isSame || procfs.descriptor(pid, descriptor) !== link) return "changed";
  return { ...stat, ...owner, executable, parents };
}

/**
 * The parents of a process, nearest first, as far as they can be seen. A process whose parent has ended has the one that
 * took it over; a number that was given out again belongs to a process that is younger than its child.
 */
export function parentsOf(child: ProcessStat, procfs: Procfs): ProcessStat[] {
  const parents: ProcessStat[] = [];
  let one = child;
  while (parents.length < parentsMax && one.parentPid > 0) {
    const parent = procfs.stat(one.parentPid);
    const again = procfs.stat(one.pid);
    if (parent === undefined || parent.startedTicks > one.startedTicks) break;
    if (again?.startedTicks !== one.startedTicks || again.parentPid !== parent.pid) break;
    parents.push(parent);
    one = parent;
  }
  return parents;
}
