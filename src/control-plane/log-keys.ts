import { createPublicKey, type KeyObject } from "node:crypto";
import { base64Of } from "../base/bytes.ts";
import { MeshError } from "../base/mesh-error.ts";
import { exportPrivateKey, generateEd25519, importPrivateKey, publicKeyBytes } from "../crypto/index.ts";
import type { KeyStore } from "../storage/index.ts";
import { logKeyName, type NoteSigner, type TrustState, verifierKeyOf } from "../trust-log/index.ts";

/** The keys by which a control plane orders entries, writes its own, and is known in TLS. */
export interface LogKeys {
  /** Signs checkpoints; authorises nothing. Its name is the log's origin. */
  readonly log: NoteSigner;
  readonly issuer: NoteSigner;
  readonly sequencer: NoteSigner;
  readonly server: NoteSigner;
}

/** The name in the key store of the key that signs the log in a generation. */
export function logKeyFile(generation: number): string {
  return generation === 1 ? "log" : `log-${generation}`;
}

/** Loads the keys of a trust domain that is about to be founded, or makes them where there are none. */
export function loadLogKeys(keyStore: KeyStore, trustDomain: string): Promise<LogKeys> {
  return keysFrom(trustDomain, 1, (name) =>
    keyStore.loadOrCreate(name, () => exportPrivateKey(generateEd25519().privateKey)),
  );
}

/** Loads the keys of a trust domain that has been founded; throws `ERR_CONTROL_PLANE_KEY` where one is missing. */
export function requireLogKeys(keyStore: KeyStore, trustDomain: string, generation = 1): Promise<LogKeys> {
  return keysFrom(trustDomain, generation, async (name) => {
    const bytes = await keyStore.load(name);
    if (bytes === undefined) throw keyFault(name, "is missing");
    return bytes;
  });
}

/** Reads a private key that the key store kept; throws `ERR_CONTROL_PLANE_KEY`, with its name, for anything else. */
export function importKeptKey(name: string, bytes: Uint8Array): KeyObject {
  try {
    return importPrivateKey(bytes);
  } catch {
    // The library's message may quote the key.
    throw keyFault(name, "is damaged");
  }
}

/** Throws `ERR_CONTROL_PLANE_KEY` unless the keys are those that the log names; nothing may be signed by others. */
export function assertNamed(keys: LogKeys, { genesis, authors }: TrustState): void {
  if (genesis === undefined) return;
  const { log, ...others } = keys;
  if (verifierKeyOf(log) !== genesis.logKey) throw keyFault("log", "is not the one that the trust log names");
  for (const [name, key] of Object.entries(others))
    if (authors.get(key.name)?.publicKey !== base64Of(publicKeyBytes(key.publicKey)))
      throw keyFault(name, "is not the one that the trust log names");
}

/** The fault of one of the control plane's keys. */
export function keyFault(name: string, what: string): MeshError {
  return new MeshError(
    "ERR_CONTROL_PLANE_KEY",
    `the control plane's key "${name}" ${what}: restore the file "${name}" of its key folder (control-plane/keys) from a backup`,
  );
}

async function keysFrom(
  trustDomain: string,
  generation: number,
  load: (name: string) => Promise<Uint8Array>,
): Promise<LogKeys> {
  const signer = async (name: string, noteName: string): Promise<NoteSigner> => {
    const privateKey = importKeptKey(name, await load(name));
    return { name: noteName, privateKey, publicKey: createPublicKey(privateKey) };
  };
  return {
    log: await signer(logKeyFile(generation), logKeyName(trustDomain, generation)),
    issuer: await signer("issuer", `${trustDomain}/issuer`),
    sequencer: await signer("sequencer", `${trustDomain}/sequencer`),
    server: await signer("server", `${trustDomain}/server`),
  };
}
