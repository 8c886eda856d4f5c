import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { create } from "@bufbuild/protobuf";
import { type Client, createClient } from "@connectrpc/connect";
import { bytesOf, textOf } from "../../base/bytes.ts";
import { buildCertificateRequest, generateEd25519, generateP256 } from "../../crypto/index.ts";
import { signAdvertisement } from "../../data-plane/index.ts";
import {
  type Advertisement,
  AdvertisementSchema,
  FollowerStatusSchema,
  Mesh,
  protocolVersion,
} from "../../protocol/index.ts";
import { openRpcConnection } from "../../transport/index.ts";
import { entryRevision, verifierKeyOf } from "../../trust-log/index.ts";
import type { MeshDirectory } from "../mesh-directory.ts";
import type { OperatorClient } from "../operator-client.ts";
import type { AttackOutcome } from "./attacks.ts";

const waitMillisMax = 10_000;
const pollMillis = 100;
/** Whom the attacker may be, and what she wants to be asked for. */
const attacker = "/shop/mallory";
const victim = "/shop/ledger";
/** Nobody listens there: what would come could be read by whoever does. */
const attackersAddress = "127.0.0.1:9";

/** A registered instance of the neighbour's says that it serves the ledger's name. */
export async function hijackRoute(client: OperatorClient, directory: MeshDirectory): Promise<AttackOutcome> {
  return advertise(client, directory, {
    prefixes: [victim],
    reason: "advertisement-prefix-not-granted",
  });
}

/** Somebody who passes on what a proxy has signed adds a prefix to it, one that its service may have. */
export async function forgePrefix(client: OperatorClient, directory: MeshDirectory): Promise<AttackOutcome> {
  return advertise(client, directory, {
    prefixes: [],
    change: withPrefix,
    reason: "advertisement-bad-signature",
  });
}

/** Registers an instance of the attacker's and has the agent pass on what it, or somebody after it, says. */
async function advertise(
  client: OperatorClient,
  directory: MeshDirectory,
  attack: {
    readonly prefixes: readonly string[];
    readonly change?: (advertisement: Advertisement) => Advertisement;
    /** The alarm that it should raise. */
    readonly reason: string;
  },
): Promise<AttackOutcome> {
  using connection = await openRpcConnection({ kind: "unix", path: directory.agentSocket });
  const mesh = createClient(Mesh, connection.transport);
  const instance = randomUUID();
  const leaving = new AbortController();
  const following = follow(mesh, instance, leaving.signal);
  try {
    const { privateKey } = generateP256();
    const audit = { name: `${client.domain.trustDomain}/audit/${instance}`, ...generateEd25519() };
    await mesh.issueSvid({
      instance,
      service: attacker,
      certificateRequest: buildCertificateRequest(privateKey),
      auditKey: verifierKeyOf(audit),
    });
    const said = { log: client.domain.genesis, instance, address: attackersAddress, audience: "" };
    const signed = signAdvertisement(
      { ...said, prefixes: attack.prefixes, sequence: 1, size: 0 },
      privateKey,
    );
    const advertisement = attack.change?.(signed) ?? signed;
    const about = { instance, service: attacker, address: attackersAddress, entryRevision };
    const status = create(FollowerStatusSchema, { ...about, advertisement });
    await mesh.report({ followers: [status], alarms: [] });
    return await alarmed(client, attack.reason, instance);
  } finally {
    leaving.abort();
    await following;
  }
}

/** What was signed, with a prefix that was not; the signature is as it was. */
function withPrefix({ statement, publicKey, signature }: Advertisement): Advertisement {
  const text = (textOf(statement) ?? "").replace('"prefixes":[]', `"prefixes":["${attacker}"]`);
  return create(AdvertisementSchema, { statement: bytesOf(text), publicKey, signature });
}

async function alarmed(client: OperatorClient, reason: string, instance: string): Promise<AttackOutcome> {
  for (let waited = 0; waited < waitMillisMax; waited += pollMillis) {
    const { alarms } = await client.admin.getStatus({});
    const found = alarms.find((one) => one.reason === reason && one.detail.includes(instance));
    if (found !== undefined)
      return {
        wasStopped: true,
        observed: `every proxy kept its routes, and one raised ${reason}: ${found.detail}`,
      };
    await sleep(pollMillis);
  }
  return { wasStopped: false, observed: `no proxy raised ${reason} within ${waitMillisMax / 1000} s` };
}

async function follow(mesh: Client<typeof Mesh>, instance: string, signal: AbortSignal): Promise<void> {
  const request = { fromSize: 0n, instance, protocolVersion, acceptsSnapshot: true };
  try {
    for await (const _ of mesh.follow(request, { signal })) continue;
  } catch {
    // It ends when the attack does.
  }
}
