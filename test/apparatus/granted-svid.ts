import { randomUUID } from "node:crypto";
import { create } from "@bufbuild/protobuf";
import { createClient } from "@connectrpc/connect";
import { buildCertificateRequest, generateEd25519, generateP256 } from "../../src/crypto/index.ts";
import { signAdvertisement } from "../../src/data-plane/routing/index.ts";
import { type Advertisement, FollowerStatusSchema, Mesh, protocolVersion } from "../../src/protocol/index.ts";
import { openRpcConnection } from "../../src/transport/index.ts";
import { entryRevision, verifierKeyOf } from "../../src/trust-log/index.ts";
import { type Credentials, credentialsOf } from "./hostile-certificates.ts";
import type { RunningMesh } from "./running-mesh.ts";

/** An instance that a program of this user has registered through the node agent, as a sidecar does. */
export interface GrantedSvid extends AsyncDisposable {
  readonly instance: string;
  readonly credentials: Credentials;
  /** Has callers of the service sent to host:port, and says that it serves prefixes, granted or not; `pass` hands that on. */
  readonly advertise: (
    address: string,
    prefixes?: readonly string[],
    pass?: (signed: Advertisement) => Advertisement,
  ) => Promise<void>;
}

/**
 * Obtains a good certificate for a service through the agent's socket, so that an experiment can show that what is
 * refused elsewhere is refused for its reason alone. The instance ends with its disposal.
 */
export async function obtainSvid(mesh: RunningMesh, service: string): Promise<GrantedSvid> {
  await using stack = new AsyncDisposableStack();
  const connection = stack.use(await openRpcConnection({ kind: "unix", path: mesh.directory.agentSocket }));
  const client = createClient(Mesh, connection.transport);
  const instance = randomUUID();
  const leaving = new AbortController();
  const follow = { fromSize: 0n, instance, protocolVersion, acceptsSnapshot: false };
  const following = (async () => {
    for await (const _ of client.follow(follow, { signal: leaving.signal })) continue;
  })().catch(() => {});
  stack.defer(async () => {
    leaving.abort();
    await following;
  });
  const { privateKey } = generateP256();
  const auditSigner = { name: `${mesh.domain.trustDomain}/audit/${instance}`, ...generateEd25519() };
  const { chain } = await client.issueSvid({
    instance,
    service,
    certificateRequest: buildCertificateRequest(privateKey),
    auditKey: verifierKeyOf(auditSigner),
  });
  let sequence = 0;
  const granted = stack.move();
  return {
    instance,
    credentials: credentialsOf(chain, privateKey),
    advertise: async (address, prefixes = [], pass = (signed) => signed) => {
      sequence += 1;
      const about = {
        log: mesh.domain.genesis,
        instance,
        address,
        audience: "",
        prefixes,
        sequence,
        size: 0,
      };
      const advertisement = pass(signAdvertisement(about, privateKey));
      const status = create(FollowerStatusSchema, {
        instance,
        service,
        address,
        entryRevision,
        advertisement,
      });
      await client.report({ followers: [status], alarms: [] });
    },
    [Symbol.asyncDispose]: () => granted.disposeAsync(),
  };
}
