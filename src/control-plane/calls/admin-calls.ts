import { Code, ConnectError, type ServiceImpl } from "@connectrpc/connect";
import { messageOf } from "../../base/mesh-error.ts";
import type { Admin } from "../../protocol/index.ts";
import { callingOperator } from "./callers.ts";
import type { ControlPlaneParts } from "./parts.ts";
import { readLog } from "./read-log.ts";

const entriesPerAppendMax = 256;
/** What one append may hold; the disk takes 4 MiB at once. */
const appendBytesMax = 1024 * 1024;

/** The calls of people. */
export function adminCalls(parts: ControlPlaneParts): Partial<ServiceImpl<typeof Admin>> {
  const { writer } = parts.issuer;
  const startedMillis = parts.clock.monotonicMillis();
  return {
    append: async ({ entries }, context) => {
      const operator = callingOperator(parts, context);
      const bytes = entries.reduce((sum, entry) => sum + entry.byteLength, 0);
      if (entries.length > entriesPerAppendMax || bytes > appendBytesMax)
        throw new ConnectError("too many entries at once", Code.InvalidArgument);
      const written = await writer.submit(entries).catch((error: unknown) => {
        throw new ConnectError(messageOf(error), Code.ResourceExhausted);
      });
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
