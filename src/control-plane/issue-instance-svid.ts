import { hexOf } from "../base/bytes.ts";
import type { Clock, RandomBytes } from "../base/clock.ts";
import { fail, ok, type Result } from "../base/result.ts";
import { parseCertificateRequest, sha256 } from "../crypto/index.ts";
import {
  type CertificateAuthority,
  type IssuanceRefusal,
  issueSvid,
  parseServiceName,
  spiffeIdOfService,
  type WorkloadMetadata,
} from "../identity/index.ts";
import { parseVerifierKey, type ServiceRow } from "../trust-log/index.ts";
import type { AppendRefusal, LogWriter, OwnStatement } from "./log-writer.ts";

/** What an agent asks for on behalf of an instance on its node. */
export interface InstanceRequest {
  readonly node: string;
  readonly instance: string;
  readonly service: string;
  readonly certificateRequest: Uint8Array;
  readonly auditKey: string;
  /** Whether some of its peers are older than revision 3. */
  readonly hasOlderPeers?: boolean;
}

/** What issuing takes. */
export interface Issuer {
  readonly writer: LogWriter;
  readonly authority: CertificateAuthority;
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
  | "other-instance";

/**
 * Registers the instance if it is new and issues its next SVID. The log has the registration and the issuance, and a
 * checkpoint covers both, before the certificate leaves this function. All that is taken from the instance is its key;
 * what the certificate says of it comes from the log.
 */
export async function issueInstanceSvid(
  issuer: Issuer,
  request: InstanceRequest,
): Promise<Result<{ readonly chain: readonly Uint8Array[]; readonly size: number }, InstanceRefusal>> {
  const { writer, authority, clock, randomBytes } = issuer;
  const proof = parseCertificateRequest(request.certificateRequest);
  if (!proof.ok) return fail("malformed-request", `${proof.reason} ${proof.detail}`);
  const name = parseServiceName(request.service);
  if (!name.ok) return fail("malformed-request", `service name: ${name.reason}`);
  const service = writer.state.services.get(name.value);
  if (service === undefined) return fail("unknown-service", name.value);
  const registration = registrationOf(issuer, request);
  if (!registration.ok) return registration;

  const svid = issueSvid(
    authority,
    {
      proof: proof.value,
      spiffeId: spiffeIdOfService(authority.trustDomain, name.value),
      metadata: metadataOf(request, { ...service, name: name.value }),
      lifetimeSeconds: issuer.svidLifetimeSeconds,
      hasOlderPeers: request.hasOlderPeers ?? false,
    },
    { clock, randomBytes },
  );
  if (!svid.ok) return svid;
  const written = await writer.write([
    ...registration.value,
    {
      role: "issuer",
      kind: "svid.issue",
      body: {
        certificate: hexOf(sha256(svid.value.certificate)),
        spiffeId: spiffeIdOfService(authority.trustDomain, name.value),
        instance: request.instance,
        serial: svid.value.serial,
        notBeforeSeconds: svid.value.notBeforeSeconds,
        notAfterSeconds: svid.value.notAfterSeconds,
      },
    },
  ]);
  return written.ok ? ok({ chain: svid.value.chain, size: written.value }) : written;
}

function registrationOf(
  { writer }: Issuer,
  request: InstanceRequest,
): Result<readonly OwnStatement[], InstanceRefusal> {
  const { instance, service, node, auditKey } = request;
  const known = writer.state.instances.get(instance);
  if (known !== undefined) {
    const isSame = known.node === node && known.service === service && known.auditKey === auditKey;
    return isSame ? ok([]) : fail("other-instance", `${instance} is registered as something else`);
  }
  const allowed = writer.state.services.get(service)?.nodes ?? [];
  if (!allowed.includes("*") && !allowed.includes(node))
    return fail("not-on-this-node", `${service} on ${node}`);
  if (!parseVerifierKey(auditKey).ok) return fail("malformed-request", "audit key");
  return ok([{ role: "issuer", kind: "instance.register", body: { instance, service, node, auditKey } }]);
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
