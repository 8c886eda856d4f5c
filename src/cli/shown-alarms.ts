/** Rows that one node's alarms take, and those of all nodes. */
const perNodeShownMax = 3;
const ofNodesShownMax = 10;

/** An alarm as the control plane tells it. */
interface Told {
  readonly reason: string;
  readonly detail: string;
}

/**
 * The alarms that a person sees first, oldest first: the latest of each reason that the control plane has of its own,
 * and a few of each node's. Nodes may report as much as they like, under whatever reason; none of it hides another's.
 */
export function shownAlarms<Alarm extends Told>(alarms: readonly Alarm[], nodes: readonly string[]): Alarm[] {
  const byNode = Map.groupBy(alarms, ({ detail }) => nodes.find((node) => detail.startsWith(`${node}: `)));
  const ofControlPlane = Map.groupBy(byNode.get(undefined) ?? [], ({ reason }) => reason);
  byNode.delete(undefined);
  const ofNodes = new Set([...byNode.values()].flatMap((told) => told.slice(-perNodeShownMax)));
  const shown = new Set([
    ...[...ofControlPlane.values()].flatMap((told) => told.slice(-1)),
    ...alarms.filter((alarm) => ofNodes.has(alarm)).slice(-ofNodesShownMax),
  ]);
  return alarms.filter((alarm) => shown.has(alarm));
}
