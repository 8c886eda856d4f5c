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
  type FollowerStatus,
  FollowerStatusSchema,
  Mesh,
  protocolVersion,
} from "../../protocol/index.ts";
import { openRpcConnection } from "../../transport/index.ts";
import { entryRevision, verifierKeyOf } from "../../trust-log/index.ts";
import { CliError, exitCode } from "../exit-codes.ts";
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
    const signed = { ...said, prefixes: [victim], sequence: 1, size: 0 };
    const advertisement = signAdvertisement(signed, privateKey);
    const about = { instance, service: attacker, address: attackersAddress, entryRevision };
    const status = create(FollowerStatusSchema, { ...about, advertisement });
    await mesh.report({ followers: [status], alarms: [] });
    return await alarmed(client, "advertisement-prefix-not-granted", instance);
  } finally {
    leaving.abort();
    await following;
  }
}

/** Somebody between the proxies adds a prefix to what payments' proxy has signed. */
export async function forgePrefix(client: OperatorClient, directory: MeshDirectory): Promise<AttackOutcome> {
  const { followers } = await client.admin.getStatus({});
  const signer = followers.find(({ service, address }) => service === "/shop/payments" && address !== "");
  if (signer?.advertisement === undefined)
    throw new CliError(exitCode.notFound, "/shop/payments is not running; start the demo with npm start");
  using connection = await openRpcConnection({ kind: "unix", path: directory.agentSocket });
  const mesh = createClient(Mesh, connection.transport);
  const { $typeName: _name, $unknown: _unknown, ...fields } = signer;
  const forged: FollowerStatus = create(FollowerStatusSchema, {
    ...fields,
    advertisement: withPrefix(signer.advertisement),
  });
  await mesh.report({ followers: [forged], alarms: [] });
  const outcome = await alarmed(client, "advertisement-bad-signature", signer.instance);
  // What the proxy itself says takes its place again.
  await mesh.report({ followers: [signer], alarms: [] });
  return outcome;
}

/** The word of a proxy with its own name as a prefix more and the next number; the signature is as it was. */
function withPrefix(advertisement: Advertisement): Advertisement {
  const { statement, publicKey, signature } = advertisement;
  const text = (textOf(statement) ?? "")
    .replace(/"prefixes":\[[^\]]*\]/, '"prefixes":["/shop/payments"]')
    .replace(/"sequence":([0-9]+)/, (_, number: string) => `"sequence":${Number(number) + 1}`);
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
