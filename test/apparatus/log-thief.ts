import { join } from "node:path";
import { create } from "@bufbuild/protobuf";
import { base64Of } from "../../src/base/bytes.ts";
import type { JsonObject } from "../../src/base/canonical-json.ts";
import { type OwnRole, readLogAt } from "../../src/control-plane/index.ts";
import { generateEd25519 } from "../../src/crypto/index.ts";
import { hostAndPort } from "../../src/node-agent/index.ts";
import { Mesh, type Update, UpdateSchema } from "../../src/protocol/index.ts";
import { readJournal } from "../../src/storage/index.ts";
import { openRpcServer, type RpcServer, tlsIdentityOf } from "../../src/transport/index.ts";
import {
  entryVersion,
  leafHash,
  MerkleTree,
  type NoteSigner,
  signCheckpoint,
  signEntry,
  verifierKeyOf,
} from "../../src/trust-log/index.ts";
import { randomBytes } from "./mesh-in-process.ts";

/** What a thief shows to those who come. */
export type Deceit = "recovery" | "fork" | "older-log" | "own-entries";

/** The first entries of the log in a folder. */
export async function journalOf(logFolder: string, size: number): Promise<Uint8Array[]> {
  const entries: Uint8Array[] = [];
  for await (const finding of readJournal(join(logFolder, "segments")))
    if ("bytes" in finding && entries.length < size) entries.push(finding.bytes);
  return entries;
}

/**
 * Somebody with a copy of the log and every key of its control plane (log, issuer, sequencer, server), who answers
 * agents in its place. What the thief has not is a key of a person.
 */
export class Thief implements AsyncDisposable {
  /** How often somebody has come to follow. */
  follows = 0;
  /** How often somebody has told or asked for anything, as of a control plane that is believed. */
  calls = 0;
  /** What nodes that believe it have told as amiss. */
  readonly alarms: string[] = [];
  readonly #world: ThiefsWorld;
  readonly #server: RpcServer;
  #updates: (fromSize: number) => readonly Update[] = () => [];

  private constructor(world: ThiefsWorld, server: RpcServer) {
    this.#world = world;
    this.#server = server;
  }

  /** Answers where the control plane did. */
  static async open(world: ThiefsWorld & { readonly address: string }): Promise<Thief> {
    const parts: { thief?: Thief } = {};
    const identity = tlsIdentityOf(world.keys.server.privateKey, randomBytes);
    const server = await openRpcServer({ kind: "tls", ...hostAndPort(world.address), identity }, (router) => {
      router.service(Mesh, {
        follow: async function* ({ fromSize }) {
          const { thief } = parts;
          if (thief === undefined) return;
          thief.follows += 1;
          yield* thief.#updates(Number(fromSize));
        },
        issueSvid: () => {
          if (parts.thief !== undefined) parts.thief.calls += 1;
          return {};
        },
        report: ({ alarms }) => {
          if (parts.thief !== undefined) parts.thief.calls += 1;
          parts.thief?.alarms.push(...alarms.map(({ reason, detail }) => `${reason}: ${detail}`));
          return {};
        },
      });
    });
    parts.thief = new Thief(world, server);
    return parts.thief;
  }

  /** From here on, whoever comes is led to the first `size` entries and no further than the thief wants. */
  async show(deceit: Deceit, size: number): Promise<void> {
    const { keys } = this.#world;
    const entries = await journalOf(this.#world.logFolder, size);
    if (deceit === "older-log") this.#updates = (fromSize) => [stepOf(entries, fromSize, keys.log)];
    else if (deceit === "fork") {
      for (let count = 0; count < 50; count += 1) entries.push(this.#rule(keys.issuer, size + count));
      this.#updates = (fromSize) => [stepOf(entries, fromSize, keys.log)];
    } else if (deceit === "own-entries") {
      entries.push(...(await this.#ownEntries(size)));
      this.#updates = (fromSize) => [stepOf(entries, fromSize, keys.log)];
    } else {
      const own = { name: `${keys.log.name}-2`, ...generateEd25519() };
      const forged = await this.#recovery(own, size);
      entries.push(forged);
      const value = { index: BigInt(size), entry: forged };
      const recovery = create(UpdateSchema, { content: { case: "recovery", value } });
      // First the recovery, then straight to where it would lead.
      this.#updates = (fromSize) =>
        this.follows % 2 === 1 ? [recovery] : [stepOf(entries, Math.min(fromSize, size), own)];
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#server[Symbol.asyncDispose]();
  }

  /** What only an issuer and a sequencer may write: that every instance goes, and an epoch. */
  async #ownEntries(size: number): Promise<Uint8Array[]> {
    const at = await readLogAt(this.#world.logFolder, size);
    if (!at.ok) throw new Error(at.detail);
    const { state } = at.value;
    const { issuer, sequencer } = this.#world.keys;
    const next = (signer: NoteSigner): number => (state.authors.get(signer.name)?.sequence ?? 0) + 1;
    const { epochNumber = 0, epochTimeSeconds = 0 } = state.genesis ?? {};
    const epoch = {
      number: epochNumber + 1,
      timeSeconds: epochTimeSeconds + 1,
      size,
      stateDigest: state.digest(),
      curatorDigest: null,
    };
    return [
      this.#sign([sequencer], "epoch", { body: epoch, sequence: next(sequencer) }),
      ...[...state.instances.entries()].map(([instance], count) =>
        this.#sign([issuer], "instance.remove", { body: { instance }, sequence: next(issuer) + count }),
      ),
    ];
  }

  async #recovery(logKey: NoteSigner, size: number): Promise<Uint8Array> {
    const at = await readLogAt(this.#world.logFolder, size);
    if (!at.ok) throw new Error(at.detail);
    const body = { generation: 2, size, root: base64Of(at.value.tree.root()), logKey: verifierKeyOf(logKey) };
    const { issuer, sequencer, server, log } = this.#world.keys;
    return this.#sign([issuer, sequencer, server, log], "log.recover", { body, sequence: 1_000_000 });
  }

  #rule(signer: NoteSigner, ahead: number): Uint8Array {
    const body = { from: "/shop/web", to: "/shop/pay", effect: "allow", methods: [], paths: [] };
    return this.#sign([signer], "rule.put", { body, sequence: 1_000_000 + ahead });
  }

  #sign(
    signers: readonly NoteSigner[],
    kind: string,
    { body, sequence }: { readonly body: JsonObject; readonly sequence: number },
  ): Uint8Array {
    const log = this.#world.genesis;
    const author = signers[0]?.name ?? "";
    return signEntry({ kind, version: entryVersion, log, author, sequence, body }, signers);
  }
}

interface ThiefsWorld {
  readonly keys: Readonly<Record<OwnRole | "log", NoteSigner>>;
  readonly logFolder: string;
  readonly genesis: string;
}

function stepOf(entries: readonly Uint8Array[], firstIndex: number, logKey: NoteSigner): Update {
  const tree = new MerkleTree();
  for (const entry of entries) tree.append(leafHash(entry));
  const checkpoint = signCheckpoint({ size: tree.size, root: tree.root() }, logKey);
  const value = { firstIndex: BigInt(firstIndex), entries: entries.slice(firstIndex), checkpoint };
  return create(UpdateSchema, { content: { case: "step", value } });
}
