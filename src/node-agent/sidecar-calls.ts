import { type Client, Code, ConnectError, type ContextValues, type ServiceImpl } from "@connectrpc/connect";
import { uuidPattern } from "../base/uuid.ts";
import {
  type Alarm,
  type FollowerStatus,
  type FollowRequest,
  type Mesh,
  readHandedOn,
} from "../protocol/index.ts";
import { type serveLog, unixConnection } from "../transport/index.ts";
import { type QuestionRelay, questionCalls } from "./question-calls.ts";
import type { SidecarCallers } from "./sidecar-callers.ts";

const callTimeoutMillis = 10_000;

/** What the agent has for sidecars. */
export interface SidecarRelay extends QuestionRelay {
  /** Throws, for the caller, while it is not there. */
  readonly controlPlane: Client<typeof Mesh>;
  /** The log for one that is admitted. */
  serve(request: FollowRequest, signal: AbortSignal): ReturnType<typeof serveLog>;
  /** Takes what instances say of themselves. */
  take(followers: readonly FollowerStatus[], alarms: readonly Alarm[]): void;
}

/** The calls of sidecars, each of which acts as its own instance alone. */
export function sidecarCalls(
  relay: SidecarRelay,
  callers: Pick<SidecarCallers, "admit" | "callerAt" | "isOwn" | "hasAny">,
  closing: AbortSignal,
): Partial<ServiceImpl<typeof Mesh>> {
  const admit = async (values: ContextValues, instance: string): Promise<void> => {
    // Owners are kept in lines of a file, by instance.
    if (!uuidPattern.test(instance))
      throw new ConnectError(
        "malformed-request: an instance is named by a lower-case UUID",
        Code.InvalidArgument,
      );
    await callers.admit(values.get(unixConnection), instance);
  };
  return {
    follow: async function* (request, { values, signal }) {
      await admit(values, request.instance);
      yield* relay.serve(request, AbortSignal.any([signal, closing]));
    },
    issueSvid: async (request, { values }) => {
      await admit(values, request.instance);
      return relay.controlPlane.issueSvid(request, { timeoutMs: callTimeoutMillis });
    },
    // Handed on unread: each question is signed by its instance's key, and each answer by the issuer's.
    ...questionCalls(relay, callers),
    // Handed on unread: each list is signed by its authority.
    readRevocationLists: () => relay.controlPlane.readRevocationLists({}, { timeoutMs: callTimeoutMillis }),
    // Signed by the holder's own key, and judged by every follower of the log.
    handOnPrefix: async (request, { values }) => {
      await admit(values, signingInstance(request.body));
      return relay.controlPlane.handOnPrefix(request, { timeoutMs: callTimeoutMillis });
    },
    report: async ({ followers, alarms }, { values }) => {
      const connection = values.get(unixConnection);
      const isOwn = await Promise.all(followers.map(({ instance }) => callers.isOwn(connection, instance)));
      const own = followers.filter((_, place) => isOwn[place]);
      relay.take(own, (await callers.hasAny(connection)) ? alarms : []);
      return {};
    },
  };
}

/** The instance that a body says has signed it. */
function signingInstance(body: Uint8Array): string {
  const handedOn = readHandedOn(body);
  if (handedOn !== undefined) return handedOn.instance;
  throw new ConnectError(
    "malformed-request: expected the canonical JSON of a prefix.delegate or prefix.recall",
    Code.InvalidArgument,
  );
}
