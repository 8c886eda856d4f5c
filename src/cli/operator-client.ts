import { createPublicKey } from "node:crypto";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { type Client, Code, ConnectError, createClient } from "@connectrpc/connect";
import { bytesOf, hexOf } from "../base/bytes.ts";
import type { JsonObject } from "../base/canonical-json.ts";
import { hostAndPort } from "../base/host-and-port.ts";
import { codeOf } from "../base/mesh-error.ts";
import { softwareVersion } from "../base/software-version.ts";
import { exportPrivateKey, generateEd25519, importPrivateKey, sha256 } from "../crypto/index.ts";
import { Admin } from "../protocol/index.ts";
import { openFileKeyStore } from "../storage/index.ts";
import {
  type FollowerEvents,
  LogView,
  openRpcConnection,
  type RpcConnection,
  tlsIdentityOf,
} from "../transport/index.ts";
import {
  type AuthorRole,
  type EntryKind,
  entryVersion,
  judgeUnfinished,
  type NoteSigner,
  neededFor,
  parseVerifierKey,
  signEntry,
  signNote,
  type TrustState,
  type UnfinishedEntry,
} from "../trust-log/index.ts";
import { CliError, exitCode } from "./exit-codes.ts";
import { type KnownDomain, type MeshDirectory, requireKnownDomain } from "./mesh-directory.ts";
import { type Appended, type ProposedEntry, proposedEntryOf, waitsFor } from "./proposed-entry.ts";
import type { ProxyProgress } from "./proxy-progress.ts";
import { random, randomBytes, systemClock } from "./system.ts";

/** An entry that was signed and not ordered within this time is worth nothing. */
const entryLifetimeSeconds = 600;
/** One that waits for other people. */
export const proposalLifetimeSeconds = 86_400;
/** What the control plane takes at once. */
const entriesPerAppendMax = 256;
/** How often entries are signed in all, where another process with the same key has used their numbers meanwhile. */
const signingsMax = 10;
/** Between two of them, at random: whoever came at the same moment waits for another while. */
const signAgainMillisMax = 100;
/** After one of these, the thresholds of the next entry may be others. */
const authorityKinds: ReadonlySet<string> = new Set(["authority.put", "key.put", "key.remove"]);

/** What an entry is to say. */
export interface NewEntry {
  readonly kind: EntryKind;
  readonly body: JsonObject;
}

/** One with its author's number for it. */
interface NumberedEntry {
  readonly entry: NewEntry;
  readonly sequence: number;
}

/** How entries are ordered. */
export interface WriteHow {
  /** Although followers that are older than their kinds will stop before them. */
  readonly mayStopFollowers?: boolean;
}

/** A proposal that waits, judged by this client. */
export interface JudgedProposal extends UnfinishedEntry {
  /** The SHA-256 of the text, hex. */
  readonly id: string;
}

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
  static async open(directory: MeshDirectory, events: FollowerEvents = {}): Promise<OperatorClient> {
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
        events,
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

  /** The name of this directory's key. */
  get name(): string {
    return this.#operator.name;
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
      const { standstill } = this.view;
      if (standstill !== undefined)
        throw new CliError(exitCode.no, `this troth, version ${softwareVersion}, ${standstill}`);
      if (!taken.ok)
        throw new CliError(
          exitCode.no,
          `the control plane's log is not the one this directory knows: ${taken.reason} ${taken.detail}`,
        );
    }
  }

  /** The role of this directory's key in the log; undefined where the log does not have it, or not any more. */
  get role(): AuthorRole | undefined {
    const row = this.state.authors.get(this.#operator.name);
    return row === undefined || row.isRemoved ? undefined : row.role;
  }

  /** Whether an entry of a kind takes the signatures of other people too. */
  needsOthers(kind: EntryKind): boolean {
    const needed = neededFor(this.state, kind);
    return needed !== undefined && (needed.signatures > 1 || needed.approvals > 0);
  }

  /**
   * Signs entries and has them ordered. An entry that takes the signatures of more people than this one is proposed
   * instead, each on its own, and that is said on standard error: so it is for every command that writes.
   */
  async append(entries: readonly NewEntry[], { mayStopFollowers = false }: WriteHow = {}): Promise<Appended> {
    for (const { kind } of entries) this.#requireRole(kind);
    let sequence = await this.#lastSequence();
    const proposals: ProposedEntry[] = [];
    let batch: NumberedEntry[] = [];
    let { size } = this.view.follower;
    const order = async (): Promise<void> => {
      if (batch.length === 0) return;
      for (let signings = 1; batch.length > 0; signings += 1) {
        const some = batch.slice(0, entriesPerAppendMax);
        const ordered = await this.#order(some, mayStopFollowers, signings < signingsMax);
        if (ordered === undefined) {
          sequence = await this.#lastSequence();
          batch = batch.map(({ entry }) => ({ entry, sequence: (sequence += 1) }));
          continue;
        }
        size = ordered;
        signings = 0;
        batch = batch.slice(some.length);
      }
      await this.refresh();
    };
    for (const entry of entries) {
      const changesAuthority = authorityKinds.has(entry.kind);
      if (changesAuthority) await order();
      sequence += 1;
      if (this.needsOthers(entry.kind)) proposals.push(await this.#propose(entry, sequence));
      else batch.push({ entry, sequence });
      if (changesAuthority) await order();
    }
    await order();
    return { size, proposals };
  }

  /** Signs entries and appends them; the log's size, or undefined where their numbers have been used and they may be signed again. */
  async #order(
    entries: readonly NumberedEntry[],
    mayStopFollowers: boolean,
    maySignAgain: boolean,
  ): Promise<number | undefined> {
    const signed = entries.map(({ entry, sequence }) => this.#sign(entry, sequence, entryLifetimeSeconds));
    try {
      return Number((await this.admin.append({ entries: signed, mayStopFollowers })).size);
    } catch (error) {
      if (!maySignAgain || !isReplayed(error)) throw refusalOf(error);
      await sleep(random() * signAgainMillisMax);
      await this.refresh();
      return undefined;
    }
  }

  /** The proposals that wait, as this client judges them by the log that it has checked itself. */
  async proposals(): Promise<readonly JudgedProposal[]> {
    const listed = await answered(() => this.admin.listProposals({}));
    return listed.proposals.flatMap(({ entry }) => {
      const judged = judgeUnfinished(this.state, entry);
      return judged.ok ? [{ ...judged.value, id: hexOf(sha256(bytesOf(judged.value.text))) }] : [];
    });
  }

  /** Signs a proposal; the log's size once that was enough, undefined while signatures are missing. */
  async approve(
    { text }: JudgedProposal,
    { mayStopFollowers = false }: WriteHow = {},
  ): Promise<number | undefined> {
    const entry = signNote(text, [this.#operator]);
    const { size } = await answered(() => this.admin.approve({ entry, mayStopFollowers }));
    if (size === 0n) return undefined;
    await this.refresh();
    return Number(size);
  }

  /** Has a proposal forgotten. */
  async withdraw(id: string): Promise<void> {
    await answered(() => this.admin.withdrawProposal({ id }));
  }

  /** An address that signs a browser of the control plane's machine in. */
  async openSession(): Promise<{ readonly url: string; readonly expiresAtSeconds: bigint }> {
    return answered(() => this.admin.openSession({}));
  }

  /** The browser sessions of this person. */
  async sessions(): Promise<
    readonly { readonly id: string; readonly endsAtSeconds: bigint; readonly idleSeconds: number }[]
  > {
    return (await answered(() => this.admin.listSessions({}))).sessions;
  }

  /** Ends a browser session of this person. */
  async endSession(id: string): Promise<void> {
    await answered(() => this.admin.endSession({ id }));
  }

  /** Waits until every known proxy has the log up to a size, or the time is up. */
  async waitForProxies(size: number, timeoutMillis: number): Promise<ProxyProgress> {
    const started = performance.now();
    const ending = new AbortController();
    const timer = setTimeout(() => ending.abort(), timeoutMillis);
    const byFollower: { service: string; instance: string; millis: number }[] = [];
    const counts = { known: 0, reached: 0 };
    try {
      const watched = this.admin.watchProgress({ size: BigInt(size) }, { signal: ending.signal });
      for await (const { known, reached, followers } of watched) {
        Object.assign(counts, { known, reached });
        for (const { service, instance, millis } of followers)
          byFollower.push({ service, instance, millis: Math.round(millis) });
        if (reached >= known) break;
      }
    } catch (error) {
      if (!ending.signal.aborted) throw refusalOf(error);
    } finally {
      clearTimeout(timer);
      ending.abort();
    }
    return { ...counts, millis: Math.round(performance.now() - started), byFollower };
  }

  #requireRole(kind: EntryKind): void {
    const { role } = this;
    const needed = neededFor(this.state, kind)?.role;
    if (needed === undefined)
      throw new CliError(
        exitCode.no,
        `${kind} is newer than this trust domain, and nobody may write it yet: troth operator require --kind ${kind} --signatures 1`,
      );
    if (role === undefined)
      throw new CliError(
        exitCode.no,
        `the trust log has no key named ${this.#operator.name}, or it was removed`,
      );
    if (needed !== role)
      throw new CliError(
        exitCode.no,
        `${this.#operator.name} is ${role}, and ${kind} is written by role ${needed}: ask one of them (troth operator list), or use the directory of such a key (--dir)`,
      );
  }

  /** The last sequence number used, in the log or by a proposal of ours that waits. */
  async #lastSequence(): Promise<number> {
    const { name } = this.#operator;
    const waiting = (await this.proposals()).filter(({ statement }) => statement.author === name);
    const ordered = this.state.authors.get(name)?.sequence ?? 0;
    return Math.max(ordered, ...waiting.map(({ statement }) => statement.sequence));
  }

  async #propose(entry: NewEntry, sequence: number): Promise<ProposedEntry> {
    const signed = this.#sign(entry, sequence, proposalLifetimeSeconds);
    const { id } = await answered(() => this.admin.propose({ entry: signed }));
    const judged = judgeUnfinished(this.state, signed);
    if (!judged.ok) throw new CliError(exitCode.no, `refused: ${judged.reason}: ${judged.detail}`);
    const proposed = proposedEntryOf(id, judged.value);
    process.stderr.write(`troth: ${proposed.what}: ${waitsFor(proposed)}\n`);
    return proposed;
  }

  #sign({ kind, body }: NewEntry, sequence: number, lifetimeSeconds: number): Uint8Array {
    const log = this.state.genesis?.genesis ?? "";
    const author = this.#operator.name;
    const expiresAtSeconds = Math.floor(systemClock.nowSeconds()) + lifetimeSeconds;
    return signEntry({ kind, version: entryVersion, log, author, sequence, expiresAtSeconds, body }, [
      this.#operator,
    ]);
  }

  [Symbol.dispose](): void {
    this.#connection[Symbol.dispose]();
  }
}

/** Whether an append was refused, as a whole, because another with the same key has used a number of it. */
function isReplayed(error: unknown): boolean {
  return error instanceof ConnectError && error.rawMessage.startsWith("replayed:");
}

async function answered<Message>(call: () => Promise<Message>): Promise<Message> {
  try {
    return await call();
  } catch (error) {
    throw refusalOf(error);
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
    return new CliError(
      exitCode.no,
      "this directory's key is not one that the trust log has for a person, or it was removed",
      {
        cause: error,
      },
    );
  return new CliError(exitCode.no, `refused: ${error.rawMessage}`);
}
