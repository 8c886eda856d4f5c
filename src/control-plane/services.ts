import {
  Code,
  ConnectError,
  type ConnectRouter,
  type HandlerContext,
  type ServiceImpl,
} from "@connectrpc/connect";
import { base64Of, sameBytes } from "../base/bytes.ts";
import type { Clock } from "../base/clock.ts";
import {
  Admin,
  Admission,
  Mesh,
  protocolVersion,
  type ReportRequest,
  type Update,
} from "../protocol/index.ts";
import { type LogSource, peerKey, serveLog } from "../transport/index.ts";
import type { TrustState } from "../trust-log/index.ts";
import type { FollowerRegistry } from "./follower-registry.ts";
import { type Issuer, issueInstanceSvid } from "./issue-instance-svid.ts";
import { openRateLimit } from "./rate-limit.ts";

const entriesPerAppendMax = 256;
const issuancePerNode = { perSecond: 50, burst: 500, callersMax: 10_000 };
const strangers = { perSecond: 20, burst: 100, callersMax: 1 };
const reportsPerNode = { perSecond: 20, burst: 100, callersMax: 10_000 };
const reportedFollowersMax = 10_000;
const followsPerNodeMax = 16;
const newcomersReadingMax = 32;
/** What one append may hold; the disk takes 4 MiB at once. */
const appendBytesMax = 1024 * 1024;

/** What the calls work on. */
export interface ControlPlaneParts {
  readonly issuer: Issuer;
  readonly registry: FollowerRegistry;
  readonly source: LogSource;
  readonly clock: Clock;
  /** Aborts when the control plane closes, so that no stream outlives it. */
  readonly closing: AbortSignal;
}

/** The calls of a control plane: for agents, for newcomers, for operators. */
export function routesOf(parts: ControlPlaneParts): (router: ConnectRouter) => void {
  return (router) => {
    router.service(Mesh, meshCalls(parts));
    router.service(Admission, admissionCalls(parts));
    router.service(Admin, adminCalls(parts));
  };
}

function meshCalls(parts: ControlPlaneParts): ServiceImpl<typeof Mesh> {
  const issuance = openRateLimit(parts.clock, issuancePerNode);
  const reports = openRateLimit(parts.clock, reportsPerNode);
  const streams = new Map<string, number>();
  return {
    follow: async function* (request, context) {
      const node = callingNode(parts, context);
      if (request.protocolVersion > protocolVersion)
        throw new ConnectError(
          `this control plane speaks version ${protocolVersion}; upgrade it first`,
          Code.FailedPrecondition,
        );
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
      const issued = await issueInstanceSvid(parts.issuer, { ...request, node });
      if (!issued.ok) throw new ConnectError(`${issued.reason}: ${issued.detail}`, Code.PermissionDenied);
      return { chain: [...issued.value.chain], size: BigInt(issued.value.size) };
    },
    report: async (request, context) => {
      const node = callingNode(parts, context);
      if (!reports.take(node)) throw new ConnectError("too many reports", Code.ResourceExhausted);
      await takeReport(parts, node, request);
      return {};
    },
  };
}

function admissionCalls(parts: ControlPlaneParts): ServiceImpl<typeof Admission> {
  const newcomers = openRateLimit(parts.clock, strangers);
  const streams = new Map<string, number>();
  const admitStranger = (): void => {
    if (!newcomers.take("")) throw new ConnectError("too many newcomers; try again", Code.ResourceExhausted);
  };
  return {
    readLog: async function* (request, context) {
      admitStranger();
      using _place = takePlace(streams, "", { countMax: newcomersReadingMax, signal: context.signal });
      yield* readLog(parts, request, { context, isLive: false });
    },
    join: async ({ node, inviteKey, nodeKey, proof }, context) => {
      admitStranger();
      const presented = context.values.get(peerKey);
      if (presented === undefined || !sameBytes(presented, nodeKey))
        throw new ConnectError("the connection does not prove the node's key", Code.Unauthenticated);
      const body = {
        node,
        inviteKey: base64Of(inviteKey),
        nodeKey: base64Of(nodeKey),
        proof: base64Of(proof),
      };
      const written = await parts.issuer.writer.write([{ role: "issuer", kind: "node.join", body }]);
      if (!written.ok) {
        parts.registry.raise("", "join-refused", `${node}: ${written.detail}`);
        throw new ConnectError(`${written.reason}: ${written.detail}`, Code.PermissionDenied);
      }
      return { size: BigInt(written.value) };
    },
  };
}

function adminCalls(parts: ControlPlaneParts): ServiceImpl<typeof Admin> {
  const { writer } = parts.issuer;
  const startedMillis = parts.clock.monotonicMillis();
  return {
    append: async ({ entries }, context) => {
      const operator = callingOperator(parts, context);
      const bytes = entries.reduce((sum, entry) => sum + entry.byteLength, 0);
      if (entries.length > entriesPerAppendMax || bytes > appendBytesMax)
        throw new ConnectError("too many entries at once", Code.InvalidArgument);
      const written = await writer.submit(entries);
      if (!written.ok) {
        parts.registry.raise(operator, "entry-refused", `${operator}: ${written.reason}: ${written.detail}`);
        throw new ConnectError(`${written.reason}: ${written.detail}`, Code.PermissionDenied);
      }
      return { size: BigInt(written.value) };
    },
    getStatus: (_request, context) => {
      callingOperator(parts, context);
      return {
        size: BigInt(writer.newest?.size ?? 0),
        nodes: parts.registry.nodes(writer.state),
        followers: parts.registry.statuses(),
        alarms: parts.registry.alarms(),
        uptimeSeconds: (parts.clock.monotonicMillis() - startedMillis) / 1000,
      };
    },
    readLog: (request, context) => {
      callingOperator(parts, context);
      return readLog(parts, request, { context, isLive: false });
    },
  };
}

function readLog(
  parts: ControlPlaneParts,
  { fromSize, acceptsSnapshot = false }: { readonly fromSize: bigint; readonly acceptsSnapshot?: boolean },
  { context, isLive }: { readonly context: HandlerContext; readonly isLive: boolean },
): AsyncIterable<Update> {
  if (fromSize > BigInt(Number.MAX_SAFE_INTEGER))
    throw new ConnectError("no log is that long", Code.InvalidArgument);
  const signal = AbortSignal.any([context.signal, parts.closing]);
  return serveLog(parts.source, { fromSize: Number(fromSize), acceptsSnapshot, isLive }, signal);
}

/**
 * Counts a stream of a caller until the result is disposed of or the call is over, whichever comes first: a stream
 * whose reader went without reading is never resumed, so it never disposes of anything.
 */
function takePlace(
  streams: Map<string, number>,
  caller: string,
  { countMax, signal }: { readonly countMax: number; readonly signal: AbortSignal },
): Disposable {
  const count = streams.get(caller) ?? 0;
  if (count >= countMax) throw new ConnectError("too many streams", Code.ResourceExhausted);
  streams.set(caller, count + 1);
  let isHeld = true;
  const release = (): void => {
    if (!isHeld) return;
    isHeld = false;
    const left = (streams.get(caller) ?? 1) - 1;
    if (left > 0) streams.set(caller, left);
    else streams.delete(caller);
  };
  signal.addEventListener("abort", release, { once: true });
  return { [Symbol.dispose]: release };
}

async function takeReport(parts: ControlPlaneParts, node: string, report: ReportRequest): Promise<void> {
  if (report.followers.length > reportedFollowersMax || report.ended.length > reportedFollowersMax)
    throw new ConnectError("too many followers in one report", Code.InvalidArgument);
  const { writer } = parts.issuer;
  parts.registry.report(writer.state, node, report);
  for (const { reason, detail } of report.alarms) parts.registry.raise(node, reason, `${node}: ${detail}`);
  const ended = report.ended.filter((instance) => writer.state.instances.get(instance)?.node === node);
  if (ended.length > 0)
    await writer.write(
      ended.map((instance) => ({ role: "issuer", kind: "instance.remove", body: { instance } })),
    );
}

/** Whether a key is a joined node's or an operator's. */
export function isMemberKey(state: TrustState, key: Uint8Array): boolean {
  return nodeOf(state, key) !== undefined || operatorOf(state, key) !== undefined;
}

/** The joined node whose key the caller proved to hold. */
function callingNode({ issuer }: ControlPlaneParts, context: HandlerContext): string {
  const key = context.values.get(peerKey);
  const node = key === undefined ? undefined : nodeOf(issuer.writer.state, key);
  if (node !== undefined) return node;
  throw new ConnectError(key === undefined ? "no-certificate" : "unknown-node", Code.Unauthenticated);
}

/** The operator whose key the caller proved to hold. */
function callingOperator({ issuer }: ControlPlaneParts, context: HandlerContext): string {
  const key = context.values.get(peerKey);
  const operator = key === undefined ? undefined : operatorOf(issuer.writer.state, key);
  if (operator !== undefined) return operator;
  throw new ConnectError(key === undefined ? "no-certificate" : "not-an-operator", Code.Unauthenticated);
}

function nodeOf(state: TrustState, key: Uint8Array): string | undefined {
  const encoded = base64Of(key);
  for (const [node, { nodeKey }] of state.nodes.entries()) if (nodeKey === encoded) return node;
  return undefined;
}

function operatorOf(state: TrustState, key: Uint8Array): string | undefined {
  const encoded = base64Of(key);
  for (const [name, { role, publicKey, isRemoved }] of state.authors.entries())
    if (publicKey === encoded && role === "operator" && !isRemoved) return name;
  return undefined;
}
