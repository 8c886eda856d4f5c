import { authorityOfServiceName, parseServiceName, serviceNameOfAuthority } from "../../identity/index.ts";
import { CliError, exitCode } from "../exit-codes.ts";
import { explainedRoute, type RouteCandidate } from "../explained-route.ts";
import { meshDirectory } from "../mesh-directory.ts";
import { OperatorClient } from "../operator-client.ts";
import { type OutputFormat, printAnswer, tableOf } from "../output.ts";
import { type EndpointShown, endpointsIn, stateText } from "../proxy-endpoints.ts";
import { readConfigOf } from "./proxies.ts";

/** A candidate, and how the caller's own proxy has it where one was named. */
interface SeenCandidate extends RouteCandidate {
  readonly seen: EndpointShown | undefined;
  readonly isNear: boolean;
}

/** `troth route explain NAME`: whose a name is, by the log, and who would be asked for it. */
export async function explainRoute(
  text: string,
  options: { readonly dir: string; readonly output: OutputFormat; readonly from?: string },
): Promise<void> {
  const name = nameOf(text);
  using client = await OperatorClient.open(meshDirectory(options.dir));
  const { followers } = await client.admin.getStatus({});
  const explained = explainedRoute(client.state, followers, name);
  const caller = options.from === undefined ? undefined : await callerOf(options.from, options.dir);
  const candidates = inOrder(explained.candidates, caller);
  const isRouted = candidates.some(({ why, seen }) => why === "" && (caller === undefined || isAsked(seen)));
  printAnswer(options.output, "RouteExplanation", { ...explained, candidates, isRouted }, () => {
    const { match, near, whatWouldChangeIt } = explained;
    const parsed = parseServiceName(name);
    const host = parsed.ok ? authorityOfServiceName(parsed.value) : undefined;
    const lines = [`${name}${host === undefined ? "" : ` (http://${host})`}`];
    if (match === undefined) lines.push("no registered service and no granted prefix covers it");
    else if (match.prefix === name && match.holder === name)
      lines.push("is the registered name of that service");
    else lines.push(`belongs to the prefix ${match.prefix}, which ${match.holder} holds`);
    for (const one of near) lines.push(`not by ${one.prefix} of ${one.holder}: ${one.why}`);
    const table =
      candidates.length === 0
        ? ""
        : tableOf(
            ["ORDER", "INSTANCE", "NODE", "ZONE", "IN FLIGHT", "STATE"],
            candidates.map((one, place) => rowOf(one, place)),
          );
    return `${lines.join("\n")}\n${table}what would change it: ${whatWouldChangeIt}\n`;
  });
  if (!isRouted) throw new CliError(exitCode.no, "");
}

function rowOf(one: SeenCandidate, place: number): string[] {
  const { instance, node, zone, why, seen, isNear } = one;
  const state = why === "" ? (seen === undefined ? "in" : stateText(seen)) : why;
  const order = why === "" ? String(place + 1) : "-";
  const inFlight = seen === undefined ? "-" : String(seen.inFlight);
  return [order, instance.slice(0, 8), node, isNear ? `${zone} (own)` : zone || "-", inFlight, state];
}

/** As the caller's proxy chooses: its own zone first, those that fail last, and of two drawn the one with less to do. */
function inOrder(
  candidates: readonly RouteCandidate[],
  caller: { readonly zone: string; readonly endpoints: readonly EndpointShown[] } | undefined,
): SeenCandidate[] {
  const rank = ({ why, isNear, seen }: SeenCandidate): number =>
    (why === "" ? 0 : 4) + (isAsked(seen) || seen === undefined ? 0 : 2) + (isNear ? 0 : 1);
  return candidates
    .map((one): SeenCandidate => {
      const seen = caller?.endpoints.find(({ instance }) => instance === one.instance);
      const isNear = caller !== undefined && caller.zone !== "" && caller.zone === one.zone;
      return { ...one, seen, isNear };
    })
    .sort(
      (left, right) => rank(left) - rank(right) || (left.seen?.inFlight ?? 0) - (right.seen?.inFlight ?? 0),
    );
}

function isAsked(seen: EndpointShown | undefined): boolean {
  return seen !== undefined && seen.standing !== "out" && !seen.isAvoided;
}

async function callerOf(
  service: string,
  dir: string,
): Promise<{ readonly zone: string; readonly endpoints: readonly EndpointShown[] }> {
  const { config } = await readConfigOf(service, dir);
  const read = endpointsIn(config);
  if (read === undefined)
    throw new CliError(exitCode.unreadable, "this proxy tells of its endpoints in another way; is it older?");
  return read;
}

function nameOf(text: string): string {
  const name = text.startsWith("/") ? parseServiceName(text) : undefined;
  if (name?.ok === true) return name.value;
  const ofHost = serviceNameOfAuthority(text.replace(/^https?:\/\//, "").replace(/[:/].*$/, ""));
  if (ofHost !== undefined) return ofHost;
  throw new CliError(exitCode.usage, `"${text}" is no name; e.g. /media/video/live or live.video.media.mesh`);
}
