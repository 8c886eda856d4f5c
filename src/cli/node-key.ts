import type { KeyObject } from "node:crypto";
import { join } from "node:path";
import { exportPrivateKey, generateEd25519, importPrivateKey } from "../crypto/index.ts";
import { openFileKeyStore } from "../storage/index.ts";
import { CliError, exitCode } from "./exit-codes.ts";
import type { MeshDirectory } from "./mesh-directory.ts";

/** The key of a node that has joined: the log knows no other. */
export async function requireNodeKey(directory: MeshDirectory): Promise<KeyObject> {
  const file = join(directory.agentKeys, "node");
  const bytes = await (await openFileKeyStore(directory.agentKeys)).load("node");
  try {
    if (bytes !== undefined) return importPrivateKey(bytes);
  } catch {
    // Said below; the library's message may quote the key.
  }
  throw new CliError(
    exitCode.unreadable,
    `${file} is ${bytes === undefined ? "missing" : "damaged"}: restore it from a backup, or remove ${join(directory.agent, "membership.json")} and ${file} and join under another name`,
  );
}

/** The agent's key, made when the node joins. */
export async function loadNodeKey(directory: MeshDirectory): Promise<KeyObject> {
  const keyStore = await openFileKeyStore(directory.agentKeys);
  return importPrivateKey(
    await keyStore.loadOrCreate("node", () => exportPrivateKey(generateEd25519().privateKey)),
  );
}
