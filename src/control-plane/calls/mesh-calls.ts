import { Code, ConnectError, type ServiceImpl } from "@connectrpc/connect";
import {
  type AskRequestTokenIssuerRequest,
  type Mesh,
  protocolVersion,
  type ReportRequest,
} from "../../protocol/index.ts";
import { readQuestion, type UnsealedRefusal } from "../../transport/index.ts";
import { enterHandingOn } from "../hand-on-prefix.ts";
import { type InstanceRefusal, issueInstanceSvid } from "../issue-instance-svid.ts";
import { type InstanceTokenRefusal, issueInstanceToken } from "../issue-instance-token.ts";
import { openRateLimit, type RateLimit } from "../rate-limit.ts";
import { callingNode, isNode } from "./callers.ts";
import type { ControlPlaneParts } from "./parts.ts";
import { readLog, takePlace } from "./read-log.ts";

const issuancePerNode = { perSecond: 50, burst: 500, callersMax: 10_000 };
const listReadsPerNode = { perSecond: 20, burst: 100, callersMax: 10_000 };
/** Tokens of all instances of a node. */
const tokensPerNode = { perSecond: 50, burst: 500, callersMax: 10_000 };
const handingOnPerNode = { perSecond: 2, burst: 20, callersMax: 10_000 };
const reportsPerNode = { perSecond: 20, burst: 100, callersMax: 10_000 };
/** Checkpoints of callers that the log does not name, all of them together. */
const checkpointsOfUnknown = { perSecond: 20, burst: 100, callersMax: 1 };
const reportedFollowersMax = 10_000;
const followsPerNodeMax = 16;
/** Since when followers know the short identifier of a certificate's metadata. */
const metadataRevision = 3;

/** Refusals of what a node that keeps to its own does not ask for. */
const notItsOwn: ReadonlySet<string> = new Set(["not-on-this-node", "other-instance"]);
/** Refusals of questions that no agent hands on which keeps to its own and changes nothing. */
const notAsItself: ReadonlySet<UnsealedRefusal> = new Set(["not-on-this-node", "bad-proof"]);

/** The calls of node agents. */
export function meshCalls(parts: ControlPlaneParts): ServiceImpl<typeof Mesh> {
  const issuance = openRateLimit(parts.clock, issuancePerNode);
  const listReads = openRateLimit(parts.clock, listReadsPerNode);
  const tokens = openRateLimit(parts.clock, tokensPerNode);
  const handingOn = openRateLimit(parts.clock, handingOnPerNode);
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
      requireRoom(issuance, node, "certificates asked for");
      const hasOlderPeers = parts.registry.hasProxyOlderThan(
        metadataRevision,
        parts.issuer.writer.state,
        before,
      );
      const issued = await issueInstanceSvid(parts.issuer, { ...request, node, hasOlderPeers });
      if (!issued.ok) {
        if (notItsOwn.has(issued.reason))
          parts.registry.raise(node, "identity-refused", `${node}: ${issued.reason}: ${issued.detail}`);
        throw new ConnectError(`${issued.reason}: ${issued.detail}`, svidCodeOf(issued.reason));
      }
      const { chain, size, generation } = issued.value;
      return { chain: [...chain], size: BigInt(size), generation };
    },
    issueToken: async (request, context) => {
      const node = callingNode(parts, context);
      requireRoom(tokens, node, "tokens asked for");
      const issued = await issueInstanceToken(parts.tokens, { ...request, node });
      if (!issued.ok)
        throw new ConnectError(`${issued.reason}: ${issued.detail}`, tokenCodeOf(issued.reason));
      return { token: issued.value.token, expiresAtSeconds: BigInt(issued.value.expiresAtSeconds) };
    },
    askRequestTokenIssuer: (request, context) => answerQuestion(parts, callingNode(parts, context), request),
    readRevocationLists: (_request, context) => {
      const node = callingNode(parts, context);
      requireRoom(listReads, node, "revocation lists asked for");
      const { lists, size } = parts.revocationLists.read();
      return { lists, size: BigInt(size) };
    },
    handOnPrefix: async (request, context) => {
      const node = callingNode(parts, context);
      requireRoom(handingOn, node, "prefixes handed on");
      const entered = await enterHandingOn(parts.issuer.writer, { ...request, node });
      if (!entered.ok) throw new ConnectError(`${entered.reason}: ${entered.detail}`, Code.PermissionDenied);
      return { size: BigInt(entered.value) };
    },
    report: async (request, context) => {
      const node = callingNode(parts, context);
      requireRoom(reports, node, "reports");
      await takeReport(parts, node, request);
      return {};
    },
  };
}

function requireRoom(limit: RateLimit, node: string, asked: string): void {
  if (!limit.take(node)) throw new ConnectError(`too many ${asked}`, Code.ResourceExhausted);
}

async function answerQuestion(
  { requestTokens, registry }: ControlPlaneParts,
  node: string,
  request: AskRequestTokenIssuerRequest,
): Promise<{ readonly sealed: Uint8Array; readonly signature: Uint8Array }> {
  const question = readQuestion(request);
  if (!question.ok) throw new ConnectError(`${question.reason}: ${question.detail}`, Code.InvalidArgument);
  const answered = await requestTokens.answer(node, question.value);
  if (answered.ok) return answered.value;
  const { reason, detail } = answered;
  if (notAsItself.has(reason))
    registry.raiseFor(node, { reason: "request-token-question-forged", detail: `${reason}: ${detail}` });
  throw new ConnectError(`${reason}: ${detail}`, questionCodeOf(reason));
}

function questionCodeOf(reason: UnsealedRefusal): Code {
  switch (reason) {
    case "log-not-current":
      return Code.Unavailable;
    case "too-many-questions":
      return Code.ResourceExhausted;
    case "unknown-certificate":
    case "not-on-this-node":
    case "bad-proof":
      return Code.PermissionDenied;
  }
}

function svidCodeOf(reason: InstanceRefusal): Code {
  return reason === "too-many-instances" ? Code.ResourceExhausted : Code.PermissionDenied;
}

/** Whether asking again may help, or only asking for something else. */
function tokenCodeOf(reason: InstanceTokenRefusal): Code {
  switch (reason) {
    case "log-not-current":
      return Code.Unavailable;
    case "no-token-key":
    case "token-key-expired":
      return Code.FailedPrecondition;
    case "malformed-request":
    case "bad-audience":
    case "bad-confirmation-key":
      return Code.InvalidArgument;
    case "unknown-instance":
    case "quarantined":
    case "other-trust-domain":
    case "no-path":
    case "bad-lifetime":
      return Code.PermissionDenied;
  }
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
