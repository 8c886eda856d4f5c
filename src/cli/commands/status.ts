import { meshDirectory } from "../mesh-directory.ts";
import { OperatorClient } from "../operator-client.ts";
import { durationOf, type OutputFormat, printAnswer, tableOf } from "../output.ts";
import { readTargets } from "../scrape-targets.ts";
import { shownAlarms } from "../shown-alarms.ts";
import { systemClock } from "../system.ts";

/** `troth status`: the control plane, the nodes, the instances, and what should not have happened. */
export async function status(options: { dir: string; output: OutputFormat }): Promise<void> {
  const directory = meshDirectory(options.dir);
  using client = await OperatorClient.open(directory);
  const answer = await client.admin.getStatus({});
  const { state, domain } = client;
  const now = systemClock.nowSeconds();
  const size = Number(answer.size);
  const instances = answer.followers.map((follower) => ({
    service: follower.service,
    instance: follower.instance,
    node: state.instances.get(follower.instance)?.node ?? "",
    isServing: follower.address !== "",
    address: follower.address,
    adminAddress: follower.adminAddress,
    size: Number(follower.size),
    requestsForwarded: Number(follower.requestsForwarded),
    requestsRefused: Number(follower.requestsRefused),
    outboundRequests: Number(follower.outboundRequests),
    stalenessSeconds: follower.stalenessSeconds,
    certificateNotAfterSeconds: Number(follower.certificateNotAfterSeconds),
  }));
  const view = {
    trustDomain: domain.trustDomain,
    adminAddress: domain.address,
    treeSize: size,
    epoch: { number: state.genesis?.epochNumber ?? 0, timeSeconds: state.genesis?.epochTimeSeconds ?? 0 },
    uptimeSeconds: answer.uptimeSeconds,
    nodes: answer.nodes.map((node) => ({
      node: node.node,
      size: Number(node.size),
      isConnected: node.isConnected,
      lastReportSecondsAgo: node.lastReportSecondsAgo,
    })),
    instances,
    /** Those of this machine, with the addresses of their health and metrics. */
    processes: await readTargets(directory),
    alarms: answer.alarms.map(({ reason, detail, secondsAgo }) => ({ reason, detail, secondsAgo })),
  };
  printAnswer(options.output, "Status", view, () => {
    const head =
      `trust domain   ${view.trustDomain}\ncontrol plane  ${view.adminAddress}, up ${durationOf(view.uptimeSeconds)}\n` +
      `trust log      ${size} entries, epoch ${view.epoch.number}, ${durationOf(now - view.epoch.timeSeconds)} ago\n\n`;
    const nodes = tableOf(
      ["NODE", "STATUS", "SIZE", "LAST REPORT"],
      view.nodes.map((node) => [
        node.node,
        node.isConnected ? "connected" : "silent",
        sizeOf(node.size, size),
        `${durationOf(node.lastReportSecondsAgo)} ago`,
      ]),
    );
    if (instances.length === 0)
      return `${head}${nodes}\nNo instance runs. troth run --service NAME -- COMMAND starts one.\n${alarmsOf(view)}`;
    const rows = instances.map((one) => [
      one.service,
      one.instance.slice(0, 8),
      one.node,
      one.isServing ? "serving" : "client only",
      sizeOf(one.size, size),
      String(one.requestsForwarded),
      String(one.requestsRefused),
      durationOf(one.certificateNotAfterSeconds - now),
    ]);
    const table = tableOf(
      ["SERVICE", "INSTANCE", "NODE", "STATUS", "SIZE", "FORWARDED", "REFUSED", "CERTIFICATE ENDS IN"],
      rows.sort(byFirst),
    );
    return `${head}${nodes}\n${table}${alarmsOf(view)}`;
  });
}

function alarmsOf({
  alarms,
  nodes,
}: {
  readonly alarms: readonly { reason: string; detail: string; secondsAgo: number }[];
  readonly nodes: readonly { readonly node: string }[];
}): string {
  const shown = shownAlarms(
    alarms,
    nodes.map(({ node }) => node),
  );
  if (shown.length === 0) return "";
  const rows = shown.map(({ secondsAgo, reason, detail }) => [durationOf(secondsAgo), reason, detail]);
  const rest = alarms.length - shown.length;
  const more = rest === 0 ? "" : `and ${rest} more: troth status -o json\n`;
  return `\n${tableOf(["AGO", "ALARM", "DETAIL"], rows)}${more}`;
}

function sizeOf(size: number, newest: number): string {
  return size >= newest ? String(size) : `${size} (-${newest - size})`;
}

function byFirst(left: readonly string[], right: readonly string[]): number {
  return (left[0] ?? "") < (right[0] ?? "") ? -1 : 1;
}
