import { isIPv4, SocketAddress } from "node:net";
import { endianness } from "node:os";
import type { Procfs } from "./procfs.ts";

/** A table of so many rows is read in a millisecond or two. */
const shortTableRowsMax = 1_000;

/** One end of a TCP connection. */
export interface ConnectionEnd {
  readonly address: string;
  readonly port: number;
}

/** What the kernel says of one end of a connection. */
export interface ConnectionRow {
  /** Who made the socket. */
  readonly uid: number;
  /** Names the socket among all that are open; 0 where no process has it open any more. */
  readonly inode: number;
}

/** One connection, as the end that is sought names it. */
export interface SoughtConnection {
  readonly near: ConnectionEnd;
  readonly far: ConnectionEnd;
}

/** Finds single connections without looking through all. */
export interface ConnectionFinder {
  /** The rows of those that it has found, by their places in `sought`. */
  readonly find: (sought: readonly SoughtConnection[]) => Promise<ReadonlyMap<number, ConnectionRow>>;
}

/**
 * Finds the rows of the ends at `near`, in the same order, in one pass over the tables that ends with the last of them; a
 * table may have some ten thousand rows of connections that are over, and from a thousand on `finder`, if any, is asked
 * before. Undefined where there are no tables.
 */
export async function findConnections(
  procfs: Pick<Procfs, "table" | "connectionCount">,
  sought: readonly SoughtConnection[],
  finder?: ConnectionFinder,
): Promise<(ConnectionRow | undefined)[] | undefined> {
  const ends = sought.map(({ near, far }) => [plain(near), plain(far)] as const);
  const isIpv4 = (place: number): boolean => ends[place]?.every(({ address }) => isIPv4(address)) === true;
  const isLong = finder !== undefined && procfs.connectionCount() > shortTableRowsMax;
  const found = new Map(isLong ? await finder.find(sought) : []);
  const seek = async (
    name: "tcp" | "tcp6",
    spell: (end: ConnectionEnd, place: number) => string,
  ): Promise<boolean> => {
    const places = new Map<string, number>();
    const fars = new Set<string>();
    for (const [place, [near, far]] of ends.entries()) {
      if (found.has(place) || (name === "tcp" && !isIpv4(place))) continue;
      places.set(`${spell(near, place)} ${spell(far, place)}`, place);
      fars.add(spell(far, place));
    }
    if (places.size === 0) return true;
    return procfs.table(name, (rows) => {
      for (const far of fars) takeRows(rows, far, { places, found });
      return places.size > 0;
    });
  };
  if (!(await seek("tcp", spelledIpv4))) return undefined;
  // A socket of IPv6 that speaks to an address of IPv4 is in the other table; a kernel may have no IPv6 at all.
  await seek("tcp6", (end, place) => (isIpv4(place) ? spelledMapped(end) : spelledIpv6(end)));
  return ends.map((_, place) => found.get(place));
}

/** Takes those of `places` whose rows are among these: `sl: local rem st tx:rx tr:when retrnsmt uid timeout inode …`. */
function takeRows(
  rows: Buffer,
  far: string,
  { places, found }: { readonly places: Map<string, number>; readonly found: Map<number, ConnectionRow> },
): void {
  const sought = ` ${far} `;
  for (let at = rows.indexOf(sought, 0, "latin1"); at !== -1; at = rows.indexOf(sought, at + 1, "latin1")) {
    const near = rows.toString("latin1", at - far.length, at);
    const place = places.get(`${near} ${far}`);
    if (place === undefined) continue;
    const end = rows.indexOf("\n", at, "latin1");
    const fields = rows.toString("latin1", at + sought.length, end).split(/\s+/);
    const [uid, inode] = [Number(fields[4]), Number(fields[6])];
    if (!Number.isSafeInteger(uid) || !Number.isSafeInteger(inode)) continue;
    found.set(place, { uid, inode });
    places.delete(`${near} ${far}`);
  }
}

/** An address of IPv4, as a socket of IPv6 names it, is that address. */
function plain({ address, port }: ConnectionEnd): ConnectionEnd {
  const mapped = /^::ffff:([0-9.]+)$/i.exec(address)?.[1];
  return { address: mapped ?? address, port };
}

function spelledIpv4({ address, port }: ConnectionEnd): string {
  return `${words(Buffer.from(address.split(".").map(Number)))}:${portOf(port)}`;
}

function spelledMapped({ address, port }: ConnectionEnd): string {
  const bytes = Buffer.from([...Array<number>(10).fill(0), 255, 255, ...address.split(".").map(Number)]);
  return `${words(bytes)}:${portOf(port)}`;
}

function spelledIpv6({ address, port }: ConnectionEnd): string {
  const bytes = Buffer.alloc(16);
  ipv6Groups(address).forEach((group, place) => bytes.writeUInt16BE(group, place * 2));
  return `${words(bytes)}:${portOf(port)}`;
}

function ipv6Groups(address: string): number[] {
  const { address: canonical } = new SocketAddress({ address, family: "ipv6" });
  const [head = "", tail] = canonical.replace(/%.*$/, "").split("::");
  const groups = (text: string): number[] =>
    text === "" ? [] : text.split(":").map((group) => Number.parseInt(group, 16));
  const before = groups(head);
  const after = tail === undefined ? [] : groups(tail);
  return [...before, ...Array<number>(8 - before.length - after.length).fill(0), ...after];
}

/** The kernel prints an address as 32-bit numbers of its own byte order. */
function words(bytes: Buffer): string {
  const ordered = endianness() === "LE" ? Buffer.from(bytes).swap32() : bytes;
  return ordered.toString("hex").toUpperCase();
}

function portOf(port: number): string {
  return port.toString(16).toUpperCase().padStart(4, "0");
}
