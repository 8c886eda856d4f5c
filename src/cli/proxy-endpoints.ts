import { z } from "zod";
import { readMembership } from "./membership.ts";
import type { MeshDirectory } from "./mesh-directory.ts";
import { durationOf } from "./output.ts";
import { readProxyConfig } from "./read-proxy-config.ts";
import { followersOf, type MeshFacts } from "./resources.ts";

/** Proxies of this machine that are asked at once. */
const askedMax = 64;

const endpointSchema = z.looseObject({
  service: z.string(),
  instance: z.string(),
  address: z.string(),
  zone: z.string(),
  /** Of a proxy that knows routers: the one that it is reached through, as service and instance. */
  via: z.string().default(""),
  isAvoided: z.boolean(),
  isDegraded: z.boolean().default(false),
  standing: z.enum(["in", "out", "probation"]),
  ejectedFor: z.string(),
  ejectedSeconds: z.number(),
  ejections: z.number(),
  inFlight: z.number(),
});
const configSchema = z.looseObject({
  zone: z.string(),
  endpoints: z.record(z.string(), z.array(endpointSchema)),
});

/** An instance as a proxy that calls it sees it. */
export type EndpointShown = z.infer<typeof endpointSchema>;

/** What a proxy's configuration says of its own zone and of whom it calls; undefined where it says that otherwise. */
export function endpointsIn(
  config: unknown,
): { readonly zone: string; readonly endpoints: readonly EndpointShown[] } | undefined {
  const read = configSchema.safeParse(config);
  if (!read.success) return undefined;
  const { zone, endpoints } = read.data;
  return { zone, endpoints: Object.values(endpoints).flat() };
}

/** Whether it is sent requests, and if not, why and until when. */
export function stateText({
  standing,
  ejectedFor,
  ejectedSeconds,
  ejections,
  isAvoided,
  isDegraded,
}: EndpointShown): string {
  const times = ejections > 1 ? `, ${ejections} times lately` : "";
  if (standing === "out") return `out for ${durationOf(ejectedSeconds)} more: ${ejectedFor}${times}`;
  if (standing === "probation") return `on probation: was out for ${ejectedFor}${times}`;
  if (isAvoided) return "left alone: could not be reached";
  return isDegraded ? "degraded: others are preferred" : "in";
}

/** An instance that a proxy of this machine leaves out, or has on probation. */
export interface LeftOut {
  readonly caller: string;
  readonly callerInstance: string;
  readonly instance: string;
  /** Why, and for how long. */
  readonly state: string;
}

/** Who leaves out instances of a service, of the proxies of this machine that answer; others are not asked. */
export async function leftOutOf(
  service: string,
  facts: MeshFacts,
  directory: MeshDirectory,
): Promise<readonly LeftOut[]> {
  const here = (await readMembership(directory))?.node;
  const followers = followersOf(facts);
  const callers = [...facts.state.instances.entries()]
    .filter(([id, { node }]) => node === here && followers.has(id))
    .slice(0, askedMax);
  const found = callers.map(async ([callerInstance, { service: caller }]): Promise<LeftOut[]> => {
    const config = await readProxyConfig(followers.get(callerInstance)?.adminAddress ?? "").catch(() => {});
    return (endpointsIn(config)?.endpoints ?? [])
      .filter((one) => one.service === service && (one.standing !== "in" || one.isAvoided || one.isDegraded))
      .map((one) => ({ caller, callerInstance, instance: one.instance, state: stateText(one) }));
  });
  return (await Promise.all(found)).flat();
}
