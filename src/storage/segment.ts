import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { storageFault } from "./storage-fault.ts";

/** One file of a journal; its name is the index of its first entry. */
export interface Segment {
  readonly firstIndex: number;
  readonly path: string;
}

/** The segment that begins with entry `firstIndex`. */
export function segmentAt(folder: string, firstIndex: number): Segment {
  return { firstIndex, path: join(folder, `${String(firstIndex).padStart(12, "0")}.seg`) };
}

/** The segments of a folder, by index. Throws `ERR_STORAGE_DAMAGED` for a `.seg` file whose name is no index. */
export async function listSegments(folder: string): Promise<Segment[]> {
  const names = (await readdir(folder)).filter((name) => name.endsWith(".seg"));
  const strange = names.find((name) => !/^\d{12}\.seg$/.test(name));
  if (strange !== undefined)
    throw storageFault("ERR_STORAGE_DAMAGED", `${join(folder, strange)} is not named by an index`);
  return names.sort().map((name) => segmentAt(folder, Number(name.slice(0, 12))));
}
