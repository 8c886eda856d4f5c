import { manifestsOf, type TrafficPolicyManifest } from "../../configuration/index.ts";
import { covers } from "../../policy/index.ts";
import { isTcpService } from "../../trust-log/index.ts";
import { meshDirectory } from "../mesh-directory.ts";
import { OperatorClient } from "../operator-client.ts";
import { blockOf, durationOf, isData, momentOf, type OutputFormat, printObjects } from "../output.ts";
import { type LeftOut, leftOutOf } from "../proxy-endpoints.ts";
import { proxyStateOf, proxyStateText } from "../proxy-state.ts";
import { cellText } from "../resource-table.ts";
import {
  followersOf,
  gatherFacts,
  type MeshFacts,
  type Resource,
  requireResourceKind,
  requireResources,
} from "../resources.ts";
import { routeText, trafficPairs, trafficSummary } from "../traffic-words.ts";

const alarmsShownMax = 5;
const longestAgoSeconds = 24 * 3600;

type Pairs = [string, string | readonly string[]][];

/** `troth describe KIND NAME`: everything about an object, and what stands in relation to it. */
export async function describe(
  kindText: string,
  name: string,
  options: { dir: string; output: OutputFormat },
): Promise<void> {
  const kind = requireResourceKind(kindText);
  const directory = meshDirectory(options.dir);
  using client = await OperatorClient.open(directory);
  const facts = await gatherFacts(client);
  const found = requireResources(kind, name, facts);
  // Of services, which have whole names, there is but one.
  const leftOut = kind === "Service" ? await leftOutOf(found[0]?.metadata.name ?? "", facts, directory) : [];
  const objects = found.map((one) => (isData(options.output) ? withRelations(one, facts, leftOut) : one));
  printObjects(options.output, { kind, objects, isList: objects.length > 1 }, () =>
    objects.map((one) => blockOf(pairsOf(one, facts, leftOut))).join("\n"),
  );
}

function pairsOf(one: Resource, facts: MeshFacts, leftOut: readonly LeftOut[]): Pairs {
  const { kind, metadata } = one;
  const policy = kind === "TrafficPolicy" ? trafficPolicyOf(metadata.name, facts) : undefined;
  if (policy !== undefined) return trafficPairs(policy);
  return kind === "Service" ? servicePairs(one, facts, leftOut) : plainPairs(one, facts);
}

function trafficPolicyOf(name: string, { state }: MeshFacts): TrafficPolicyManifest | undefined {
  return manifestsOf(state)
    .filter((one) => one.kind === "TrafficPolicy")
    .find(({ metadata }) => metadata.name === name);
}

/** What the block for people says beyond the object, for programs. */
function withRelations(one: Resource, facts: MeshFacts, leftOut: readonly LeftOut[]): Resource {
  if (one.kind !== "Service") return one;
  const { incoming, outgoing } = rulesAbout(one.metadata.name, facts);
  const relations = {
    calledOver: isTcpService(facts.state, one.metadata.name) ? "tcp" : "http",
    mayBeCalledBy: incoming,
    mayCall: outgoing,
    proxies: instancesOf(one.metadata.name, facts).map((instance) => proxyOf(instance, facts)),
    leftOut,
    alarms: alarmsAbout(one.metadata.name, facts),
  };
  return { ...one, status: { ...one.status, ...relations } };
}

function servicePairs(one: Resource, facts: MeshFacts, leftOut: readonly LeftOut[]): Pairs {
  const { name } = one.metadata;
  const { incoming, outgoing } = rulesAbout(name, facts);
  const isTcp = isTcpService(facts.state, name);
  const pairs: Pairs = [
    ["Service", name],
    ["SPIFFE ID", cellText(one.status["spiffeId"])],
    ["Called over", isTcp ? `TCP; callers get a port with: troth run --tcp ${name}` : "HTTP"],
    ["Called as", cellText(one.status["authority"]) || "not by a host name: a segment is no DNS label"],
    ["Data class", cellText(one.spec["dataClass"])],
    ["Team", cellText(one.spec["team"])],
    ["Environment", cellText(one.spec["environment"])],
    ["Labels", cellText(one.spec["labels"])],
    ["Nodes", cellText(one.spec["nodes"])],
    [
      "May be called by",
      incoming.length === 0
        ? `nobody; an operator may run: troth allow CALLER ${name}`
        : incoming.map((rule) => ruleText(rule.from, rule, isTcp)),
    ],
    ["May call", outgoing.length === 0 ? "nobody" : outgoing.map((rule) => ruleText(rule.to, rule, false))],
  ];
  const traffic = trafficPolicyOf(name, facts);
  if (traffic !== undefined) pairs.push(["Traffic policy", trafficSummary(traffic) || "nothing"]);
  for (const route of traffic?.spec.routes ?? [])
    if (route.fault !== undefined) pairs.push(["Injected fault", routeText(route)]);
  const instances = instancesOf(name, facts);
  if (instances.length === 0)
    pairs.push(["Instances", `none; troth run --service ${name} -- COMMAND starts one`]);
  for (const instance of instances) {
    const proxy = proxyOf(instance, facts);
    pairs.push(
      ["Instance", `${instance} on ${proxy.node}${proxy.zone === "" ? "" : `, in the zone ${proxy.zone}`}`],
      [
        "Proxy",
        `${proxy.state}, size ${proxy.treeSize}${proxy.address === "" ? ", serves nothing" : `, serves at ${proxy.address}`}`,
      ],
      ["Certificates", certificatesOf(instance, facts)],
    );
  }
  const alarms = alarmsAbout(name, facts);
  pairs.push([
    "Left out here",
    leftOut.length === 0
      ? "by no caller's proxy on this machine"
      : leftOut.map(
          ({ caller, callerInstance, instance, state }) =>
            `${instance.slice(0, 8)} by ${caller} ${callerInstance.slice(0, 8)}: ${state}`,
        ),
  ]);
  pairs.push([
    "Alarms",
    alarms.length === 0
      ? "none about it"
      : alarms.map(({ reason, detail, secondsAgo }) => `${durationOf(secondsAgo)} ago: ${reason}: ${detail}`),
  ]);
  return pairs;
}

function plainPairs(one: Resource, { nowSeconds }: MeshFacts): Pairs {
  const shown = (field: string, value: unknown): string | readonly string[] => {
    if (field.endsWith("AtSeconds") && typeof value === "number")
      return `${momentOf(value)}, ${durationOf(nowSeconds - value)} ago`;
    if (field.endsWith("AfterSeconds") && typeof value === "number") return momentOf(value);
    if (/Seconds(Ago)?$/.test(field) && typeof value === "number")
      return field.endsWith("Ago") ? `${durationOf(value)} ago` : `${value.toFixed(1)} s`;
    if (typeof value === "boolean") return value ? "yes" : "no";
    return Array.isArray(value) && value.length > 0 ? value.map(cellText) : cellText(value);
  };
  const fields = [...Object.entries(one.spec), ...Object.entries(one.status)];
  return [
    [one.kind, one.metadata.name],
    ...fields.map(([field, value]): Pairs[number] => [labelOf(field), shown(field, value)]),
  ];
}

/** `dataClass` is shown as "Data class", `notAfterSeconds` as "Not after". */
function labelOf(field: string): string {
  const words = field
    .replace(/Seconds(Ago)?$/, "")
    .replaceAll(/([A-Z])/g, " $1")
    .toLowerCase();
  return `${words.charAt(0).toUpperCase()}${words.slice(1)}`.replace("Spiffe id", "SPIFFE ID");
}

interface ShownRule {
  readonly from: string;
  readonly to: string;
  readonly effect: "allow" | "deny";
  readonly methods: readonly string[];
  readonly paths: readonly string[];
}

function rulesAbout(name: string, { state }: MeshFacts): { incoming: ShownRule[]; outgoing: ShownRule[] } {
  const rules = [...state.rules.entries()]
    .map(([, { from, to, effect, methods, paths }]) => ({ from, to, effect, methods, paths }))
    .sort((left, right) => (`${left.from} ${left.to}` < `${right.from} ${right.to}` ? -1 : 1));
  return {
    incoming: rules.filter(({ to }) => covers(to, name)),
    outgoing: rules.filter(({ from }) => covers(from, name)),
  };
}

function ruleText(other: string, { effect, methods, paths }: ShownRule, isTcp: boolean): string {
  const narrowed = [...methods, ...paths].join(" ");
  const says = `${effect === "deny" ? "DENIED " : ""}${other}${narrowed === "" ? "" : `  ${narrowed}`}`;
  if (!isTcp || narrowed === "") return says;
  return `${says}  (${effect === "deny" ? "denies every TCP connection" : "allows no TCP connection"})`;
}

function instancesOf(service: string, { state }: MeshFacts): string[] {
  return [...state.instances.entries()].flatMap(([id, row]) => (row.service === service ? [id] : [])).sort();
}

function proxyOf(
  instance: string,
  facts: MeshFacts,
): { instance: string; node: string; zone: string; state: string; treeSize: number; address: string } {
  const follower = followersOf(facts).get(instance);
  const row = facts.state.instances.get(instance);
  const size = Number(facts.status.size);
  const state = proxyStateText(proxyStateOf(follower, size, row?.isDraining === true), follower, size);
  return {
    instance,
    node: row?.node ?? "",
    zone: facts.state.zones.get(row?.node ?? "")?.zone ?? "",
    state,
    treeSize: Number(follower?.size ?? 0),
    address: follower?.address ?? "",
  };
}

function certificatesOf(instance: string, { state, nowSeconds }: MeshFacts): string[] | string {
  const rows = [...state.certificates.entries()]
    .filter(([, row]) => row.instance === instance)
    .sort(([, left], [, right]) => right.notAfterSeconds - left.notAfterSeconds);
  if (rows.length === 0) return "none in force";
  return rows.map(
    ([, { serial, notAfterSeconds }]) =>
      `serial ${serial}, ends in ${durationOf(notAfterSeconds - nowSeconds)}`,
  );
}

function alarmsAbout(
  service: string,
  { status }: MeshFacts,
): { reason: string; detail: string; secondsAgo: number }[] {
  const named = new RegExp(`${service.replaceAll(/[.\\]/g, "\\$&")}(?![A-Za-z0-9._/-])`);
  return status.alarms
    .filter(({ detail, secondsAgo }) => named.test(detail) && secondsAgo < longestAgoSeconds)
    .slice(-alarmsShownMax)
    .map(({ reason, detail, secondsAgo }) => ({ reason, detail, secondsAgo }));
}
