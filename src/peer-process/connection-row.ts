import { isIPv4, SocketAddress } from "node:net";
import { endianness } from "node:os";
import type { ConnectionTables } from "./procfs.ts";

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

/** Finds the row of the end at `near` of the connection to `far`. */
export function findConnection(
  tables: ConnectionTables,
  near: ConnectionEnd,
  far: ConnectionEnd,
): ConnectionRow | undefined {
  const ends = [plain(near), plain(far)] as const;
  if (ends.every(({ address }) => isIPv4(address)))
    // A socket of IPv6 that speaks to an address of IPv4 is in the other table.
    return rowOf(tables.ipv4, ends.map(spelledIpv4)) ?? rowOf(tables.ipv6, ends.map(spelledMapped));
  return rowOf(tables.ipv6, ends.map(spelledIpv6));
}

/** `sl local_address rem_address st tx_queue:rx_queue tr:tm->when retrnsmt uid timeout inode …` */
function rowOf(table: Buffer, ends: readonly string[]): ConnectionRow | undefined {
  const start = table.indexOf(` ${ends.join(" ")} `, 0, "latin1");
  if (start === -1) return undefined;
  const end = table.indexOf("\n", start, "latin1");
  const fields = table
    .toString("latin1", start, end === -1 ? table.length : end)
    .trim()
    .split(/\s+/);
  const [uid, inode] = [Number(fields[6]), Number(fields[8])];
  return Number.isSafeInteger(uid) && Number.isSafeInteger(inode) ? { uid, inode } : undefined;
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
