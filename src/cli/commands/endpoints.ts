import { CliError, exitCode } from "../exit-codes.ts";
import { type OutputFormat, printAnswer, tableOf } from "../output.ts";
import { type EndpointShown, endpointsIn, stateText } from "../proxy-endpoints.ts";
import { readConfigOf } from "./proxies.ts";
import { requireServiceName } from "./run-service.ts";

/** `troth proxy endpoints NAME`: whom a proxy calls, as it says itself, and whom it leaves out. */
export async function proxyEndpoints(
  name: string,
  options: { dir: string; output: OutputFormat; service?: string },
): Promise<void> {
  const { instance, config } = await readConfigOf(name, options.dir);
  const read = endpointsIn(config);
  if (read === undefined)
    throw new CliError(exitCode.unreadable, "this proxy tells of its endpoints in another way; is it older?");
  const { zone, endpoints } = read;
  const service = options.service === undefined ? undefined : requireServiceName(options.service);
  const items = endpoints
    .filter((one) => service === undefined || one.service === service)
    .sort((left, right) => (sortKey(left) < sortKey(right) ? -1 : 1));
  printAnswer(options.output, "ProxyEndpointList", { instance, zone, items }, () => {
    if (items.length === 0) return "It knows of nobody to call.\n";
    const isWide = options.output === "wide";
    const hasRouters = items.some(({ via }) => via !== "");
    return tableOf(
      [
        "SERVICE",
        "INSTANCE",
        "ZONE",
        ...(hasRouters ? ["THROUGH"] : []),
        "IN FLIGHT",
        "STATE",
        ...(isWide ? ["ADDRESS"] : []),
      ],
      items.map((one) => [
        one.service,
        isWide ? one.instance : one.instance.slice(0, 8),
        zoneText(one, zone),
        ...(hasRouters ? [throughText(one, isWide)] : []),
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

/** The router that it is reached through, as service and instance. */
function throughText({ via }: EndpointShown, isWide: boolean): string {
  const [service = "", instance = ""] = via.split(" ");
  if (service === "") return "-";
  return `${service} ${isWide ? instance : instance.slice(0, 8)}`;
}

function zoneText(one: EndpointShown, own: string): string {
  if (one.zone === "") return "-";
  return one.zone === own ? `${one.zone} (own)` : one.zone;
}
