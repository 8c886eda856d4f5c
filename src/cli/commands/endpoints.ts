import { z } from "zod";
import { CliError, exitCode } from "../exit-codes.ts";
import { durationOf, type OutputFormat, printAnswer, tableOf } from "../output.ts";
import { readConfigOf } from "./proxies.ts";
import { requireServiceName } from "./run-service.ts";

const endpointSchema = z.looseObject({
  service: z.string(),
  instance: z.string(),
  address: z.string(),
  zone: z.string(),
  isAvoided: z.boolean(),
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

type EndpointShown = z.infer<typeof endpointSchema>;

/** `troth proxy endpoints NAME`: whom a proxy calls, as it says itself, and whom it leaves out. */
export async function proxyEndpoints(
  name: string,
  options: { dir: string; output: OutputFormat; service?: string },
): Promise<void> {
  const { instance, config } = await readConfigOf(name, options.dir);
  const read = configSchema.safeParse(config);
  if (!read.success)
    throw new CliError(exitCode.unreadable, "this proxy tells of its endpoints in another way; is it older?");
  const { zone, endpoints } = read.data;
  const service = options.service === undefined ? undefined : requireServiceName(options.service);
  const items = Object.values(endpoints)
    .flat()
    .filter((one) => service === undefined || one.service === service)
    .sort((left, right) => (sortKey(left) < sortKey(right) ? -1 : 1));
  printAnswer(options.output, "ProxyEndpointList", { instance, zone, items }, () => {
    if (items.length === 0) return "It knows of nobody to call.\n";
    const isWide = options.output === "wide";
    return tableOf(
      ["SERVICE", "INSTANCE", "ZONE", "IN FLIGHT", "STATE", ...(isWide ? ["ADDRESS"] : [])],
      items.map((one) => [
        one.service,
        isWide ? one.instance : one.instance.slice(0, 8),
        zoneText(one, zone),
        String(one.inFlight),
        stateText(one),
        ...(isWide ? [one.address] : []),
      ]),
    );
  });
}

function sortKey({ service, instance }: EndpointShown): string {
  return `${service} ${instance}`;
}

function zoneText(one: EndpointShown, own: string): string {
  if (one.zone === "") return "-";
  return one.zone === own ? `${one.zone} (own)` : one.zone;
}

/** Whether it is sent requests, and if not, why and until when. */
function stateText({ standing, ejectedFor, ejectedSeconds, ejections, isAvoided }: EndpointShown): string {
  const times = ejections > 1 ? `, ${ejections} times lately` : "";
  if (standing === "out") return `out for ${durationOf(ejectedSeconds)} more: ${ejectedFor}${times}`;
  if (standing === "probation") return `on probation: was out for ${ejectedFor}${times}`;
  return isAvoided ? "left alone: could not be reached" : "in";
}
