import { randomInt } from "node:crypto";
import { readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { crc32 } from "node:zlib";
import { z } from "zod";
import { troth } from "./running-mesh.ts";

const frameHeadBytes = 6;

/** Where an entry stands in a journal's file. */
interface EntryPlace {
  readonly file: string;
  /** Of its frame `u16 length | u32 checksum | entry`. */
  readonly offset: number;
  readonly length: number;
}

/** Where each entry of a journal stands; the format is that of docs/specs. */
export async function entryPlaces(segments: string): Promise<EntryPlace[]> {
  const places: EntryPlace[] = [];
  for (const name of (await readdir(segments)).filter((name) => name.endsWith(".seg")).sort()) {
    const file = join(segments, name);
    const bytes = await readFile(file);
    for (let offset = 0; offset < bytes.byteLength; ) {
      const length = bytes.readUInt16BE(offset);
      places.push({ file, offset, length });
      offset += frameHeadBytes + length;
    }
  }
  return places;
}

/** Changes one byte of an entry, drawn by lot; a careful forger also mends the checksum of its frame. */
export async function changeByteOfEntry(place: EntryPlace, mendsChecksum: boolean): Promise<void> {
  const bytes = await readFile(place.file);
  const start = place.offset + frameHeadBytes;
  changeByte(bytes, start + randomInt(place.length));
  if (mendsChecksum) {
    const head = Buffer.alloc(frameHeadBytes);
    head.writeUInt32BE(place.offset, 0);
    head.writeUInt16BE(place.length, 4);
    const checksum = crc32(bytes.subarray(start, start + place.length), crc32(head));
    bytes.writeUInt32BE(checksum, place.offset + 2);
  }
  await writeFile(place.file, bytes);
}

/** Changes one byte of a file, at a place or drawn by lot. */
export async function changeByteOfFile(file: string, at?: number): Promise<void> {
  const bytes = await readFile(file);
  changeByte(bytes, at ?? randomInt(bytes.byteLength));
  await writeFile(file, bytes);
}

function changeByte(bytes: Buffer, at: number): void {
  bytes[at] = (bytes[at] ?? 0) ^ randomInt(1, 256);
}

const verdictSchema = z.looseObject({
  verified: z.boolean(),
  size: z.number(),
  root: z.string(),
  unsigned: z.number(),
  problems: z.array(z.string()),
});

/** What `troth log verify -o json` finds, and the exit code that it ends with. */
export async function verifyLog(path: string): Promise<z.infer<typeof verdictSchema> & { code: number }> {
  const { code, stdout, stderr } = await troth(path, "log", "verify", "-o", "json");
  if (stdout === "") throw new Error(`troth log verify ended with ${code} and no verdict: ${stderr.trim()}`);
  return { ...verdictSchema.parse(JSON.parse(stdout)), code };
}

/** Whether a verdict is a failure that names this entry, and only failures about it come with a number. */
export function doesName(verdict: { code: number; problems: readonly string[] }, index: number): boolean {
  return verdict.code === 1 && verdict.problems.some((problem) => namesEntry(problem, index));
}

function namesEntry(problem: string, index: number): boolean {
  return new RegExp(`\\bentry ${index}\\b`).test(problem);
}
