import { readFile } from "node:fs/promises";
import { messageOf } from "../../base/mesh-error.ts";
import { parseVulnerabilityFeed } from "../../control-plane/index.ts";
import { writeFileAtomically } from "../../storage/index.ts";
import { CliError, exitCode } from "../exit-codes.ts";
import { type InstanceView, instanceViews } from "../instance-views.ts";
import { meshDirectory } from "../mesh-directory.ts";
import { type NewEntry, OperatorClient } from "../operator-client.ts";
import { blockOf, durationOf, momentOf, type OutputFormat, printAnswer } from "../output.ts";
import { reachedInWords } from "../proxy-progress.ts";
import { gatherFacts, type MeshFacts } from "../resources.ts";
import { requireReached, writeEntries } from "../write-entries.ts";

/** Fewer characters of an identifier could be meant for anything. */
const idCharactersMin = 4;

/** What every `troth instance` command takes. */
interface InstanceOptions {
  readonly dir: string;
  readonly output: OutputFormat;
}

/** What those take that write a decision. */
interface DecisionOptions extends InstanceOptions {
  readonly all: boolean;
  readonly wait: boolean;
  /** In seconds. */
  readonly timeout: number;
}

/** `troth instance show NAME`: state, why, the decision in force, and how it does. */
export async function showInstances(name: string, options: InstanceOptions): Promise<void> {
  using client = await OperatorClient.open(meshDirectory(options.dir));
  const facts = await gatherFacts(client);
  const items = viewsNamed(name, facts);
  printAnswer(options.output, "InstanceList", { items }, () =>
    items.map((view) => blockOf(linesOf(view, facts.nowSeconds))).join("\n"),
  );
}

/** `troth instance degrade` and `quarantine`: an operator's decision, in force until it is released. */
export async function decideInstances(
  name: string,
  options: DecisionOptions & { readonly kind: "degrade" | "quarantine"; readonly reason: string },
): Promise<void> {
  const kind = `instance.${options.kind}` as const;
  await write(name, options, (views) =>
    views.map(({ instance }) => ({ kind, body: { instance, reason: options.reason, evidence: {} } })),
  );
}

/** `troth instance release`: ends the decision in force, or the one that is named, if it still is. */
export async function releaseInstances(
  name: string,
  options: DecisionOptions & { readonly decision?: number },
): Promise<void> {
  await write(name, options, (views) => {
    if (options.decision !== undefined && views.length > 1)
      throw new CliError(exitCode.usage, "a decision is on one instance; name that one");
    return views.map((view) => {
      const { instance, decision } = view;
      if (decision === null)
        throw new CliError(
          exitCode.no,
          `${instance.slice(0, 8)} is ${view.state}: there is no decision on it to end`,
        );
      const named = options.decision ?? decision.decision;
      if (named !== decision.decision)
        throw new CliError(
          exitCode.no,
          `decision ${named} on ${instance.slice(0, 8)} is not in force any more: decision ${decision.decision} has taken its place (${decision.reason}); look at it, and release that one: troth instance show ${instance.slice(0, 8)}`,
        );
      return { kind: "instance.release", body: { instance, decision: named } };
    });
  });
}

/** `troth cve load FILE`: gives the control plane of this machine a feed of known vulnerabilities. */
export async function loadVulnerabilities(file: string, options: InstanceOptions): Promise<void> {
  const directory = meshDirectory(options.dir);
  const bytes = await readFile(file).catch((error: unknown) => {
    throw new CliError(exitCode.unreadable, `${file}: ${messageOf(error)}`);
  });
  const feed = parseVulnerabilityFeed(bytes);
  if (!feed.ok) throw new CliError(exitCode.unreadable, `${file}: ${feed.detail}`);
  await writeFileAtomically(directory.vulnerabilities, bytes, 0o600);
  const answer = { vulnerabilities: feed.value.length, file: directory.vulnerabilities };
  printAnswer(
    options.output,
    "VulnerabilityReport",
    answer,
    () => `${feed.value.length} vulnerabilities known from now on; troth services --wide shows who has one\n`,
  );
}

async function write(
  name: string,
  options: DecisionOptions,
  entriesOf: (views: readonly InstanceView[]) => readonly NewEntry[],
): Promise<void> {
  using client = await OperatorClient.open(meshDirectory(options.dir));
  const facts = await gatherFacts(client);
  const views = viewsNamed(name, facts);
  if (views.length > 1 && !options.all)
    throw new CliError(
      exitCode.usage,
      `${name} has ${views.length} instances: ${views.map(({ instance }) => instance.slice(0, 8)).join(", ")}; name one, or say --all`,
    );
  const waitMillisMax = options.timeout * 1000;
  const { size, proposals, proxies } = await writeEntries(
    client,
    entriesOf(views),
    options.wait ? waitMillisMax : undefined,
  );
  await client.refresh();
  const after = instanceViews({ ...facts, state: client.state });
  const items = views.map(({ instance }) => {
    const view = after.find((one) => one.instance === instance);
    return { instance, state: view?.state ?? "withdrawn", decision: view?.decision ?? null };
  });
  const answer = { items, treeSize: size, proposals, ...(proxies === undefined ? {} : { proxies }) };
  printAnswer(options.output, "InstanceDecision", answer, () => {
    const lines = items.map(
      ({ instance, state, decision }) =>
        `instance/${instance} ${proposals.length > 0 ? "waits for more signatures" : state}${decision === null ? "" : ` by decision ${decision.decision}`}\n`,
    );
    return `${lines.join("")}tree size ${size}${proxies === undefined ? "" : `: ${reachedInWords(proxies)}`}\n`;
  });
  if (proxies !== undefined) requireReached(proxies, size, waitMillisMax);
}

/** The instances that a name means: an id, the beginning of one, or a service with all of its. */
function viewsNamed(name: string, facts: MeshFacts): InstanceView[] {
  const service = name.startsWith("/") ? name : `/${name}`;
  const found = instanceViews(facts).filter(
    (view) => view.service === service || (name.length >= idCharactersMin && view.instance.startsWith(name)),
  );
  if (found.length === 0)
    throw new CliError(exitCode.notFound, `no instance ${name}; see: troth services --wide`);
  return found;
}

function linesOf(view: InstanceView, nowSeconds: number): [string, string][] {
  const { decision, sinceSeconds, vulnerability, certificateNotAfterSeconds: ends } = view;
  const evidence = Object.entries(decision?.evidence ?? {}).map(([name, value]) => `${name} ${value}`);
  const millis = [view.p50Millis, view.p90Millis, view.p99Millis].map((value) => value.toFixed(1)).join(", ");
  const lifted = decision?.liftedBy === "operator" ? "an operator" : "an operator, or the control plane";
  return [
    ["Instance", view.instance],
    ["Service", view.service],
    ["Node", `${view.node}${view.zone === "" ? "" : ` (zone ${view.zone})`}`],
    ["State", `${view.state}${sinceSeconds === null ? "" : ` since ${momentOf(sinceSeconds)}`}`],
    ["Why", view.why],
    ["Decision", decision === null ? "none" : `${decision.decision}: ${decision.reason}; ended by ${lifted}`],
    ["Evidence", evidence.join(", ")],
    ["Withheld", view.withheld],
    ["Health", view.health],
    ["Requests", `${view.inFlight} in flight, ${view.requestsPerSecond.toFixed(1)} a second`],
    ["Answers", `${millis} ms (p50, p90, p99), ${view.errorPercent.toFixed(1)} % errors`],
    ["Callers see", `${view.callerErrorPercent.toFixed(1)} % errors in ${view.callerRequests} requests`],
    [
      "Processes",
      view.memoryBytes === null
        ? "cannot be seen"
        : `${(view.cpuPercent ?? 0).toFixed(1)} % of a core, ${Math.round(view.memoryBytes / 1024 / 1024)} MiB`,
    ],
    [
      "Vulnerability",
      vulnerability === null ? "none known" : `${vulnerability.id}, CVSS ${vulnerability.cvss}`,
    ],
    ["Certificate", ends === null ? "none" : `ends in ${durationOf(Math.max(0, ends - nowSeconds))}`],
  ];
}
