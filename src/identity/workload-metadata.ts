import {
  canonicalJson,
  isJsonObject,
  type Json,
  type JsonObject,
  parseCanonicalJson,
} from "../base/canonical-json.ts";
import { fail, ok, type Result } from "../base/result.ts";
import { uuidPattern } from "../base/uuid.ts";
import { derText, textOfDer } from "../crypto/index.ts";
import { isNodeName, parseServiceName, type ServiceName } from "./service-name.ts";

/** Facts about one workload instance that its SVID carries (S2, certificate attributes). */
export interface WorkloadMetadata {
  /** UUID of the running copy, lower case. */
  readonly instance: string;
  readonly service: ServiceName;
  /** Name of the node it runs on. */
  readonly node: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly team?: string;
  readonly environment?: string;
}

/** Why bytes or JSON are not workload metadata; the detail names the member. */
export type WorkloadMetadataRefusal = "malformed-metadata";

/**
 * The extension's object identifier: a UUID in seven arcs, below the one that is there for that. None is above 2^31, so
 * that Go's libraries, which read a certificate with a longer one not at all, take it.
 */
export const workloadMetadataOid =
  "1.2.840.113556.1.8000.2554.39455.50947.23113.19304.46788.5062606.10060044";

/** What followers of revision 2 know it by: the same UUID as one arc (X.667). Read as well, and issued while there are some. */
export const longMetadataOid = "2.25.204866109018629496886748370103967514892";

/** How many labels an instance may have. */
export const labelsMax = 16;

const members: ReadonlySet<string> = new Set([
  "instance",
  "service",
  "node",
  "labels",
  "team",
  "environment",
]);
// What Kubernetes allows in a label's key; nothing that a log, a table or a page would have to escape.
const word = /^(?=.{1,63}$)[A-Za-z0-9](?:[A-Za-z0-9._/-]*[A-Za-z0-9])?$/;

/** The value of the extension, for {@link parseWorkloadMetadata} to read. */
export function encodeWorkloadMetadata(metadata: WorkloadMetadata): Uint8Array {
  return derText(canonicalJson(jsonOfWorkloadMetadata(metadata)));
}

/** Reads the extension's value: exactly one spelling of exactly the known members. Never throws. */
export function parseWorkloadMetadata(value: Uint8Array): Result<WorkloadMetadata, WorkloadMetadataRefusal> {
  const text = textOfDer(value);
  if (text === undefined) return fail("malformed-metadata", "no UTF8String");
  const json = parseCanonicalJson(text);
  return json.ok ? workloadMetadataOfJson(json.value) : fail("malformed-metadata", json.detail);
}

/** The metadata as JSON, for the trust log and the extension. */
export function jsonOfWorkloadMetadata(metadata: WorkloadMetadata): JsonObject {
  const { instance, service, node, labels, team, environment } = metadata;
  return {
    instance,
    service,
    node,
    labels,
    ...(team === undefined ? {} : { team }),
    ...(environment === undefined ? {} : { environment }),
  };
}

/** Checks metadata that came as JSON: every member within its bounds and no member unknown. */
export function workloadMetadataOfJson(json: Json): Result<WorkloadMetadata, WorkloadMetadataRefusal> {
  if (!isJsonObject(json)) return fail("malformed-metadata", "no object");
  const unknown = Object.keys(json).find((key) => !members.has(key));
  if (unknown !== undefined) return fail("malformed-metadata", "unknown member");
  const { instance, service, node, labels, team, environment } = json;
  if (typeof instance !== "string" || !uuidPattern.test(instance))
    return fail("malformed-metadata", "instance");
  if (typeof service !== "string") return fail("malformed-metadata", "service");
  const name = parseServiceName(service);
  if (!name.ok) return fail("malformed-metadata", `service: ${name.reason}`);
  if (typeof node !== "string" || !isNodeName(node)) return fail("malformed-metadata", "node");
  const checkedLabels = labelsOf(labels);
  if (checkedLabels === undefined) return fail("malformed-metadata", "labels");
  if (!isWordOrAbsent(team)) return fail("malformed-metadata", "team");
  if (!isWordOrAbsent(environment)) return fail("malformed-metadata", "environment");
  return ok({
    instance,
    service: name.value,
    node,
    labels: checkedLabels,
    ...(team === undefined ? {} : { team }),
    ...(environment === undefined ? {} : { environment }),
  });
}

function labelsOf(json: Json | undefined): Readonly<Record<string, string>> | undefined {
  if (!isJsonObject(json)) return undefined;
  const labels: [string, string][] = [];
  for (const [key, value] of Object.entries(json)) {
    if (!word.test(key) || typeof value !== "string") return undefined;
    if (value !== "" && !word.test(value)) return undefined;
    labels.push([key, value]);
  }
  // fromEntries defines own members, whatever their names are.
  return labels.length <= labelsMax ? Object.fromEntries(labels) : undefined;
}

function isWordOrAbsent(json: Json | undefined): json is string | undefined {
  return json === undefined || (typeof json === "string" && word.test(json));
}
