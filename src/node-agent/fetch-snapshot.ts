import type { Client } from "@connectrpc/connect";
import { type Mesh, protocolVersion } from "../protocol/index.ts";
import type { LogSource } from "../transport/index.ts";
import { claimedSnapshotSize } from "../trust-log/index.ts";

const snapshotMillisMax = 5_000;

/**
 * The newest snapshot that the control plane has of the first `sizeMax` entries, unread; undefined where there is none
 * now: whoever wanted it reads the log from its beginning.
 */
export async function fetchSnapshot(
  upstream: Client<typeof Mesh>,
  sizeMax: number,
): ReturnType<LogSource["snapshot"]> {
  const request = { fromSize: 0n, instance: "", protocolVersion, acceptsSnapshot: true };
  try {
    for await (const { content } of upstream.follow(request, { timeoutMs: snapshotMillisMax })) {
      if (content.case !== "snapshot") return undefined;
      const { text, epochEntry, genesisEntry } = content.value;
      const size = claimedSnapshotSize(text);
      return size === undefined || size >= sizeMax ? undefined : { size, text, epochEntry, genesisEntry };
    }
  } catch {
    // The same as none.
  }
  return undefined;
}
