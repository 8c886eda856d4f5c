import { z } from "zod";
import { ask, type Workload } from "./workload.ts";

const endpointSchema = z.looseObject({
  instance: z.string(),
  zone: z.string(),
  via: z.string(),
  standing: z.enum(["in", "out", "probation"]),
  ejectedFor: z.string(),
  ejectedSeconds: z.number(),
  isAvoided: z.boolean(),
  inFlight: z.number(),
});
const configSchema = z.looseObject({
  zone: z.string(),
  endpoints: z.record(z.string(), z.array(endpointSchema)),
});

/** An instance as a proxy sees it. */
export type EndpointSeen = z.infer<typeof endpointSchema>;

/** What a proxy says at `/config` of its own zone and of whom it calls. */
export async function configOf({ sidecar }: Workload): Promise<z.infer<typeof configSchema>> {
  const [host, port] = sidecar.adminAddress.split(":");
  const { body } = await ask({ host, port, path: "/config", agent: false });
  return configSchema.parse(JSON.parse(body));
}

/** The instances of a service, as a caller's proxy sees them. */
export async function endpointsOf(caller: Workload, service: string): Promise<readonly EndpointSeen[]> {
  return (await configOf(caller)).endpoints[service] ?? [];
}

/** One instance, as a caller's proxy sees it; throws where it does not know it. */
export async function endpointOf(
  caller: Workload,
  { service, instance }: Pick<Workload, "service" | "instance">,
): Promise<EndpointSeen> {
  const found = (await endpointsOf(caller, service)).find((one) => one.instance === instance);
  if (found === undefined) throw new Error(`${service} ${instance} is not known`);
  return found;
}
