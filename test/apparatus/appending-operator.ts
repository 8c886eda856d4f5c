import { type Client, createClient } from "@connectrpc/connect";
import { base64Of } from "../../src/base/bytes.ts";
import type { JsonObject } from "../../src/base/canonical-json.ts";
import { loadOperator } from "../../src/cli/operator-client.ts";
import { randomBytes, systemClock } from "../../src/cli/system.ts";
import { generateEd25519, publicKeyBytes } from "../../src/crypto/index.ts";
import { valueOf } from "../../src/identity/svid-for-tests.ts";
import { hostAndPort } from "../../src/node-agent/index.ts";
import { Admin } from "../../src/protocol/index.ts";
import { LogView, openRpcConnection, type RpcConnection, tlsIdentityOf } from "../../src/transport/index.ts";
import {
  type EntryKind,
  entryVersion,
  leafHash,
  type NoteSigner,
  parseVerifierKey,
  signEntry,
} from "../../src/trust-log/index.ts";
import type { RunningMesh as AnyMesh } from "./running-mesh.ts";

type RunningMesh = Pick<AnyMesh, "directory" | "domain">;

const retryMillis = 50;
const retriesMax = 600;

/** An append that the control plane has acknowledged. */
export interface Acknowledged {
  /** In base64. */
  readonly leaf: string;
  /** The size of the log with it, as acknowledged. */
  readonly size: number;
}

/** The tree that a client had verified when it was told of it. */
export interface SeenTree {
  readonly size: number;
  readonly root: Uint8Array;
}

/**
 * An operator of its own who appends through the Admin API one entry after the other and comes back after every loss
 * of the connection. Its view of the log lives on, so that a log which takes anything back is refused.
 */
export class AppendingOperator {
  readonly acknowledged: Acknowledged[] = [];
  /** Sent, and the connection was lost before the answer: in the log or not, both are right. */
  readonly unanswered: string[] = [];
  readonly seen: SeenTree[] = [];
  readonly #mesh: RunningMesh;
  readonly #signer: NoteSigner;
  readonly #view: LogView;
  #connected: RpcConnection | undefined;
  /** The last number used; unknown after a loss of the connection, until the log says what came through. */
  #sequence: number | undefined;

  private constructor(mesh: RunningMesh, signer: NoteSigner) {
    this.#mesh = mesh;
    this.#signer = signer;
    const logKey = valueOf(parseVerifierKey(mesh.domain.logKey));
    this.#view = new LogView({ anchor: { genesis: mesh.domain.genesis, logKey }, clock: systemClock });
  }

  /** The operator that founded the mesh. */
  static async founder(mesh: RunningMesh): Promise<AppendingOperator> {
    return new AppendingOperator(mesh, await loadOperator(mesh.directory, mesh.domain.operator));
  }

  /** Another operator, whom this one enters into the log. */
  async admit(name: string): Promise<AppendingOperator> {
    const signer = { name: `${this.#mesh.domain.trustDomain}/operator/${name}`, ...generateEd25519() };
    const publicKey = base64Of(publicKeyBytes(signer.publicKey));
    await this.append("key.put", { name: signer.name, role: "operator", publicKey });
    return new AppendingOperator(this.#mesh, signer);
  }

  /** Appends one entry; tries again under a new sequence number where the connection was lost before the answer. */
  async append(kind: EntryKind, body: JsonObject): Promise<void> {
    for (let attempt = 0; attempt < retriesMax; attempt += 1) {
      const entry = await this.#sign(kind, body);
      const leaf = base64Of(leafHash(entry));
      try {
        const { size } = await this.#admin().append({ entries: [entry] }, { timeoutMs: 20_000 });
        this.acknowledged.push({ leaf, size: Number(size) });
        return;
      } catch {
        this.unanswered.push(leaf);
        this.close();
      }
    }
    throw new Error("the control plane does not come back");
  }

  /** Reads what is new in the log, on a new connection where there is none; throws when the log took something back. */
  async refresh(): Promise<void> {
    for (let attempt = 0; attempt < retriesMax; attempt += 1) {
      try {
        this.#connected ??= await openRpcConnection({
          kind: "tls",
          ...hostAndPort(this.#mesh.domain.address),
          identity: tlsIdentityOf(this.#signer.privateKey, randomBytes),
        });
        const updates = this.#admin().readLog(
          { fromSize: BigInt(this.#view.follower.size) },
          { timeoutMs: 20_000 },
        );
        for await (const update of updates) {
          const taken = await this.#view.take(update);
          if (!taken.ok) throw new TookBackError(`${taken.reason} ${taken.detail}`);
        }
        const { checkpoint } = this.#view.follower;
        if (checkpoint !== undefined) this.seen.push({ size: checkpoint.size, root: checkpoint.root });
        return;
      } catch (error) {
        if (error instanceof TookBackError) throw error;
        this.close();
        await new Promise((resolve) => setTimeout(resolve, retryMillis));
      }
    }
    throw new Error("the control plane does not come back");
  }

  close(): void {
    this.#connected?.[Symbol.dispose]();
    this.#connected = undefined;
    this.#sequence = undefined;
  }

  async #sign(kind: EntryKind, body: JsonObject): Promise<Uint8Array> {
    const author = this.#signer.name;
    const { state } = this.#view.follower;
    if (this.#sequence === undefined) await this.refresh();
    this.#sequence ??= state.authors.get(author)?.sequence ?? 0;
    this.#sequence += 1;
    const log = this.#mesh.domain.genesis;
    const statement = { kind, version: entryVersion, log, author, sequence: this.#sequence, body };
    return signEntry(statement, [this.#signer]);
  }

  #admin(): Client<typeof Admin> {
    if (this.#connected === undefined) throw new Error("not connected");
    return createClient(Admin, this.#connected.transport);
  }
}

/** The log no longer contains what it did. */
class TookBackError extends Error {}
