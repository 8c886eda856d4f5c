/** An entry of 1 to 3,000 bytes that only its index can have. */
export function numberedEntry(index: number): Buffer {
  const bytes = Buffer.alloc(4 + ((index * 7919) % 3000), index % 251);
  bytes.writeUInt32BE(index);
  return bytes;
}
