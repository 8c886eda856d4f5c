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

/** The tables of connections at one moment, read in one pass for all connections to one address. */
export class ConnectionIndex {
  readonly #tables: ConnectionTables;
  /** By the far end, the text of each row by its near end. */
  readonly #rows = new Map<string, ReadonlyMap<string, string>>();

  constructor(tables: ConnectionTables) {
    this.#tables = tables;
  }

  /** Finds the row of the end at `near` of the connection to `far`. */
  find(near: ConnectionEnd, far: ConnectionEnd): ConnectionRow | undefined {
    const ends = [plain(near), plain(far)] as const;
    const { ipv4, ipv6 } = this.#tables;
    if (ends.every(({ address }) => isIPv4(address)))
      // A socket of IPv6 that speaks to an address of IPv4 is in the other table.
      return this.#row(ipv4, ends.map(spelledIpv4)) ?? this.#row(ipv6, ends.map(spelledMapped));
    return this.#row(ipv6, ends.map(spelledIpv6));
  }

  /** `sl: local_address rem_address st tx_queue:rx_queue tr:tm->when retrnsmt uid timeout inode …` */
  #row(table: Buffer, [near = "", far = ""]: readonly string[]): ConnectionRow | undefined {
    const rows = this.#rows.get(far) ?? rowsTo(far, table);
    this.#rows.set(far, rows);
    const fields = rows.get(near)?.trim().split(/\s+/) ?? [];
    const [uid, inode] = [Number(fields[4]), Number(fields[6])];
    return Number.isSafeInteger(uid) && Number.isSafeInteger(inode) ? { uid, inode } : undefined;
  }
}

/** What follows the far end in each row that has this one, by the near end, which stands before it. */
function rowsTo(far: string, table: Buffer): Map<string, string> {
  const rows = new Map<string, string>();
  const sought = ` ${far} `;
  let at = table.indexOf(sought, 0, "latin1");
  while (at !== -1) {
    const end = table.indexOf("\n", at, "latin1");
    const near = table.toString("latin1", at - far.length, at);
    rows.set(near, table.toString("latin1", at + sought.length, end === -1 ? table.length : end));
    at = table.indexOf(sought, at + sought.length, "latin1");
  }
  return rows;
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
