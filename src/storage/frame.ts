import { crc32 } from "node:zlib";

/** The longest entry a journal takes. */
export const entryBytesMax = 65_535;

/** Length and checksum in front of each entry. */
export const frameHeadBytes = 6;

/** The longest frame. */
export const frameBytesMax = frameHeadBytes + entryBytesMax;

/**
 * Completes the frame `u16be length | u32be checksum | entry` at `at`, whose entry is already in place; `fileOffset`
 * is where the frame will stand in its file.
 */
export function sealFrame(bytes: Buffer, at: number, frame: { length: number; fileOffset: number }): void {
  bytes.writeUInt16BE(frame.length, at);
  bytes.writeUInt32BE(checksum(bytes, at, frame), at + 2);
}

/** How many bytes the frame at `at` has, head included, or 0 unless it is whole and unharmed. */
export function wholeFrameBytes(bytes: Buffer, at: number, fileOffset: number): number {
  if (at + frameHeadBytes >= bytes.byteLength) return 0;
  const length = bytes.readUInt16BE(at);
  if (length === 0 || at + frameHeadBytes + length > bytes.byteLength) return 0;
  return checksum(bytes, at, { length, fileOffset }) === bytes.readUInt32BE(at + 2)
    ? frameHeadBytes + length
    : 0;
}

const place = Buffer.alloc(6);

// The place in the file is covered, so that a frame found by searching is a frame and not an entry that quotes one,
// and a frame that was moved, doubled or left out shows. The length is, so that no flipped bit of it goes unseen.
function checksum(bytes: Buffer, at: number, frame: { length: number; fileOffset: number }): number {
  place.writeUInt32BE(frame.fileOffset, 0);
  place.writeUInt16BE(frame.length, 4);
  const start = at + frameHeadBytes;
  return crc32(bytes.subarray(start, start + frame.length), crc32(place));
}
