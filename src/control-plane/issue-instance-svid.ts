import { hexOf } from "../base/bytes.ts";
import type { Clock, RandomBytes } from "../base/clock.ts";
import { fail, ok, type Result } from "../base/result.ts";
import { parseCertificateRequest, sha256 } from "../crypto/index.ts";
import {
  type IssuanceRefusal,
  type IssuedSvid,
  issueSvid,
  parseServiceName,
  spiffeIdOfService,
  type WorkloadMetadata,
} from "../identity/index.ts";
import { instancesPerNodeMax } from "../protocol/index.ts";
import {
  type InstanceRow,
  isQuarantined,
  neededFor,
  parseVerifierKey,
  revisionOf,
  type ServiceRow,
} from "../trust-log/index.ts";
import type { FollowerRegistry } from "./follower-registry.ts";
import type { HeldAuthorities } from "./held-authorities.ts";
import type { AppendRefusal, LogWriter, OwnStatement } from "./log-writer.ts";

/** What an agent asks for on behalf of an instance on its node. */
export interface InstanceRequest {
  readonly node: string;
  readonly instance: string;
  readonly service: string;
  readonly certificateRequest: Uint8Array;
  readonly auditKey: string;
  /** That the instance says it holds (proto, `IssueSvidRequest`); 0 before the first. */
  readonly generation: number;
  /** Whether some of its peers are older than revision 3. */
  readonly hasOlderPeers?: boolean;
}

/** What issuing takes. */
export interface Issuer {
  readonly writer: LogWriter;
  readonly authorities: Pick<HeldAuthorities, "issuing">;
  readonly registry: Pick<FollowerRegistry, "olderThan" | "raise">;
  readonly svidLifetimeSeconds: number;
  readonly clock: Clock;
  readonly randomBytes: RandomBytes;
}

/** Why an instance gets no SVID. */
export type InstanceRefusal =
  | IssuanceRefusal
  | AppendRefusal
  | "malformed-request"
  | "unknown-service"
  | "not-on-this-node"
  | "other-instance"
  | "instance-revoked"
  | "held"
  | "quarantined"
  | "lineage-forked"
  | "too-many-instances";

/** A certificate that an instance has been issued. */
export interface IssuedToInstance {
  readonly chain: readonly Uint8Array[];
  readonly size: number;
  /** Of its key among those that the instance has had; 0 where the log does not count them. */
  readonly generation: number;
}

/**
 * Registers the instance if it is new and issues its next SVID. The log has the registration and the issuance, and a
 * checkpoint covers both, before the certificate leaves this function. All that is taken from the instance is its key;
 * what the certificate says of it comes from the log.
 */
export async function issueInstanceSvid(
  issuer: Issuer,
  request: InstanceRequest,
): Promise<Result<IssuedToInstance, InstanceRefusal>> {
  const { writer, clock, randomBytes } = issuer;
  const proof = parseCertificateRequest(request.certificateRequest);
  if (!proof.ok) return fail("malformed-request", `${proof.reason} ${proof.detail}`);
  const name = parseServiceName(request.service);
  if (!name.ok) return fail("malformed-request", `service name: ${name.reason}`);
  const service = writer.state.services.get(name.value);
  if (service === undefined) return fail("unknown-service", name.value);
  const registration = registrationOf(issuer, request);
  if (!registration.ok) return registration;
  const keySha256 = hexOf(sha256(proof.value.publicKeyInfo));
  if (isForked(writer.state.instances.get(request.instance), request.generation, keySha256))
    return lockForked(issuer, request);

  const authority = await issuer.authorities.issuing();
  if (authority === undefined)
    return fail("authority-expired", "no authority that may issue is here: troth ca show says what to do");
  const spiffeId = spiffeIdOfService(authority.trustDomain, name.value);
  const svid = issueSvid(
    authority,
    {
      proof: proof.value,
      spiffeId,
      metadata: metadataOf(request, { ...service, name: name.value }),
      lifetimeSeconds: issuer.svidLifetimeSeconds,
      hasOlderPeers: request.hasOlderPeers ?? false,
    },
    { clock, randomBytes },
  );
  if (!svid.ok) return svid;
  const { instance } = request;
  const issuance = issuanceOf(issuer, svid.value, { instance, spiffeId, keySha256 });
  const written = await writer.write([...registration.value, issuance]);
  if (!written.ok) return written;
  const { generation } = issuance.body;
  return ok({
    chain: svid.value.chain,
    size: written.value,
    generation: typeof generation === "number" ? generation : 0,
  });
}

/**
 * Whether somebody else has gone on with this instance's line of keys: who asks neither holds its last generation, nor
 * asks for the last again with the same key, as after an answer that was lost.
 */
function isForked(row: InstanceRow | undefined, held: number, keySha256: string): boolean {
  const last = row?.generation;
  if (last === undefined || held === last) return false;
  return held !== last - 1 || keySha256 !== row?.keySha256;
}

/** Neither of the two can be told from the other, so the instance ends; what else its service or node has does not. */
async function lockForked(
  { writer, registry }: Issuer,
  { instance, service, node, generation }: InstanceRequest,
): Promise<Result<never, InstanceRefusal>> {
  const last = writer.state.instances.get(instance)?.generation;
  const detail = `${service} ${instance} on ${node} asked as the holder of generation ${generation}, and ${last} was issued`;
  registry.raise("/lineage", "lineage-forked", detail);
  if (neededFor(writer.state, "instance.lock") !== undefined)
    await writer.write([{ role: "issuer", kind: "instance.lock", body: { instance } }]);
  return fail("lineage-forked", detail);
}

/**
 * What the log is to say of an SVID: with its authority and generation, so that both can be revoked, as soon as the trust
 * domain grants that kind and nobody follows who would stop before it.
 */
function issuanceOf(
  { writer: { state }, registry }: Issuer,
  { certificate, serial, authorityKeyId, notBeforeSeconds, notAfterSeconds }: IssuedSvid,
  bearer: { readonly instance: string; readonly spiffeId: string; readonly keySha256: string },
): OwnStatement {
  const { instance, spiffeId, keySha256 } = bearer;
  const body = {
    certificate: hexOf(sha256(certificate)),
    spiffeId,
    instance,
    serial,
    notBeforeSeconds,
    notAfterSeconds,
  };
  const { generation: last = 0, keySha256: lastKey } = state.instances.get(instance) ?? {};
  const isUnderstood =
    neededFor(state, "svid.put") !== undefined &&
    // After the first entries of that revision, nobody is left who could not.
    (last > 0 ||
      state.authorityStatus.size > 0 ||
      registry.olderThan(revisionOf("svid.put"), state).length === 0);
  if (authorityKeyId === undefined || !isUnderstood) return { role: "issuer", kind: "svid.issue", body };
  const generation = keySha256 === lastKey ? last : last + 1;
  return { role: "issuer", kind: "svid.put", body: { ...body, authorityKeyId, generation, keySha256 } };
}

function registrationOf(
  { writer }: Issuer,
  request: InstanceRequest,
): Result<readonly OwnStatement[], InstanceRefusal> {
  const { instance, service, node, auditKey } = request;
  const known = writer.state.instances.get(instance);
  if (isQuarantined(writer.state, instance))
    return fail("quarantined", `${instance}, until a newer decision releases it`);
  if (known !== undefined) {
    const isSame = known.node === node && known.service === service && known.auditKey === auditKey;
    return isSame ? ok([]) : fail("other-instance", `${instance} is registered as something else`);
  }
  const { holds, revocations } = writer.state;
  if (revocations.has(`instance:${instance}`)) return fail("instance-revoked", `${instance}, for good`);
  const held = [`service:${service}`, `node:${node}`].find((key) => holds.has(key));
  if (held !== undefined) return fail("held", `${held.replace(":", " ")} is held until it is lifted`);
  const allowed = writer.state.services.get(service)?.nodes ?? [];
  if (!allowed.includes("*") && !allowed.includes(node))
    return fail("not-on-this-node", `${service} on ${node}`);
  if (!parseVerifierKey(auditKey).ok) return fail("malformed-request", "audit key");
  if (!hasRoom(writer.state.instances, node))
    return fail(
      "too-many-instances",
      `${node} has ${instancesPerNodeMax} instances, and no node has more: end some of them, or run this one elsewhere`,
    );
  return ok([{ role: "issuer", kind: "instance.register", body: { instance, service, node, auditKey } }]);
}

function hasRoom(instances: Issuer["writer"]["state"]["instances"], node: string): boolean {
  let count = 0;
  if (instances.size >= instancesPerNodeMax)
    for (const [, row] of instances.entries()) if (row.node === node) count += 1;
  return count < instancesPerNodeMax;
}

function metadataOf(
  request: InstanceRequest,
  service: ServiceRow & { readonly name: WorkloadMetadata["service"] },
): WorkloadMetadata {
  return {
    instance: request.instance,
    service: service.name,
    node: request.node,
    labels: service.labels,
    ...(service.team === "" ? {} : { team: service.team }),
    ...(service.environment === "" ? {} : { environment: service.environment }),
  };
}
