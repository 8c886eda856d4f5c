import { readdir, unlink } from "node:fs/promises";
import { join } from "node:path";
import { codeOf } from "../base/mesh-error.ts";
import { makeFolder, readFileIfPresent, syncFolder, writeFileAtomically } from "../storage/index.ts";

const fileName = /^([0-9a-f]{64})\.entry$/;

/** Where proposals survive the end of the process: one file each, named for the proposal. */
export interface ProposalFiles {
  readonly load: () => Promise<ReadonlyMap<string, Uint8Array>>;
  /** Durable, and whole or not at all, once it resolves. */
  readonly save: (id: string, entry: Uint8Array) => Promise<void>;
  readonly remove: (id: string) => Promise<void>;
}

/** The proposals in a folder that one process at a time has locked. */
export async function openProposalFiles(folder: string): Promise<ProposalFiles> {
  await makeFolder(folder);
  const pathOf = (id: string): string => join(folder, `${id}.entry`);
  return {
    load: async () => {
      const found = new Map<string, Uint8Array>();
      for (const name of await readdir(folder)) {
        const id = fileName.exec(name)?.[1];
        // What a crash left half written was never acknowledged.
        if (id === undefined) await removeFile(join(folder, name));
        else found.set(id, (await readFileIfPresent(pathOf(id))) ?? new Uint8Array(0));
      }
      return found;
    },
    save: (id, entry) => writeFileAtomically(pathOf(id), entry, 0o600),
    remove: async (id) => {
      await removeFile(pathOf(id));
      await syncFolder(folder);
    },
  };
}

async function removeFile(path: string): Promise<void> {
  try {
    await unlink(path);
  } catch (error) {
    if (codeOf(error) !== "ENOENT") throw error;
  }
}
