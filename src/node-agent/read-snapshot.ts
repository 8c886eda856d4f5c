import type { Client } from "@connectrpc/connect";
import { type Mesh, protocolVersion } from "../protocol/index.ts";
import type { LogSource } from "../transport/index.ts";
import { claimedSnapshotSize } from "../trust-log/index.ts";

const snapshotMillisMax = 5_000;

/**
 * The control plane's newest snapshot, unchecked; undefined where there is none within a moment, or one of more than the
 * `size` of the log that is known here.
 */
export async function readSnapshot(
  controlPlane: Client<typeof Mesh>,
  size: number,
): ReturnType<LogSource["snapshot"]> {
  const request = { fromSize: 0n, instance: "", protocolVersion, acceptsSnapshot: true };
  try {
    for await (const { content } of controlPlane.follow(request, { timeoutMs: snapshotMillisMax })) {
      if (content.case !== "snapshot") return undefined;
      const { text, epochEntry, genesisEntry } = content.value;
      const claimed = claimedSnapshotSize(text);
      return claimed === undefined || claimed >= size
        ? undefined
        : { size: claimed, text, epochEntry, genesisEntry };
    }
  } catch {
    // Without one the sidecar reads the log from its beginning.
  }
  return undefined;
}
