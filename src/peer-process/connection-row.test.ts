import { expect, it } from "vitest";
import { findConnections } from "./connection-row.ts";

/** As Linux 6.18 on a little-endian machine wrote it, with the white space at the ends of lines. */
const ipv4 = `  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode                                                     
   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1001 1 000000004ec53fb7 100 0 0 10 0                  
   1: 0100007F:C350 0100007F:1F90 01 00000000:00000000 00:00000000 00000000  1000        0 1002 1 000000004ec53fb8 20 4 30 10 -1                 
   2: 0100007F:1F90 0100007F:C350 01 00000000:00000000 00:00000000 00000000     0        0 1003 1 000000004ec53fb9 20 4 30 10 -1                 
   3: 0100007F:C351 0100007F:1F90 06 00000000:00000000 03:00000DA8 00000000     0        0 0 3 000000004ec53fba                                  
`;
const ipv6 = `  sl  local_address                         remote_address                        st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0000000000000000FFFF00000100007F:C352 0000000000000000FFFF00000100007F:1F90 01 00000000:00000000 00:00000000 00000000  1001        0 1004 1 0000000000000000 20 4 30 10 -1
   1: 00000000000000000000000001000000:C353 00000000000000000000000001000000:1F90 01 00000000:00000000 00:00000000 00000000  1002        0 1005 1 0000000000000000 20 4 30 10 -1
   2: B80D0120000000000000000034120000:C353 00000000000000000000000001000000:1F90 01 00000000:00000000 00:00000000 00000000  1003        0 1006 1 0000000000000000 20 4 30 10 -1
`;

it.each([
  ["127.0.0.1", 50_000, "127.0.0.1", { uid: 1000, inode: 1002 }],
  ["::ffff:127.0.0.1", 50_000, "::ffff:127.0.0.1", { uid: 1000, inode: 1002 }],
  ["127.0.0.1", 50_001, "127.0.0.1", { uid: 0, inode: 0 }],
  ["127.0.0.1", 50_002, "127.0.0.1", { uid: 1001, inode: 1004 }],
  ["::1", 50_003, "::1", { uid: 1002, inode: 1005 }],
  ["2001:db8::1234", 50_003, "::1", { uid: 1003, inode: 1006 }],
  ["127.0.0.1", 50_004, "127.0.0.1", undefined],
])("finds the end at %s port %i of a connection to %s", async (address, port, far, row) => {
  const rows = await findConnections(recorded, [
    { near: { address, port }, far: { address: far, port: 8080 } },
  ]);

  expect(rows).toEqual([row]);
});

it("does not take the accepted end for the caller's", async () => {
  const near = { address: "127.0.0.1", port: 8080 };

  const rows = await findConnections(recorded, [{ near, far: { address: "127.0.0.1", port: 50_000 } }]);

  expect(rows).toEqual([{ uid: 0, inode: 1003 }]);
});

it("finds many in one pass, each in its place, and reads no further than the last", async () => {
  let turns = 0;
  const counting = {
    connectionCount: () => 0,
    table: async (name: "tcp" | "tcp6", take: (rows: Buffer) => boolean) => {
      turns += 1;
      return recorded.table(name, take);
    },
  };
  const far = { address: "127.0.0.1", port: 8080 };
  const near = (port: number): { address: string; port: number } => ({ address: "127.0.0.1", port });

  const some = await findConnections(counting, [
    { near: near(50_001), far },
    { near: near(50_000), far },
  ]);

  expect(some).toEqual([
    { uid: 0, inode: 0 },
    { uid: 1000, inode: 1002 },
  ]);
  expect(turns).toBe(1);
  expect(
    await findConnections({ connectionCount: () => 0, table: async () => false }, [{ near: near(1), far }]),
  ).toBeUndefined();
});

it("asks for single connections where the table is long, and looks through it for what was not found", async () => {
  const far = { address: "127.0.0.1", port: 8080 };
  const sought = [50_000, 50_001].map((port) => ({ near: { address: "127.0.0.1", port }, far }));
  let asked = 0;
  const finder = {
    find: async () => {
      asked += 1;
      return new Map([[0, { uid: 7, inode: 7 }]]);
    },
  };
  const rowsOf = (connections: number) =>
    findConnections({ ...recorded, connectionCount: () => connections }, sought, finder);

  expect(await rowsOf(10_000)).toEqual([
    { uid: 7, inode: 7 },
    { uid: 0, inode: 0 },
  ]);
  expect(await rowsOf(100)).toEqual([
    { uid: 1000, inode: 1002 },
    { uid: 0, inode: 0 },
  ]);
  expect(asked).toBe(1);
});

/** One row a turn, the worst that a kernel may do. */
const recorded = {
  connectionCount: () => 0,
  table: async (name: "tcp" | "tcp6", take: (rows: Buffer) => boolean): Promise<boolean> => {
    const rows = (name === "tcp" ? ipv4 : ipv6).split("\n").slice(0, -1);
    for (const row of rows) if (!take(Buffer.from(`${row}\n`))) break;
    return true;
  },
};
