import { setTimeout as sleep } from "node:timers/promises";
import { failed, type Outcome, ok } from "../proofs/claim.ts";
import { askOverTls } from "./ask-over-tls.ts";
import type { Credentials } from "./hostile-certificates.ts";
import { readMetric } from "./http-call.ts";
import { auditRecordsOf } from "./journal-entries.ts";
import { type RunningMesh, servingInstance } from "./running-mesh.ts";

const victim = "/shop/ledger";
const noticeMillisMax = 3_000;
const pollMillis = 100;

/** A request that the ledger answers to those who may ask it. */
export const ledgerRequest =
  "POST /entries HTTP/1.1\r\nHost: ledger.shop.mesh\r\nContent-Length: 2\r\n\r\n{}";

/**
 * Connects to the ledger's proxy with credentials and expects the refusal that has this reason: not a byte in answer,
 * one more record in the proxy's audit log on disk, and its metric one higher.
 */
export async function proveRefused(
  mesh: RunningMesh,
  { credentials, reason }: { readonly credentials: Credentials; readonly reason: string },
): Promise<Outcome> {
  const { address, adminAddress } = await servingInstance(mesh.path, victim);
  const before = await traces(mesh, adminAddress, reason);
  const { answer, millis } = await askOverTls({ address, credentials, request: ledgerRequest });
  const deadline = performance.now() + noticeMillisMax;
  let after = await traces(mesh, adminAddress, reason);
  while ((after.records <= before.records || after.metric <= before.metric) && performance.now() < deadline) {
    await sleep(pollMillis);
    after = await traces(mesh, adminAddress, reason);
  }
  if (answer !== "") return failed(`it was answered: ${answer.slice(0, 200)}`);
  const records = after.records - before.records;
  const metric = after.metric - before.metric;
  if (records !== 1 || metric !== 1)
    return failed(
      `closed without an answer, but ${records} audit records and ${metric} in the metric say ${reason}; ` +
        `the last record says ${after.last}`,
    );
  return ok(
    `${reason}: closed after ${millis.toFixed(0)} ms with 0 bytes, 1 audit record on disk, metric +1${after.detail}`,
  );
}

interface Traces {
  readonly records: number;
  readonly metric: number;
  readonly detail: string;
  readonly last: string;
}

async function traces(mesh: RunningMesh, adminAddress: string, reason: string): Promise<Traces> {
  const all = await auditRecordsOf(mesh.directory.proxies, victim);
  const refusals = all.filter(
    ({ type, direction }) => type === "connection-refused" && direction === "inbound",
  );
  const records = refusals.filter((record) => record["reason"] === reason);
  const detail = records.at(-1)?.["detail"];
  return {
    records: records.length,
    metric: await readMetric(adminAddress, "troth_proxy_refused_connections_total", {
      direction: "inbound",
      reason,
    }),
    detail: typeof detail === "string" && detail !== "" ? ` (${detail})` : "",
    last: JSON.stringify(refusals.at(-1)?.["reason"]),
  };
}
