import { expect, it } from "vitest";
import { ConnectionIndex } from "./connection-row.ts";

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
])("finds the end at %s port %i of a connection to %s", (address, port, far, row) => {
  const index = new ConnectionIndex({ ipv4: Buffer.from(ipv4), ipv6: Buffer.from(ipv6) });

  expect(index.find({ address, port }, { address: far, port: 8080 })).toEqual(row);
});

it("does not take the accepted end for the caller's", () => {
  const index = new ConnectionIndex({ ipv4: Buffer.from(ipv4), ipv6: Buffer.from("") });

  const row = index.find({ address: "127.0.0.1", port: 8080 }, { address: "127.0.0.1", port: 50_000 });
  expect(row).toEqual({ uid: 0, inode: 1003 });
});
