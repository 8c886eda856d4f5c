import type { KeyObject } from "node:crypto";
import { base64Of } from "../../src/base/bytes.ts";
import type { JsonObject } from "../../src/base/canonical-json.ts";
import type { Result } from "../../src/base/result.ts";
import {
  authorityConstraints,
  buildCertificate,
  buildSelfSignedCertificate,
  distinguishedName,
  exportPublicKey,
  generateEd25519,
  generateP256,
  keyUsageExtension,
  publicKeyBytes,
  signEd25519,
} from "../../src/crypto/index.ts";
import {
  entryVersion,
  type FoldOutcome,
  type FoldStop,
  foldEntry,
  foundTrustLog,
  type LogAnchor,
  type LogStep,
  leafHash,
  MerkleTree,
  type NoteSigner,
  nodeJoinText,
  signCheckpoint,
  signEntry,
  TrustState,
  verifierKeyOf,
} from "../../src/trust-log/index.ts";

/** When every small trust log is founded. */
export const foundedAtSeconds = 1_800_000_000;

/** What an entry says otherwise than usual. */
export interface Unusual {
  /** Signs, the author first; the usual one is the first author of the role that the kind takes. */
  readonly by?: readonly NoteSigner[];
  readonly author?: string;
  readonly sequence?: number;
  readonly log?: string;
  readonly version?: number;
  readonly expiresAtSeconds?: number;
}

/** A new Ed25519 key pair under a name. */
export function signerNamed(name: string): NoteSigner {
  return { name, ...generateEd25519() };
}

/** A signer's public key as an entry writes it. */
export function keyTextOf(signer: NoteSigner): string {
  return base64Of(publicKeyBytes(signer.publicKey));
}

/** The certificate of a new authority as an entry writes it. */
export function authorityNamed(name: string): string {
  const { privateKey } = generateP256();
  const subject = distinguishedName("test", name);
  const content = {
    serial: Uint8Array.of(1),
    issuer: subject,
    subject,
    notBeforeSeconds: foundedAtSeconds,
    notAfterSeconds: foundedAtSeconds + 86_400,
    publicKeyInfo: exportPublicKey(privateKey),
    extensions: [authorityConstraints(1), keyUsageExtension(["keyCertSign"])],
  };
  return base64Of(buildCertificate(content, privateKey));
}

/** A certificate (DER) for the key of an instance, as far as the log looks at one. */
export function certificateFor(privateKey: KeyObject): Uint8Array {
  const subject = distinguishedName("test");
  const notAfterSeconds = foundedAtSeconds + 3_600;
  const content = { serial: Uint8Array.of(1), subject, notBeforeSeconds: foundedAtSeconds, notAfterSeconds };
  return buildSelfSignedCertificate(content, privateKey);
}

/** The body of a `service.put`. */
export function serviceBody(name: string, nodes: readonly string[] = ["*"]): JsonObject {
  return { name, nodes, dataClass: "internal", team: "", environment: "", labels: {} };
}

/** What an invited node says when it joins. */
export function joinBody(log: string, invite: NoteSigner, node: string, nodeKey: string): JsonObject {
  const proof = signEd25519(invite.privateKey, Buffer.from(nodeJoinText(log, node, nodeKey)));
  return { node, inviteKey: keyTextOf(invite), nodeKey, proof: base64Of(proof) };
}

/** A trust log with all of its keys in one hand, kept in memory: writes what an author, or an attacker, would. */
export class SmallTrustLog {
  operators: readonly [NoteSigner, NoteSigner, NoteSigner] = [
    signerNamed("example.org/operator/alice"),
    signerNamed("example.org/operator/bob"),
    signerNamed("example.org/operator/carol"),
  ];
  issuer: NoteSigner = signerNamed("example.org/issuer");
  sequencer: NoteSigner = signerNamed("example.org/sequencer");
  server: NoteSigner = signerNamed("example.org/server");
  /** Of the present generation. */
  logKey: NoteSigner = signerNamed("example.org/trust-log");
  readonly entries: Uint8Array[];
  readonly tree: MerkleTree = new MerkleTree();
  readonly state: TrustState = new TrustState();
  /** The leaf hash of genesis, in base64. */
  readonly genesis: string;

  /** A new log, or another history of one, with the same keys, after its first `size` entries. */
  constructor(fork?: { readonly of: SmallTrustLog; readonly size: number }) {
    this.entries = [];
    if (fork !== undefined) {
      ({
        operators: this.operators,
        issuer: this.issuer,
        sequencer: this.sequencer,
        server: this.server,
        logKey: this.logKey,
        genesis: this.genesis,
      } = fork.of);
      for (const entry of fork.of.entries.slice(0, fork.size)) this.order(entry);
      return;
    }
    const entry = foundTrustLog({
      trustDomain: "example.org",
      isTestDomain: true,
      createdAtSeconds: foundedAtSeconds,
      salt: new Uint8Array(16),
      logKey: this.logKey,
      operators: this.operators,
      others: [
        { role: "issuer", key: this.issuer },
        { role: "sequencer", key: this.sequencer },
        { role: "server", key: this.server },
      ],
    });
    this.genesis = base64Of(leafHash(entry));
    this.order(entry);
  }

  /** What a follower has to know of this log. */
  get anchor(): LogAnchor {
    return { genesis: this.genesis, logKey: this.logKey };
  }

  /** The bytes of an entry that would be next. */
  entry(kind: string, body: JsonObject, unusual: Unusual = {}): Uint8Array {
    const by = unusual.by ?? [this.#usualAuthor(kind)];
    const author = unusual.author ?? by[0]?.name ?? "";
    const sequence = unusual.sequence ?? (this.state.authors.get(author)?.sequence ?? 0) + 1;
    const { log = this.genesis, version = entryVersion, expiresAtSeconds = 0 } = unusual;
    return signEntry({ kind, version, log, author, sequence, expiresAtSeconds, body }, by);
  }

  /** Puts an entry at the end of the log, whatever it is. */
  order(entry: Uint8Array): Result<FoldOutcome, FoldStop> {
    const folded = foldEntry(this.state, this.tree, entry);
    this.entries.push(entry);
    this.tree.append(leafHash(entry));
    return folded;
  }

  /** Puts an entry at the end of the log; throws unless it takes effect. */
  put(kind: string, body: JsonObject, unusual: Unusual = {}): Uint8Array {
    const entry = this.entry(kind, body, unusual);
    const folded = this.order(entry);
    if (!folded.ok || !folded.value.hasEffect) throw new Error(`${kind}: ${JSON.stringify(folded)}`);
    return entry;
  }

  /** The body of the epoch entry that is due, `afterSeconds` after the last one. */
  epochBody(afterSeconds = 10): JsonObject {
    const domain = this.state.genesis;
    return {
      number: (domain?.epochNumber ?? 0) + 1,
      timeSeconds: (domain?.epochTimeSeconds ?? 0) + afterSeconds,
      size: this.entries.length,
      stateDigest: this.state.digest(),
      curatorDigest: null,
    };
  }

  /** Ends the current epoch, `afterSeconds` after the last one. */
  putEpoch(afterSeconds = 10): Uint8Array {
    return this.put("epoch", this.epochBody(afterSeconds));
  }

  /** The body of an entry by which the log goes on from here, under `logKey`. */
  recoveryBody(logKey: NoteSigner): JsonObject {
    return {
      generation: (this.state.genesis?.recoveredSizes.length ?? 0) + 2,
      size: this.tree.size,
      root: base64Of(this.tree.root()),
      logKey: verifierKeyOf(logKey),
    };
  }

  /** Begins a new generation under a new key of the log. */
  putRecovery(unusual: Unusual = {}): Uint8Array {
    const generation = (this.state.genesis?.recoveredSizes.length ?? 0) + 2;
    const logKey = signerNamed(`example.org/trust-log-${generation}`);
    const entry = this.put("log.recover", this.recoveryBody(logKey), unusual);
    this.logKey = logKey;
    return entry;
  }

  /** Invites a node and lets it join under a key that is returned. */
  putNode(node: string): NoteSigner {
    const invite = signerNamed("invite");
    const nodeKey = signerNamed(node);
    const expiresAtSeconds = (this.state.genesis?.epochTimeSeconds ?? 0) + 600;
    this.put("node.invite", { node, inviteKey: keyTextOf(invite), expiresAtSeconds });
    this.put("node.join", joinBody(this.genesis, invite, node, keyTextOf(nodeKey)));
    return nodeKey;
  }

  /** The checkpoint over the first `size` entries, signed by the log's key. */
  checkpoint(size: number = this.entries.length): Uint8Array {
    return signCheckpoint({ size, root: this.tree.root(size) }, this.logKey);
  }

  /** The step from `from` to `to` entries. */
  step(from: number, to: number = this.entries.length): LogStep {
    return { firstIndex: from, entries: this.entries.slice(from, to), checkpoint: this.checkpoint(to) };
  }

  #usualAuthor(kind: string): NoteSigner {
    const role = this.state.authority.get(kind)?.role;
    if (role === "issuer") return this.issuer;
    return role === "sequencer" ? this.sequencer : this.operators[0];
  }
}
