import { create, toBinary } from "@bufbuild/protobuf";
import { type Any, anyPack } from "@bufbuild/protobuf/wkt";
import { bytesOf } from "../../base/bytes.ts";
import { fail, ok, type Result } from "../../base/result.ts";
import {
  type DiscoveryRequest,
  type Secret,
  SecretSchema,
  SPIFFECertValidatorConfigSchema,
} from "../../protocol/index.ts";
import { pemOfCertificate } from "../../transport/index.ts";
import type { TrustState } from "../../trust-log/index.ts";
import { type DomainBundle, federatedBundles, ownBundle } from "./trust-bundles.ts";
import type { Grant } from "./workload-grants.ts";

/** The first Envoy of version 1 with a validator that keeps trust domains apart. */
const validatorMinorMin = 18;
const validatorName = "envoy.tls.cert_validator.spiffe";

/** What an Envoy is told, and how. */
export interface SecretsRequest {
  /** Everything where there is no name. */
  readonly names: readonly string[];
  /** Whether it keeps trust domains apart by itself; else it is given its own domain's authorities alone. */
  readonly hasValidator: boolean;
}

/** Why an Envoy gets no secrets: it asks for what it may not have. */
export type SecretsRefusal = "not-authorized";

/**
 * The secrets that an Envoy asks for, under the names that SPIRE's agent gives them: a SPIFFE ID or `default` for a
 * certificate with its key; a trust domain's ID, `ROOTCA` or `ALL` for what peers are checked by. Names that begin with
 * `file-` are files of the Envoy's own and are passed over.
 */
export function secretsFor(
  { names, hasValidator }: SecretsRequest,
  grants: readonly Grant[],
  state: TrustState,
): Result<readonly Secret[], SecretsRefusal> {
  const own = ownBundle(state);
  const others = federatedBundles(state);
  const certificates = new Map<string, Grant>();
  for (const grant of grants) if (!certificates.has(grant.spiffeId)) certificates.set(grant.spiffeId, grant);
  const bundles = new Map<string, readonly DomainBundle[]>(
    [own, ...others].map((bundle) => [`spiffe://${bundle.trustDomain}`, [bundle]]),
  );
  const asked = names.length > 0 ? new Set(names) : [...certificates.keys(), ...bundles.keys()];
  bundles.set("ROOTCA", [own]);
  if (hasValidator) bundles.set("ALL", [own, ...others]);
  const [first] = grants;
  if (first !== undefined) certificates.set("default", first);

  const secrets: Secret[] = [];
  const unknown: string[] = [];
  for (const name of asked) {
    const grant = certificates.get(name);
    const checkedBy = bundles.get(name);
    if (grant !== undefined) secrets.push(certificateSecret(name, grant));
    else if (checkedBy !== undefined) secrets.push(validationSecret(name, checkedBy, hasValidator));
    else if (!name.startsWith("file-")) unknown.push(name);
  }
  return unknown.length === 0
    ? ok(secrets)
    : fail(
        "not-authorized",
        `workload is not authorized for the requested identities [${unknown.map((name) => JSON.stringify(name)).join(" ")}]`,
      );
}

/** Whether the Envoy that sent a request keeps trust domains apart; one that says nothing of itself is a newer one. */
export function hasSpiffeValidator(node: DiscoveryRequest["node"]): boolean {
  if (node?.metadata?.["disable_spiffe_cert_validation"] === true) return false;
  const version = node?.userAgentBuildVersion?.version;
  return version === undefined || version.majorNumber > 1 || version.minorNumber >= validatorMinorMin;
}

/** A secret as SDS carries it. */
export function packSecret(secret: Secret): Any {
  return anyPack(SecretSchema, secret);
}

/** Whether two answers say the same. */
export function isSameSecrets(left: readonly Secret[], right: readonly Secret[]): boolean {
  const bytes = (secrets: readonly Secret[]): Buffer =>
    Buffer.concat(secrets.map((secret) => toBinary(SecretSchema, secret)));
  return left.length === right.length && bytes(left).equals(bytes(right));
}

function certificateSecret(name: string, { svid }: Grant): Secret {
  return create(SecretSchema, {
    name,
    type: {
      case: "tlsCertificate",
      value: {
        certificateChain: inline(svid.chainPem),
        privateKey: inline(svid.privateKeyPem),
      },
    },
  });
}

function validationSecret(name: string, bundles: readonly DomainBundle[], hasValidator: boolean): Secret {
  const pemOf = ({ authorities }: DomainBundle): string => authorities.map(pemOfCertificate).join("");
  if (!hasValidator)
    return create(SecretSchema, {
      name,
      type: { case: "validationContext", value: { trustedCa: inline(bundles.map(pemOf).join("")) } },
    });
  const trustDomains = bundles.map((bundle) => ({
    name: bundle.trustDomain,
    trustBundle: inline(pemOf(bundle)),
  }));
  const config = create(SPIFFECertValidatorConfigSchema, { trustDomains });
  return create(SecretSchema, {
    name,
    type: {
      case: "validationContext",
      value: {
        customValidatorConfig: {
          name: validatorName,
          typedConfig: anyPack(SPIFFECertValidatorConfigSchema, config),
        },
      },
    },
  });
}

function inline(pem: string): { specifier: { case: "inlineBytes"; value: Uint8Array } } {
  return { specifier: { case: "inlineBytes", value: bytesOf(pem) } };
}
