import type { KeyObject } from "node:crypto";
import { createClient } from "@connectrpc/connect";
import { base64Of, bytesOf, bytesOfBase64 } from "../base/bytes.ts";
import type { Clock, RandomBytes } from "../base/clock.ts";
import { hostAndPort } from "../base/host-and-port.ts";
import { MeshError } from "../base/mesh-error.ts";
import { importPrivateKey, publicKeyBytes, signEd25519 } from "../crypto/index.ts";
import { Admission, type JoinToken } from "../protocol/index.ts";
import { LogView, openRpcConnection, tlsIdentityOf } from "../transport/index.ts";
import { nodeJoinText, parseVerifierKey } from "../trust-log/index.ts";

/** What an agent remembers of the mesh that it joined. */
export interface Membership {
  readonly node: string;
  /** host:port of the control plane. */
  readonly address: string;
  readonly genesis: string;
  readonly logKey: string;
}

/**
 * Joins a mesh with a join token. First the agent reads the log and checks it against the hash and the key in the
 * token, then that the server it talks to holds a key which that log names; only then does it use the invitation.
 * Nothing that the token holds is ever sent. Throws `ERR_NODE_AGENT_JOIN` saying which of these failed.
 */
export async function joinMesh(
  token: JoinToken,
  {
    nodeKey,
    clock,
    randomBytes,
    timeoutMillis = 60_000,
  }: {
    readonly nodeKey: KeyObject;
    readonly clock: Clock;
    readonly randomBytes: RandomBytes;
    /** For reading the log, and again for joining. */
    readonly timeoutMillis?: number;
  },
): Promise<Membership> {
  const logKey = parseVerifierKey(token.logKey);
  if (!logKey.ok) throw refusedToJoin("the join token's log key is malformed");
  const invite = inviteKeyOf(token);
  const { host, port } = hostAndPort(token.address);
  using connection = await openRpcConnection({
    kind: "tls",
    host,
    port,
    identity: tlsIdentityOf(nodeKey, randomBytes),
  });
  const client = createClient(Admission, connection.transport);

  const view = new LogView({ anchor: { genesis: token.genesis, logKey: logKey.value }, clock });
  // Not the call's own timer: of a call whose answers are read no further it stays, and with it this process.
  const updates = client.readLog({ fromSize: 0n }, { signal: AbortSignal.timeout(timeoutMillis) });
  for await (const update of answersOf(token.address, updates)) {
    const taken = await view.take(update);
    if (!taken.ok)
      throw refusedToJoin(`${token.address} serves another log than the token names (${taken.reason})`);
  }
  const { state } = view.follower;
  if (view.follower.checkpoint === undefined || !state.hasServerKey(connection.serverKey))
    throw refusedToJoin(
      `${token.address} does not prove to be the control plane of ${state.genesis?.trustDomain ?? "the mesh"}`,
    );

  const key = publicKeyBytes(nodeKey);
  const proof = signEd25519(invite, bytesOf(nodeJoinText(token.genesis, token.node, base64Of(key))));
  try {
    const request = { node: token.node, inviteKey: publicKeyBytes(invite), nodeKey: key, proof };
    await client.join(request, { timeoutMs: timeoutMillis });
  } catch (cause) {
    throw new MeshError(
      "ERR_NODE_AGENT_JOIN",
      "the mesh did not take this join token (was it used before, or has it expired?)",
      { cause },
    );
  }
  return { node: token.node, address: token.address, genesis: token.genesis, logKey: token.logKey };
}

function inviteKeyOf(token: JoinToken): KeyObject {
  try {
    const key = importPrivateKey(bytesOfBase64(token.inviteKey) ?? new Uint8Array(0));
    if (key.asymmetricKeyType === "ed25519") return key;
  } catch {
    // Said below; the library's message may quote the key.
  }
  throw refusedToJoin("the join token's invitation key is malformed");
}

async function* answersOf<Message>(
  address: string,
  messages: AsyncIterable<Message>,
): AsyncGenerator<Message> {
  try {
    yield* messages;
  } catch (cause) {
    throw new MeshError("ERR_NODE_AGENT_JOIN", `did not join: ${address} does not serve a trust log`, {
      cause,
    });
  }
}

function refusedToJoin(why: string): MeshError {
  return new MeshError("ERR_NODE_AGENT_JOIN", `did not join: ${why}`);
}
