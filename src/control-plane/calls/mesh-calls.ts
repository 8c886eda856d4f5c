import { Code, ConnectError, type ServiceImpl } from "@connectrpc/connect";
import { type Mesh, protocolVersion, type ReportRequest } from "../../protocol/index.ts";
import { issueInstanceSvid } from "../issue-instance-svid.ts";
import { openRateLimit } from "../rate-limit.ts";
import { callingNode, isNode } from "./callers.ts";
import type { ControlPlaneParts } from "./parts.ts";
import { readLog, takePlace } from "./read-log.ts";

const issuancePerNode = { perSecond: 50, burst: 500, callersMax: 10_000 };
const reportsPerNode = { perSecond: 20, burst: 100, callersMax: 10_000 };
/** Checkpoints of callers that the log does not name, all of them together. */
const checkpointsOfUnknown = { perSecond: 20, burst: 100, callersMax: 1 };
const reportedFollowersMax = 10_000;
const followsPerNodeMax = 16;
/** Since when followers know the short identifier of a certificate's metadata. */
const metadataRevision = 3;

/** The calls of node agents. */
export function meshCalls(parts: ControlPlaneParts): ServiceImpl<typeof Mesh> {
  const issuance = openRateLimit(parts.clock, issuancePerNode);
  const reports = openRateLimit(parts.clock, reportsPerNode);
  const unknown = openRateLimit(parts.clock, checkpointsOfUnknown);
  const streams = new Map<string, number>();
  const before = new Set([...parts.issuer.writer.state.instances.entries()].map(([instance]) => instance));
  return {
    follow: async function* (request, context) {
      // The log's own key signed it, so it counts whoever shows it.
      if (!isNode(parts, context) && unknown.take("")) parts.guard.hearUnknown(request.checkpoint);
      const node = callingNode(parts, context);
      if (request.protocolVersion > protocolVersion)
        throw new ConnectError(
          `this control plane speaks version ${protocolVersion}; upgrade it first`,
          Code.FailedPrecondition,
        );
      parts.guard.hear(node, request.checkpoint);
      using _place = takePlace(streams, node, { countMax: followsPerNodeMax, signal: context.signal });
      for await (const update of readLog(parts, request, { context, isLive: true })) {
        yield update;
        // A node that was removed has just been told so.
        callingNode(parts, context);
      }
    },
    issueSvid: async (request, context) => {
      const node = callingNode(parts, context);
      if (!issuance.take(node))
        throw new ConnectError("too many certificates asked for", Code.ResourceExhausted);
      const hasOlderPeers = parts.registry.hasProxyOlderThan(
        metadataRevision,
        parts.issuer.writer.state,
        before,
      );
      const issued = await issueInstanceSvid(parts.issuer, { ...request, node, hasOlderPeers });
      if (!issued.ok) throw new ConnectError(`${issued.reason}: ${issued.detail}`, Code.PermissionDenied);
      return { chain: [...issued.value.chain], size: BigInt(issued.value.size) };
    },
    issueToken: () => {
      throw new ConnectError("this control plane issues no tokens", Code.Unimplemented);
    },
    readRevocationLists: () => {
      throw new ConnectError("this control plane issues no revocation lists", Code.Unimplemented);
    },
    report: async (request, context) => {
      const node = callingNode(parts, context);
      if (!reports.take(node)) throw new ConnectError("too many reports", Code.ResourceExhausted);
      await takeReport(parts, node, request);
      return {};
    },
  };
}

async function takeReport(parts: ControlPlaneParts, node: string, report: ReportRequest): Promise<void> {
  if (report.followers.length > reportedFollowersMax || report.ended.length > reportedFollowersMax)
    throw new ConnectError("too many followers in one report", Code.InvalidArgument);
  const { writer } = parts.issuer;
  parts.registry.report(writer.state, node, report);
  for (const alarm of report.alarms) parts.registry.raiseFor(node, alarm);
  const ended = report.ended.filter((instance) => writer.state.instances.get(instance)?.node === node);
  if (ended.length > 0)
    await writer.write(
      ended.map((instance) => ({ role: "issuer", kind: "instance.remove", body: { instance } })),
    );
}
