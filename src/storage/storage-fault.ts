import { codeOf, MeshError } from "../base/mesh-error.ts";

/** Every fault of this folder. */
export type StorageCode =
  | "ERR_STORAGE_BUSY"
  | "ERR_STORAGE_CLOSED"
  | "ERR_STORAGE_DAMAGED"
  | "ERR_STORAGE_ENTRY"
  | "ERR_STORAGE_FENCED"
  | "ERR_STORAGE_FULL"
  | "ERR_STORAGE_HEAD_CONFLICT"
  | "ERR_STORAGE_IO"
  | "ERR_STORAGE_KEY_EXPOSED"
  | "ERR_STORAGE_KEY_NAME"
  | "ERR_STORAGE_KEY_SIZE"
  | "ERR_STORAGE_LOCKED"
  | "ERR_STORAGE_POISONED"
  | "ERR_STORAGE_RANGE";

/** A fault of this folder, with the error that led to it where there is one. */
export function storageFault(code: StorageCode, message: string, cause?: unknown): MeshError {
  return new MeshError(code, message, cause === undefined ? {} : { cause });
}

/**
 * Does something with `what` on disk; what the operating system refuses becomes `ERR_STORAGE_FULL` (no room) or
 * `ERR_STORAGE_IO`.
 */
export async function onDisk<Value>(what: string, step: () => Promise<Value>): Promise<Value> {
  try {
    return await step();
  } catch (error) {
    if (error instanceof MeshError) throw error;
    const isFull = ["ENOSPC", "EDQUOT", "EFBIG"].includes(codeOf(error) ?? "");
    if (isFull) throw storageFault("ERR_STORAGE_FULL", `no room left for ${what}`, error);
    throw storageFault("ERR_STORAGE_IO", `the disk failed at ${what}`, error);
  }
}
