import { fail, ok, type Result } from "../base/result.ts";
import { parseSpiffeId, pathOf, type SpiffeId, spiffePathRefusal, type TrustDomain } from "./spiffe-id.ts";

declare const serviceName: unique symbol;

/** The checked name of a service, which is also a service prefix: `/shop/payments`. */
export type ServiceName = string & { readonly [serviceName]: true };

/** Why a text is not a service's name. */
export type ServiceNameRefusal =
  | "no-leading-slash"
  | "too-long"
  | "too-many-segments"
  | "segment-too-long"
  | "reserved"
  | NonNullable<ReturnType<typeof spiffePathRefusal>>["reason"];

/** The longest service name, in bytes. */
export const serviceNameBytesMax = 255;

/** How many segments a service name may have. */
export const serviceNameSegmentsMax = 16;

/** The longest segment of a service name, in bytes. */
export const serviceNameSegmentBytesMax = 63;

// Below this segment stand the mesh's own parts: /troth/control-plane, /troth/node/<node name>.
const reservedSegment = "troth";
const nodePrefix = `/${reservedSegment}/node/`;
const controlPlanePath = `/${reservedSegment}/control-plane`;

const authoritySuffix = ".mesh";
const authorityBytesMax = 253;
const dnsLabel = /^[a-z0-9](?:[a-z0-9-]*[a-z0-9])?$/;

/**
 * Reads the name of a service: 1 to 16 times a slash and a segment of 1 to 63 characters `[A-Za-z0-9._-]` that is
 * neither `.` nor `..`, 255 bytes in all, compared byte by byte. Names whose first segment is `troth` are reserved.
 */
export function parseServiceName(text: string): Result<ServiceName, ServiceNameRefusal> {
  if (!text.startsWith("/")) return fail("no-leading-slash");
  if (text.length > serviceNameBytesMax) return fail("too-long", `${text.length} characters`);
  const pathRefusal = spiffePathRefusal(text);
  if (pathRefusal !== undefined) return pathRefusal;
  const segments = segmentsOf(text);
  if (segments.length > serviceNameSegmentsMax) return fail("too-many-segments", `${segments.length}`);
  const long = segments.find((segment) => segment.length > serviceNameSegmentBytesMax);
  if (long !== undefined) return fail("segment-too-long", long);
  if (segments[0] === reservedSegment) return fail("reserved", text);
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- brands what was checked above
  return ok(text as ServiceName);
}

/** The SPIFFE ID of the workloads behind a service: `spiffe://shop.example/shop/payments`. */
export function spiffeIdOfService(domain: TrustDomain, service: ServiceName): SpiffeId {
  return spiffeIdOfPath(domain, service);
}

/** The service that a SPIFFE ID speaks for; undefined for the mesh's own parts and for paths that name no service. */
export function serviceNameOfSpiffeId(id: SpiffeId): ServiceName | undefined {
  const parsed = parseServiceName(pathOf(id));
  return parsed.ok ? parsed.value : undefined;
}

/** The host name by which an application calls a service: segments reversed under `.mesh`; undefined where a segment
 * is not a lower-case DNS label. */
export function authorityOfServiceName(service: ServiceName): string | undefined {
  const labels = segmentsOf(service);
  if (!labels.every((label) => dnsLabel.test(label))) return undefined;
  const host = `${labels.reverse().join(".")}${authoritySuffix}`;
  return host.length <= authorityBytesMax ? host : undefined;
}

/** The service that a host name without port stands for: `payments.shop.mesh` is `/shop/payments`. Lower case only. */
export function serviceNameOfAuthority(host: string): ServiceName | undefined {
  if (host.length > authorityBytesMax || !host.endsWith(authoritySuffix)) return undefined;
  const labels = host.slice(0, -authoritySuffix.length).split(".");
  if (!labels.every((label) => dnsLabel.test(label))) return undefined;
  const parsed = parseServiceName(`/${labels.reverse().join("/")}`);
  return parsed.ok ? parsed.value : undefined;
}

/** The SPIFFE ID of a trust domain's control plane. */
export function spiffeIdOfControlPlane(domain: TrustDomain): SpiffeId {
  return spiffeIdOfPath(domain, controlPlanePath);
}

/** Whether this is the SPIFFE ID of its trust domain's control plane. */
export function isControlPlane(id: SpiffeId): boolean {
  return pathOf(id) === controlPlanePath;
}

/** The SPIFFE ID of a node's agent; undefined unless the node's name is one segment of a service name. */
export function spiffeIdOfNode(domain: TrustDomain, node: string): SpiffeId | undefined {
  return isNodeName(node) ? spiffeIdOfPath(domain, `${nodePrefix}${node}`) : undefined;
}

/** The name of the node whose agent has this SPIFFE ID; undefined where it is nobody's agent. */
export function nodeNameOfSpiffeId(id: SpiffeId): string | undefined {
  const path = pathOf(id);
  if (!path.startsWith(nodePrefix)) return undefined;
  const node = path.slice(nodePrefix.length);
  return isNodeName(node) ? node : undefined;
}

/** Whether a text can be a node's name: one segment of a service name. */
export function isNodeName(text: string): boolean {
  return /^[A-Za-z0-9._-]{1,63}$/.test(text) && text !== "." && text !== "..";
}

function spiffeIdOfPath(domain: TrustDomain, path: string): SpiffeId {
  const parsed = parseSpiffeId(`spiffe://${domain}${path}`);
  if (!parsed.ok) throw new RangeError(`no SPIFFE ID: ${domain}${path}`);
  return parsed.value;
}

function segmentsOf(path: string): string[] {
  return path.slice(1).split("/");
}
