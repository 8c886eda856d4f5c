import { Code, ConnectError, type ServiceImpl } from "@connectrpc/connect";
import { base64Of, sameBytes } from "../../base/bytes.ts";
import type { Admission } from "../../protocol/index.ts";
import { peerKey } from "../../transport/index.ts";
import { openRateLimit } from "../rate-limit.ts";
import type { ControlPlaneParts } from "./parts.ts";
import { readLog, takePlace } from "./read-log.ts";

const strangers = { perSecond: 20, burst: 100, callersMax: 1 };
const newcomersReadingMax = 32;
/** Whoever can reach the control plane can cause these alarms, so they are kept apart from all others. */
const source = "(newcomers)";

/** The calls of those who have no key in the log yet. */
export function admissionCalls(parts: ControlPlaneParts): ServiceImpl<typeof Admission> {
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
        parts.registry.raise(source, "join-refused", `${node}: ${written.detail}`);
        throw new ConnectError(`${written.reason}: ${written.detail}`, Code.PermissionDenied);
      }
      return { size: BigInt(written.value) };
    },
  };
}
