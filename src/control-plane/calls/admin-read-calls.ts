import { Code, ConnectError, type HandlerContext, type ServiceImpl } from "@connectrpc/connect";
import { softwareVersion } from "../../base/software-version.ts";
import type { Admin } from "../../protocol/index.ts";
import { nextChange } from "../../transport/index.ts";
import { entryRevision } from "../../trust-log/index.ts";
import type { FollowerReport } from "../follower-registry.ts";
import { openRateLimit } from "../rate-limit.ts";
import { callingPerson, type Person } from "./callers.ts";
import { ownKeys } from "./own-key-messages.ts";
import type { ControlPlaneParts } from "./parts.ts";
import { readLog, takePlace } from "./read-log.ts";

const readsPerPerson = { perSecond: 50, burst: 500, callersMax: 10_000 };
const streamsPerPersonMax = 64;

/** The calls of people that change nothing; for every role. */
export function adminReadCalls(parts: ControlPlaneParts): Partial<ServiceImpl<typeof Admin>> {
  const { writer } = parts.issuer;
  const startedMillis = parts.clock.monotonicMillis();
  const reads = openRateLimit(parts.clock, readsPerPerson);
  const streams = new Map<string, number>();
  const reader = (context: HandlerContext): Person => {
    const person = callingPerson(parts, context);
    if (!reads.take(person.name)) throw new ConnectError("too many calls; try again", Code.ResourceExhausted);
    return person;
  };
  return {
    getStatus: (_request, context) => {
      reader(context);
      return {
        size: BigInt(writer.newest?.size ?? 0),
        nodes: parts.registry.nodes(writer.state),
        followers: parts.registry.statuses(),
        alarms: parts.registry.alarms(),
        softwareVersion,
        entryRevision,
        findings: parts.standings.findings(),
        uptimeSeconds: (parts.clock.monotonicMillis() - startedMillis) / 1000,
      };
    },
    readLog: async function* (request, context) {
      const place = { countMax: streamsPerPersonMax, signal: context.signal };
      using _place = takePlace(streams, reader(context).name, place);
      for await (const update of readLog(parts, request, { context, isLive: false })) {
        yield update;
        callingPerson(parts, context);
      }
    },
    watchProgress: async function* ({ size }, context) {
      const place = { countMax: streamsPerPersonMax, signal: context.signal };
      using _place = takePlace(streams, reader(context).name, place);
      if (size > BigInt(Number.MAX_SAFE_INTEGER))
        throw new ConnectError("no log is that long", Code.InvalidArgument);
      yield* watchProgress(parts, Number(size), context);
    },
    listHeldAuthorities: async (_request, context) => {
      reader(context);
      const { ids, issuing = "" } = await parts.authorities.held();
      return { held: [...ids, ...(await parts.tokenKeys.held())], issuing };
    },
    listOwnKeys: (_request, context) => {
      reader(context);
      return { keys: ownKeys(parts) };
    },
    listFederation: (_request, context) => {
      reader(context);
      const { federation } = parts;
      return { standings: federation.standings(), bundleEndpoint: federation.endpointAddress };
    },
    listProposals: async (_request, context) => {
      reader(context);
      return { proposals: [...(await parts.proposals.list())] };
    },
  };
}

/** First how it is, then whatever changes: each follower once, in the message after it had reached the size. */
async function* watchProgress(
  parts: ControlPlaneParts,
  size: number,
  context: HandlerContext,
): AsyncGenerator<{ known: number; reached: number; followers: FollowerReport[] }> {
  const { registry, issuer } = parts;
  const signal = AbortSignal.any([context.signal, parts.closing]);
  let told = new Set<string>();
  let counts = "";
  while (!signal.aborted) {
    const { known, reached } = registry.progress(size);
    const followers = reached.filter(({ instance }) => !told.has(instance));
    told = new Set(reached.map(({ instance }) => instance));
    if (counts !== `${known} ${reached.length}` || followers.length > 0) {
      counts = `${known} ${reached.length}`;
      yield { known, reached: reached.length, followers };
    } else
      await nextChange(
        [(callback) => registry.onReport(callback), (callback) => issuer.writer.onCheckpoint(callback)],
        signal,
      );
    // The key may have been removed meanwhile.
    callingPerson(parts, context);
  }
}
