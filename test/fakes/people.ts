import { randomBytes } from "node:crypto";
import { type Client, Code, ConnectError, createClient } from "@connectrpc/connect";
import type { JsonObject } from "../../src/base/canonical-json.ts";
import { Admin } from "../../src/protocol/index.ts";
import { openRpcConnection, tlsIdentityOf } from "../../src/transport/index.ts";
import { entryVersion, type NoteSigner, signEntry, type TrustState } from "../../src/trust-log/index.ts";
import { putAsOperator, type RunningControlPlane, type SmallDomain } from "./small-domain.ts";
import { keyTextOf, signerNamed } from "./small-trust-log.ts";

/** Enters the key of a person into the log, in a role. */
export async function putPerson(
  domain: SmallDomain,
  { writer }: RunningControlPlane,
  { role, person }: { readonly role: string; readonly person: string },
): Promise<NoteSigner> {
  const signer = signerNamed(`example.org/${role}/${person}`);
  const body = { name: signer.name, role, publicKey: keyTextOf(signer) };
  await putAsOperator(domain, writer, { kind: "key.put", body });
  return signer;
}

/** A person's connection to the admin API. */
export interface AdminCalls extends Disposable {
  readonly admin: Client<typeof Admin>;
}

/** Connects with somebody's key, or with none. */
export async function adminAs(
  { port }: { readonly port: number },
  signer: NoteSigner | undefined,
): Promise<AdminCalls> {
  const identity = signer === undefined ? {} : { identity: tlsIdentityOf(signer.privateKey, randomBytes) };
  const connection = await openRpcConnection({ kind: "tls", host: "127.0.0.1", port, ...identity });
  return {
    admin: createClient(Admin, connection.transport),
    [Symbol.dispose]: () => connection[Symbol.dispose](),
  };
}

/** What a call came to: "ok", or the code of its refusal and the reason before its first colon. */
export async function outcomeOf(call: Promise<unknown>): Promise<string> {
  try {
    await call;
    return "ok";
  } catch (error) {
    if (!(error instanceof ConnectError)) throw error;
    return `${Code[error.code]} ${error.rawMessage.split(":")[0]}`;
  }
}

/** The first message of a stream. */
export async function firstOf<Message>(messages: AsyncIterable<Message>): Promise<Message | undefined> {
  for await (const message of messages) return message;
  return undefined;
}

/** An entry of a person's, which ends after `lifetimeSeconds` of epoch time and is signed by all of `signers`. */
export function personsEntry(
  state: TrustState,
  signers: readonly NoteSigner[],
  entry: {
    readonly kind: string;
    readonly body: JsonObject;
    readonly ahead?: number;
    readonly lifetimeSeconds?: number;
    readonly log?: string;
  },
): Uint8Array {
  const [author] = signers;
  if (author === undefined) throw new Error("nobody signs");
  const { kind, body, ahead = 0, lifetimeSeconds = 3600 } = entry;
  const { genesis = "", epochTimeSeconds = 0 } = state.genesis ?? {};
  return signEntry(
    {
      kind,
      version: entryVersion,
      log: entry.log ?? genesis,
      author: author.name,
      sequence: (state.authors.get(author.name)?.sequence ?? 0) + 1 + ahead,
      expiresAtSeconds: lifetimeSeconds === 0 ? 0 : epochTimeSeconds + lifetimeSeconds,
      body,
    },
    signers,
  );
}

/** Ends the current epoch, `afterSeconds` of epoch time after the last one. */
export async function putEpoch({ writer }: RunningControlPlane, afterSeconds: number): Promise<void> {
  const { epochNumber = 0, epochTimeSeconds = 0 } = writer.state.genesis ?? {};
  const body = {
    number: epochNumber + 1,
    size: writer.tree.size,
    timeSeconds: epochTimeSeconds + afterSeconds,
    stateDigest: writer.state.digest(),
    curatorDigest: null,
  };
  const written = await writer.write([{ role: "sequencer", kind: "epoch", body }]);
  if (!written.ok) throw new Error(`${written.reason}: ${written.detail}`);
}
