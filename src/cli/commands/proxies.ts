import { writeYaml } from "../../configuration/index.ts";
import { CliError, exitCode } from "../exit-codes.ts";
import { readMembership } from "../membership.ts";
import { type MeshDirectory, meshDirectory } from "../mesh-directory.ts";
import { OperatorClient } from "../operator-client.ts";
import { durationOf, type OutputFormat, printAnswer, tableOf, talk } from "../output.ts";
import { reachedInWords } from "../proxy-progress.ts";
import { proxyFigures, proxyStateOf, proxyStateText, versionText } from "../proxy-state.ts";
import { readProxyConfig } from "../read-proxy-config.ts";
import { followersOf, gatherFacts, type MeshFacts, requireResources } from "../resources.ts";
import { requireReached, writeEntries } from "../write-entries.ts";

/** The parts of a proxy's configuration that can be asked for by themselves. */
export const configTypes = ["identity", "endpoints", "rules", "limits"] as const;

/** What every `troth proxy` command takes. */
interface ProxyOptions {
  readonly dir: string;
  readonly output: OutputFormat;
}

/** `troth proxy status`: every proxy, how far it has followed the log, and what it has done. */
export async function proxyStatus(options: ProxyOptions): Promise<void> {
  using client = await OperatorClient.open(meshDirectory(options.dir));
  const facts = await gatherFacts(client);
  const items = proxiesOf(facts);
  const { nowSeconds } = facts;
  printAnswer(options.output, "ProxyStatusList", { treeSize: Number(facts.status.size), items }, () => {
    if (items.length === 0)
      return "No proxy runs. troth run --service NAME -- COMMAND starts one beside the application.\n";
    const isWide = options.output === "wide";
    const wide = ["VERSION", "STALENESS", "ADMIN", "MESH", "OUTBOUND ADDRESS"];
    return tableOf(
      [
        "NAME",
        "SERVICE",
        "ROLE",
        "NODE",
        "STATUS",
        "SIZE",
        "CERTIFICATE",
        "FORWARDED",
        "REFUSED",
        "OUTBOUND",
        ...(isWide ? wide : []),
      ],
      items.map((one) => [
        isWide ? one.instance : one.instance.slice(0, 8),
        one.service,
        one.role === "" ? "-" : one.role,
        one.node,
        one.statusText,
        one.state === "silent" ? "-" : String(one.treeSize),
        one.state === "silent" ? "-" : certificateText(one.certificateNotAfterSeconds - nowSeconds),
        String(one.requestsForwarded),
        String(one.requestsRefused),
        String(one.outboundRequests),
        ...(isWide
          ? [
              versionText(one.softwareVersion),
              durationOf(one.stalenessSeconds),
              one.adminAddress,
              one.address,
              one.outboundAddress,
            ]
          : []),
      ]),
    );
  });
}

/** `troth proxy config NAME`: what a proxy of this machine has in force, as it says itself. */
export async function proxyConfig(
  name: string,
  options: ProxyOptions & { type?: (typeof configTypes)[number] },
): Promise<void> {
  const { instance, config } = await readConfigOf(name, options.dir);
  const { type } = options;
  if (type !== undefined && !(type in config))
    throw new CliError(
      exitCode.notFound,
      `this proxy says nothing of its ${type}; it has: ${Object.keys(config).join(", ")}`,
    );
  const shown = type === undefined ? config : { [type]: config[type] };
  printAnswer(options.output, "ProxyConfig", { instance, ...shown }, () => writeYaml([shown]));
}

/** The configuration of the one proxy of this machine that a name means. */
export async function readConfigOf(
  name: string,
  path: string,
): Promise<{ readonly instance: string; readonly config: Record<string, unknown> }> {
  const directory = meshDirectory(path);
  using client = await OperatorClient.open(directory);
  const facts = await gatherFacts(client);
  const [instance, ...others] = instancesNamed(name, facts);
  if (instance === undefined || others.length > 0)
    throw new CliError(
      exitCode.usage,
      `${name} has ${others.length + 1} proxies; name one: ${idsOf([instance ?? "", ...others])}`,
    );
  await requireHere(directory, facts.state.instances.get(instance)?.node ?? "", name);
  const config = await readProxyConfig(followersOf(facts).get(instance)?.adminAddress ?? "");
  return { instance, config };
}

/** `troth proxy drain NAME`: takes instances out of service, or back into it, by entries of the log. */
export async function drainProxy(
  name: string,
  options: ProxyOptions & { resume: boolean; all: boolean; wait: boolean; timeout: number },
): Promise<void> {
  const kind = options.resume ? ("instance.resume" as const) : ("instance.drain" as const);
  using client = await OperatorClient.open(meshDirectory(options.dir));
  const facts = await gatherFacts(client);
  const named = instancesNamed(name, facts);
  if (named.length > 1 && !options.all)
    throw new CliError(
      exitCode.usage,
      `${name} has ${named.length} instances: ${idsOf(named)}; name one, or say --all`,
    );
  const changed = named.filter(
    (instance) => facts.state.instances.get(instance)?.isDraining === options.resume,
  );
  const word = options.resume ? "resumed" : "draining";
  for (const instance of named)
    if (!changed.includes(instance))
      talk(`note: ${instance.slice(0, 8)} is ${options.resume ? "not draining" : "draining already"}`);
  const waitMillisMax = options.timeout * 1000;
  const entries = changed.map((instance) => ({ kind, body: { instance } }));
  const { size, proposals, proxies } = await writeEntries(
    client,
    entries,
    options.wait ? waitMillisMax : undefined,
  );
  const view = {
    instances: changed,
    state: word,
    treeSize: size,
    proposals,
    ...(proxies === undefined ? {} : { proxies }),
  };
  printAnswer(options.output, "DrainReport", view, () => {
    const lines = changed.map((instance) => `instance/${instance} ${word}\n`).join("");
    return `${lines}tree size ${size}${proxies === undefined ? "" : `: ${reachedInWords(proxies)}`}\n`;
  });
  if (proxies !== undefined) requireReached(proxies, size, waitMillisMax);
}

function proxiesOf(facts: MeshFacts) {
  const followers = followersOf(facts);
  const size = Number(facts.status.size);
  return [...facts.state.instances.entries()]
    .filter(([instance]) => followers.get(instance)?.role !== "workload")
    .map(([instance, row]) => {
      const follower = followers.get(instance);
      const state = proxyStateOf(follower, size, row.isDraining);
      return {
        instance,
        service: row.service,
        node: row.node,
        state,
        statusText: proxyStateText(state, follower, size),
        stalenessSeconds: follower?.stalenessSeconds ?? 0,
        ...proxyFigures(follower),
      };
    })
    .sort((left, right) =>
      `${left.service} ${left.instance}` < `${right.service} ${right.instance}` ? -1 : 1,
    );
}

/** The instances that a name means: an id, the beginning of one, or a service with all of its. */
function instancesNamed(name: string, facts: MeshFacts): string[] {
  return requireResources("Instance", name, facts).map(({ metadata }) => metadata.name);
}

function idsOf(instances: readonly string[]): string {
  return instances.map((instance) => instance.slice(0, 8)).join(", ");
}

/** A proxy tells its configuration on its machine's loopback only. */
async function requireHere(directory: MeshDirectory, node: string, name: string): Promise<void> {
  const here = (await readMembership(directory))?.node;
  if (here === node) return;
  throw new CliError(
    exitCode.notFound,
    `${name} runs on ${node}, and a proxy tells its configuration on its own machine only; there, run: troth proxy config ${name}`,
  );
}

function certificateText(secondsLeft: number): string {
  return secondsLeft <= 0 ? "expired" : `ends in ${durationOf(secondsLeft)}`;
}
