import { createPublicKey, type KeyObject } from "node:crypto";
import { base64Of } from "../base/bytes.ts";
import { MeshError } from "../base/mesh-error.ts";
import { exportPrivateKey, generateEd25519, importPrivateKey, publicKeyBytes } from "../crypto/index.ts";
import type { KeyStore } from "../storage/index.ts";
import { logKeyName, type NoteSigner, type TrustState, verifierKeyOf } from "../trust-log/index.ts";

/** The roles in which a control plane acts: it writes entries in two of them, and is known in TLS by the third. */
export const ownRoles = ["issuer", "sequencer", "server"] as const;

/** One of {@link ownRoles}. */
export type OwnRole = (typeof ownRoles)[number];

/** A key by which the control plane acts in a role. */
export interface OwnKey {
  readonly role: OwnRole;
  readonly key: NoteSigner;
}

interface Source {
  readonly trustDomain: string;
  readonly keyStore: KeyStore;
}

/**
 * The keys by which a control plane orders entries, writes its own, and is known in TLS. Those of a role are named
 * `<trust domain>/<role>`, then `<trust domain>/<role>-2` and so on; of those that the log names, and whose private
 * halves are in the key store, the latest acts. So it is replaced at the very entry that names the next one, or removes
 * the last.
 */
export class LogKeys {
  /** Signs checkpoints; authorises nothing. Its name is the log's origin. */
  readonly log: NoteSigner;
  readonly #source: Source;
  /** By role, then by number. */
  readonly #opened = new Map<OwnRole, Map<number, NoteSigner>>();
  /** Why a key that is in the key store could not be read, by its name there. */
  readonly #faults = new Map<string, Error>();

  constructor(log: NoteSigner, source: Source) {
    this.log = log;
    this.#source = source;
    for (const role of ownRoles) this.#opened.set(role, new Map());
  }

  /** Opens what is here of the keys that the log names, and of those that are prepared. */
  async load(state: TrustState): Promise<void> {
    for (const role of ownRoles)
      for (let number = 1; number <= this.#nextNumber(role, state); number += 1) {
        const file = keyFile(role, number);
        try {
          const bytes = await this.#source.keyStore.load(file);
          if (bytes !== undefined) this.#keep(role, number, bytes);
        } catch (error) {
          this.#faults.set(file, error instanceof Error ? error : keyFault(file, "is damaged"));
        }
      }
  }

  /** The key that acts in a role at this state of the log; undefined where none of its is here. */
  signer(role: OwnRole, { authors }: TrustState): NoteSigner | undefined {
    return this.#inForce(role, authors).at(-1);
  }

  /** Whether the key of this name is the last by which this control plane could act in its role. */
  isLast(name: string, { authors }: TrustState): boolean {
    return ownRoles.some((role) => {
      const [only, ...others] = this.#inForce(role, authors);
      return only?.name === name && others.length === 0;
    });
  }

  /** The keys that are here and in the log. */
  held({ authors }: TrustState): readonly OwnKey[] {
    return ownRoles.flatMap((role) => this.#inForce(role, authors).map((key) => ({ role, key })));
  }

  /** The keys that were made for the log to name, and that it does not name yet. */
  prepared(state: TrustState): readonly OwnKey[] {
    return ownRoles.flatMap((role) => {
      const key = this.#opened.get(role)?.get(this.#nextNumber(role, state));
      return key === undefined ? [] : [{ role, key }];
    });
  }

  /** Makes the next key of a role, or answers with the one that is prepared; it counts once the log names it. */
  async prepare(role: OwnRole, state: TrustState): Promise<NoteSigner> {
    const number = this.#nextNumber(role, state);
    return this.#keep(role, number, await this.#source.keyStore.loadOrCreate(keyFile(role, number), newKey));
  }

  /** Throws `ERR_CONTROL_PLANE_KEY` unless the log names a key that is here for everything that takes one. */
  assertNamed(state: TrustState): void {
    const { genesis, authors } = state;
    if (genesis === undefined) return;
    const notNamed = "is not the one that the trust log names";
    if (verifierKeyOf(this.log) !== genesis.logKey) throw keyFault("log", notNamed);
    for (const role of ownRoles) {
      if (this.signer(role, state) !== undefined) continue;
      const number = this.#numbers(role, state).findLast(
        (one) => authors.get(this.#nameOf(role, one))?.isRemoved === false,
      );
      const file = keyFile(role, number ?? 1);
      const fault = this.#faults.get(file);
      if (fault !== undefined) throw fault;
      throw keyFault(file, this.#opened.get(role)?.has(number ?? 1) === true ? notNamed : "is missing");
    }
  }

  #inForce(role: OwnRole, authors: TrustState["authors"]): readonly NoteSigner[] {
    const inForce: [number, NoteSigner][] = [];
    for (const [number, key] of this.#opened.get(role) ?? []) {
      const row = authors.get(key.name);
      const isNamed = row?.role === role && row.publicKey === base64Of(publicKeyBytes(key.publicKey));
      if (isNamed && !row.isRemoved) inForce.push([number, key]);
    }
    return inForce.sort(([left], [right]) => left - right).map(([, key]) => key);
  }

  #keep(role: OwnRole, number: number, bytes: Uint8Array): NoteSigner {
    const key = signerOf(this.#nameOf(role, number), importKeptKey(keyFile(role, number), bytes));
    this.#opened.get(role)?.set(number, key);
    return key;
  }

  /** After all that are or ever were in the log: no name comes twice. */
  #nextNumber(role: OwnRole, state: TrustState): number {
    return (this.#numbers(role, state).at(-1) ?? 0) + 1;
  }

  #numbers(role: OwnRole, { authors }: TrustState): readonly number[] {
    const first = this.#nameOf(role, 1);
    const numbers: number[] = [];
    for (const [name] of authors.entries()) {
      if (name === first) numbers.push(1);
      const [, digits] =
        /^-([1-9][0-9]{0,5})$/.exec(name.startsWith(first) ? name.slice(first.length) : "") ?? [];
      if (Number(digits) > 1) numbers.push(Number(digits));
    }
    return numbers.sort((left, right) => left - right);
  }

  #nameOf(role: OwnRole, number: number): string {
    return `${this.#source.trustDomain}/${keyFile(role, number)}`;
  }
}

/** The keys that a trust domain is founded with. */
export class FoundingKeys extends LogKeys {
  readonly issuer: NoteSigner;
  readonly sequencer: NoteSigner;
  readonly server: NoteSigner;

  constructor(
    { log, issuer, sequencer, server }: Readonly<Record<OwnRole | "log", NoteSigner>>,
    source: Source,
  ) {
    super(log, source);
    this.issuer = issuer;
    this.sequencer = sequencer;
    this.server = server;
  }
}

/** The name in the key store of the key that signs the log in a generation. */
export function logKeyFile(generation: number): string {
  return generation === 1 ? "log" : `log-${generation}`;
}

/** Loads the keys of a trust domain that is about to be founded, or makes them where there are none. */
export async function loadLogKeys(keyStore: KeyStore, trustDomain: string): Promise<FoundingKeys> {
  const load = async (file: string, name: string): Promise<NoteSigner> =>
    signerOf(name, importKeptKey(file, await keyStore.loadOrCreate(file, newKey)));
  const keys = {
    log: await load(logKeyFile(1), logKeyName(trustDomain, 1)),
    issuer: await load("issuer", `${trustDomain}/issuer`),
    sequencer: await load("sequencer", `${trustDomain}/sequencer`),
    server: await load("server", `${trustDomain}/server`),
  };
  return new FoundingKeys(keys, { keyStore, trustDomain });
}

/** The keys of a trust domain that has been founded; throws `ERR_CONTROL_PLANE_KEY` where the log's is missing. */
export async function requireLogKeys(
  keyStore: KeyStore,
  trustDomain: string,
  generation = 1,
): Promise<LogKeys> {
  const file = logKeyFile(generation);
  const bytes = await keyStore.load(file);
  if (bytes === undefined) throw keyFault(file, "is missing");
  const log = signerOf(logKeyName(trustDomain, generation), importKeptKey(file, bytes));
  return new LogKeys(log, { keyStore, trustDomain });
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

/** The fault of one of the control plane's keys. */
export function keyFault(name: string, what: string): MeshError {
  return new MeshError(
    "ERR_CONTROL_PLANE_KEY",
    `the control plane's key "${name}" ${what}: restore the file "${name}" of its key folder (control-plane/keys) from a backup`,
  );
}

/** The name in the key store of a role's key; the log's name for it ends likewise. */
function keyFile(role: OwnRole, number: number): string {
  return number === 1 ? role : `${role}-${number}`;
}

function signerOf(name: string, privateKey: KeyObject): NoteSigner {
  return { name, privateKey, publicKey: createPublicKey(privateKey) };
}

function newKey(): Uint8Array {
  return exportPrivateKey(generateEd25519().privateKey);
}
