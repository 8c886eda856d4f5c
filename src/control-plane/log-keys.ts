import { createPublicKey, type KeyObject } from "node:crypto";
import { exportPrivateKey, generateEd25519, importPrivateKey } from "../crypto/index.ts";
import type { KeyStore } from "../storage/index.ts";
import { logKeyName, type NoteSigner } from "../trust-log/index.ts";

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

/** Loads the keys of a trust domain's control plane, or makes them where there are none. */
export async function loadLogKeys(keyStore: KeyStore, trustDomain: string, generation = 1): Promise<LogKeys> {
  const signer = async (name: string, noteName: string): Promise<NoteSigner> => {
    const privateKey = await loadPrivateKey(keyStore, name);
    return { name: noteName, privateKey, publicKey: createPublicKey(privateKey) };
  };
  return {
    log: await signer(logKeyFile(generation), logKeyName(trustDomain, generation)),
    issuer: await signer("issuer", `${trustDomain}/issuer`),
    sequencer: await signer("sequencer", `${trustDomain}/sequencer`),
    server: await signer("server", `${trustDomain}/server`),
  };
}

async function loadPrivateKey(keyStore: KeyStore, name: string): Promise<KeyObject> {
  return importPrivateKey(
    await keyStore.loadOrCreate(name, () => exportPrivateKey(generateEd25519().privateKey)),
  );
}
