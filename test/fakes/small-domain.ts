import { randomBytes } from "node:crypto";
import { join } from "node:path";
import { base64Of } from "../../src/base/bytes.ts";
import type { JsonObject } from "../../src/base/canonical-json.ts";
import type { Clock } from "../../src/base/clock.ts";
import type { Log } from "../../src/base/log.ts";
import {
  type ControlPlane,
  type FoundingKeys,
  foundDomain,
  type LogWriter,
  loadLogKeys,
  openControlPlane,
  openLogFiles,
} from "../../src/control-plane/index.ts";
import { exportPrivateKey } from "../../src/crypto/index.ts";
import { parseTrustDomain } from "../../src/identity/index.ts";
import type { JoinToken } from "../../src/protocol/index.ts";
import { type KeyStore, openMemoryKeyStore } from "../../src/storage/index.ts";
import {
  entryVersion,
  type LogAnchor,
  type NoteSigner,
  signEntry,
  type TrustState,
  verifierKeyOf,
} from "../../src/trust-log/index.ts";
import { silentLog } from "./silent-log.ts";
import { joinBody, keyTextOf, serviceBody, signerNamed } from "./small-trust-log.ts";

/** A trust domain that a test founded: its keys, and its log in a folder. */
export interface SmallDomain {
  readonly folder: string;
  readonly keys: FoundingKeys;
  readonly keyStore: KeyStore;
  readonly operator: NoteSigner;
  readonly anchor: LogAnchor;
}

/** Genesis and what makes the authorities known; the keys for tokens come after it. */
const entriesWithoutTokens = 3;

/** Founds example.org in a folder, with real files: as domains were before there were tokens, unless with their keys. */
export async function foundSmallDomain(
  folder: string,
  clock: Clock,
  { hasTokenKeys = false }: { readonly hasTokenKeys?: boolean } = {},
): Promise<SmallDomain> {
  const trustDomain = parseTrustDomain("example.org");
  if (!trustDomain.ok) throw new Error(trustDomain.reason);
  const keyStore = openMemoryKeyStore();
  const keys = await loadLogKeys(keyStore, trustDomain.value);
  const operator = signerNamed("example.org/operator/alice");
  const { entries, genesis } = await foundDomain({
    trustDomain: trustDomain.value,
    isTestDomain: true,
    operator,
    keys,
    keyStore,
    clock,
    randomBytes,
  });
  await using files = await openLogFiles(join(folder, "log"));
  await files.journal.appendAll(hasTokenKeys ? entries : entries.slice(0, entriesWithoutTokens));
  return { folder, keys, keyStore, operator, anchor: { genesis, logKey: keys.log } };
}

/** A control plane that runs in the test's own process. */
export interface RunningControlPlane extends AsyncDisposable {
  readonly controlPlane: ControlPlane;
  readonly writer: LogWriter;
  readonly address: string;
  readonly port: number;
}

/** Runs the control plane of a domain on a port of loopback. */
export async function runControlPlane(
  domain: SmallDomain,
  clock: Clock,
  { port = 0, log = silentLog }: { port?: number; log?: Log } = {},
): Promise<RunningControlPlane> {
  await using stack = new AsyncDisposableStack();
  const storage = stack.use(await openLogFiles(join(domain.folder, "log")));
  const controlPlane = stack.use(
    await openControlPlane({
      trustDomain: "example.org",
      storage,
      keyStore: domain.keyStore,
      tilesFolder: join(domain.folder, "tiles"),
      proposalsFolder: join(domain.folder, "proposals"),
      listen: { host: "127.0.0.1", port },
      svidLifetimeSeconds: 3600,
      clock,
      randomBytes,
      log,
    }),
  );
  const running = stack.move();
  return {
    controlPlane,
    writer: controlPlane.writer,
    address: controlPlane.address,
    port: Number(controlPlane.address.split(":")[1]),
    [Symbol.asyncDispose]: () => running.disposeAsync(),
  };
}

/** The bytes of the operator's next entry, `ahead` entries after those that the state has. */
export function operatorEntry(
  domain: SmallDomain,
  state: TrustState,
  { kind, body, ahead = 0 }: { readonly kind: string; readonly body: JsonObject; readonly ahead?: number },
): Uint8Array {
  const { operator, anchor } = domain;
  const sequence = (state.authors.get(operator.name)?.sequence ?? 0) + 1 + ahead;
  return signEntry(
    { kind, version: entryVersion, log: anchor.genesis, author: operator.name, sequence, body },
    [operator],
  );
}

/** Has the operator's entry ordered; throws unless it takes effect. */
export async function putAsOperator(
  domain: SmallDomain,
  writer: LogWriter,
  { kind, body }: { readonly kind: string; readonly body: JsonObject },
): Promise<number> {
  const written = await writer.submit([operatorEntry(domain, writer.state, { kind, body })]);
  if (!written.ok) throw new Error(`${kind}: ${written.reason} ${written.detail}`);
  return written.value;
}

/** Registers a service. */
export function putService(
  domain: SmallDomain,
  writer: LogWriter,
  name: string,
  nodes: readonly string[] = ["*"],
): Promise<number> {
  return putAsOperator(domain, writer, { kind: "service.put", body: serviceBody(name, nodes) });
}

/** Invites a node; the invitation lasts for `seconds` of epoch time. */
export async function inviteNode(
  domain: SmallDomain,
  writer: LogWriter,
  { node, seconds = 600 }: { readonly node: string; readonly seconds?: number },
): Promise<NoteSigner> {
  const invite = signerNamed("invite");
  const expiresAtSeconds = (writer.state.genesis?.epochTimeSeconds ?? 0) + seconds;
  const body = { node, inviteKey: keyTextOf(invite), expiresAtSeconds };
  await putAsOperator(domain, writer, { kind: "node.invite", body });
  return invite;
}

/** Invites a node and lets it join without a network; its key. */
export async function putNode(domain: SmallDomain, writer: LogWriter, node: string): Promise<NoteSigner> {
  const invite = await inviteNode(domain, writer, { node });
  const nodeKey = signerNamed(node);
  const body = joinBody(domain.anchor.genesis, invite, node, keyTextOf(nodeKey));
  const written = await writer.write([{ role: "issuer", kind: "node.join", body }]);
  if (!written.ok) throw new Error(`${node}: ${written.reason} ${written.detail}`);
  return nodeKey;
}

/** The join token of an invitation to a control plane. */
export function joinTokenOf(
  domain: SmallDomain,
  invite: NoteSigner,
  { node, address }: { readonly node: string; readonly address: string },
): JoinToken {
  return {
    node,
    address,
    genesis: domain.anchor.genesis,
    logKey: verifierKeyOf(domain.anchor.logKey),
    inviteKey: base64Of(exportPrivateKey(invite.privateKey)),
  };
}
