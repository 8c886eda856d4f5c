import type { FollowerStatus } from "../../protocol/index.ts";
import { instanceCells, instanceHeadings, instanceViews } from "../instance-views.ts";
import { meshDirectory } from "../mesh-directory.ts";
import { OperatorClient } from "../operator-client.ts";
import { type OutputFormat, printAnswer, tableOf } from "../output.ts";
import { gatherFacts, type MeshFacts } from "../resources.ts";

/** `troth services`: what is registered, who may call it, what serves it. */
export async function services(options: {
  readonly dir: string;
  readonly output: OutputFormat;
  readonly wide: boolean;
}): Promise<void> {
  using client = await OperatorClient.open(meshDirectory(options.dir));
  const facts = await gatherFacts(client);
  if (options.wide || options.output === "wide") return showWide(facts, options.output);
  const { followers } = facts.status;
  const { state } = facts;
  const rules = [...state.rules.entries()].map(([, rule]) => rule);
  const items = [...state.services.entries()].map(([name, row]) => ({
    name,
    dataClass: row.dataClass,
    team: row.team,
    environment: row.environment,
    nodes: row.nodes,
    labels: row.labels,
    serving: countServing(followers, name),
    instances: [...state.instances.entries()].filter(([, instance]) => instance.service === name).length,
    callers: rules.filter(({ to, effect }) => to === name && effect === "allow").map(({ from }) => from),
  }));
  items.sort((left, right) => (left.name < right.name ? -1 : 1));
  printAnswer(options.output, "ServiceList", { items }, () =>
    items.length === 0
      ? "No service is registered. troth run --service NAME -- COMMAND registers one.\n"
      : tableOf(
          ["SERVICE", "SERVING", "DATA CLASS", "TEAM", "CALLED AS", "MAY BE CALLED BY"],
          items.map((item) => [
            item.name,
            `${item.serving}/${item.instances}`,
            item.dataClass,
            item.team,
            `${item.name.slice(1).split("/").toReversed().join(".")}.mesh`,
            item.callers.join(", ") || "nobody",
          ]),
        ),
  );
}

function countServing(followers: readonly FollowerStatus[], service: string): number {
  return followers.filter((follower) => follower.service === service && follower.address !== "").length;
}

/** Every instance under its service, with its state and how it does. */
function showWide(facts: MeshFacts, format: OutputFormat): void {
  const items = instanceViews(facts);
  const idle = [...facts.state.services.entries()]
    .map(([name]) => name)
    .filter((name) => items.every(({ service }) => service !== name));
  printAnswer(format, "InstanceList", { items, servicesWithoutInstances: idle }, () => {
    const rows = items.map((view) => instanceCells(view, facts.nowSeconds));
    const table = rows.length === 0 ? "No instance runs.\n" : tableOf(instanceHeadings, rows);
    const withheld = items
      .filter((view) => view.withheld !== "")
      .map((view) => `Not decided: ${view.service} ${view.instance.slice(0, 8)} ${view.withheld}\n`);
    const rest = idle.length === 0 ? "" : `Without instances: ${idle.join(", ")}\n`;
    return `${table}${withheld.join("")}${rest}`;
  });
}
