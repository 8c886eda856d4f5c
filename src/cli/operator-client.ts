import { createPublicKey } from "node:crypto";
import { join } from "node:path";
import { type Client, Code, ConnectError, createClient } from "@connectrpc/connect";
import type { JsonObject } from "../base/canonical-json.ts";
import { codeOf } from "../base/mesh-error.ts";
import { exportPrivateKey, generateEd25519, importPrivateKey } from "../crypto/index.ts";
import { hostAndPort } from "../node-agent/index.ts";
import { Admin } from "../protocol/index.ts";
import { openFileKeyStore } from "../storage/index.ts";
import { LogView, openRpcConnection, type RpcConnection, tlsIdentityOf } from "../transport/index.ts";
import {
  type EntryKind,
  entryVersion,
  type NoteSigner,
  parseVerifierKey,
  signEntry,
  type TrustState,
} from "../trust-log/index.ts";
import { CliError, exitCode } from "./exit-codes.ts";
import { type KnownDomain, type MeshDirectory, requireKnownDomain } from "./mesh-directory.ts";
import { randomBytes, systemClock } from "./system.ts";

/** An entry that was signed and not ordered within this time is worth nothing. */
const entryLifetimeSeconds = 600;

/** The operator's key of this directory, made at first use, readable by its owner alone. */
export async function loadOperator(directory: MeshDirectory, name: string): Promise<NoteSigner> {
  const keyStore = await openFileKeyStore(directory.operatorKeys);
  const bytes = await keyStore.loadOrCreate("operator", () => exportPrivateKey(generateEd25519().privateKey));
  return signerOf(directory, name, bytes);
}

/** The operator's key of a mesh that is there: a new one would be worth nothing. */
async function requireOperator(directory: MeshDirectory, name: string): Promise<NoteSigner> {
  const keyStore = await openFileKeyStore(directory.operatorKeys);
  const bytes = await keyStore.load("operator").catch((error: unknown) => {
    if (codeOf(error) === "ERR_STORAGE_KEY_SIZE") return new Uint8Array(0);
    throw error;
  });
  if (bytes !== undefined) return signerOf(directory, name, bytes);
  throw new CliError(
    exitCode.unreadable,
    `${join(directory.operatorKeys, "operator")} is missing: restore it from a backup`,
  );
}

function signerOf(directory: MeshDirectory, name: string, bytes: Uint8Array): NoteSigner {
  try {
    const privateKey = importPrivateKey(bytes);
    return { name, privateKey, publicKey: createPublicKey(privateKey) };
  } catch {
    // The library's message may quote the key.
    throw new CliError(
      exitCode.unreadable,
      `${join(directory.operatorKeys, "operator")} is damaged: restore it from a backup`,
    );
  }
}

/** An operator's connection to the control plane, with the trust log as the client has checked and folded it itself. */
export class OperatorClient implements Disposable {
  readonly admin: Client<typeof Admin>;
  readonly view: LogView;
  readonly domain: KnownDomain;
  readonly #connection: RpcConnection;
  readonly #operator: NoteSigner;

  private constructor(parts: {
    connection: RpcConnection;
    admin: Client<typeof Admin>;
    view: LogView;
    domain: KnownDomain;
    operator: NoteSigner;
  }) {
    this.admin = parts.admin;
    this.view = parts.view;
    this.domain = parts.domain;
    this.#connection = parts.connection;
    this.#operator = parts.operator;
  }

  /** Connects, reads the log, and makes sure that the server holds a key which that log names. */
  static async open(directory: MeshDirectory): Promise<OperatorClient> {
    const domain = await requireKnownDomain(directory);
    const operator = await requireOperator(directory, domain.operator);
    const logKey = parseVerifierKey(domain.logKey);
    if (!logKey.ok) throw new CliError(exitCode.unreadable, `the log key in ${directory.path} is damaged`);
    const identity = tlsIdentityOf(operator.privateKey, randomBytes);
    const connection = await openRpcConnection({
      kind: "tls",
      ...hostAndPort(domain.address),
      identity,
    }).catch((cause: unknown) => {
      throw new CliError(
        exitCode.unreachable,
        `the control plane at ${domain.address} does not answer; is "troth up" or "npm start" running?`,
        { cause },
      );
    });
    try {
      const admin = createClient(Admin, connection.transport);
      const view = new LogView({
        anchor: { genesis: domain.genesis, logKey: logKey.value },
        clock: systemClock,
      });
      const client = new OperatorClient({ connection, admin, view, domain, operator });
      await client.refresh();
      if (!view.follower.state.hasServerKey(connection.serverKey))
        throw new CliError(
          exitCode.no,
          `what answers at ${domain.address} does not hold a key of ${domain.trustDomain}'s control plane`,
        );
      return client;
    } catch (error) {
      connection[Symbol.dispose]();
      throw error;
    }
  }

  /** The state of the trust domain as of the last refresh. */
  get state(): TrustState {
    return this.view.follower.state;
  }

  /** Reads what is new in the log. */
  async refresh(): Promise<void> {
    const updates = asked(() => this.admin.readLog({ fromSize: BigInt(this.view.follower.size) }));
    for await (const update of updates) {
      const taken = await this.view.take(update);
      if (!taken.ok)
        throw new CliError(
          exitCode.no,
          `the control plane's log is not the one this directory knows: ${taken.reason} ${taken.detail}`,
        );
    }
  }

  /** Signs entries as the operator and has them ordered; the size of the log with them. */
  async append(entries: readonly { readonly kind: EntryKind; readonly body: JsonObject }[]): Promise<number> {
    const { name } = this.#operator;
    const last = this.state.authors.get(name)?.sequence ?? 0;
    const log = this.state.genesis?.genesis ?? "";
    const expiresAtSeconds = Math.floor(systemClock.nowSeconds()) + entryLifetimeSeconds;
    const signed = entries.map(({ kind, body }, place) =>
      signEntry(
        {
          kind,
          version: entryVersion,
          log,
          author: name,
          sequence: last + 1 + place,
          expiresAtSeconds,
          body,
        },
        [this.#operator],
      ),
    );
    try {
      const { size } = await this.admin.append({ entries: signed });
      await this.refresh();
      return Number(size);
    } catch (error) {
      throw refusalOf(error);
    }
  }

  [Symbol.dispose](): void {
    this.#connection[Symbol.dispose]();
  }
}

async function* asked<Message>(call: () => AsyncIterable<Message>): AsyncGenerator<Message> {
  try {
    yield* call();
  } catch (error) {
    throw refusalOf(error);
  }
}

function refusalOf(error: unknown): unknown {
  if (!(error instanceof ConnectError)) return error;
  if (error.code === Code.Unavailable || error.code === Code.Aborted)
    return new CliError(exitCode.unreachable, "the control plane went away", { cause: error });
  if (error.code === Code.Unauthenticated)
    return new CliError(exitCode.no, "this directory's operator key is not one that the trust log knows", {
      cause: error,
    });
  return new CliError(exitCode.no, `refused: ${error.rawMessage}`);
}
