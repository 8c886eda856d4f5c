import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { freePort } from "../../../src/cli/free-port.ts";
import { type CollectedSpan, chainOf, readSpans } from "../../apparatus/collected-spans.ts";
import { buildGoPeer, missingForGoPeer } from "../../apparatus/go-peer.ts";
import { RunningCommand } from "../../apparatus/running-command.ts";
import { openMesh, outboundAddressOf } from "../../apparatus/running-mesh.ts";
import { ask } from "../../apparatus/workload.ts";
import { temporaryFolder } from "../../contracts/temporary-folder.ts";
import { type Claim, failed, ok, skipped } from "../claim.ts";

const hops = ["web", "checkout", "payments", "ledger"];
/** The span of the caller's sidecar and the span of the callee's, for each arrow. */
const wanted = hops.flatMap((callee, at) => [
  `shop.${hops[at - 1] ?? "load"} client`,
  `shop.${callee} server`,
]);
const traceId = "4bf92f3577b34da6a3ce929d0e0e4736";
const parentId = "00f067aa0ba902b7";
const waitMillisMax = 30_000;

/** The collector is OpenTelemetry's own, with its OTLP receiver; only what writes the spans to a file is ours. */
export const claim: Claim = {
  text: "a purchase is one trace in a real OpenTelemetry collector, with a span of each sidecar on each of four hops under the right parent, and a request that came with a trace keeps it",
  limitSeconds: 900,
  run: async (context) => {
    const missing = missingForGoPeer("otel-collector");
    if (missing !== undefined) return skipped(missing);
    await using folder = await temporaryFolder();
    const started = performance.now();
    const program = await buildGoPeer("otel-collector", folder.path);
    context.note(`collector built in ${((performance.now() - started) / 1000).toFixed(0)} s`);
    const address = `127.0.0.1:${await freePort()}`;
    const file = join(folder.path, "spans.jsonl");
    await using _collector = new RunningCommand(program, [address, file]);
    const env = { LOAD_RATE: "5", OTEL_EXPORTER_OTLP_ENDPOINT: `http://${address}` };
    await using mesh = await openMesh({ kind: "demo", env });

    const [host, port] = outboundAddressOf(mesh, "/shop/load").split(":");
    const answer = await ask({
      host,
      port,
      path: "/buy?item=teapot&region=EU&secret=hunter2",
      headers: { host: "web.shop.mesh", traceparent: `00-${traceId}-${parentId}-01` },
      agent: false,
    });

    const given = await untilWhole(file, (spans) => chainOf(spans, traceId, parentId));
    const begun = await untilWhole(file, (spans) => {
      const roots = spans.filter((span) => span.parentSpanId === "" && span.traceId !== traceId);
      return roots.map((root) => [root, ...chainOf(spans, root.traceId, root.spanId)]).find(isWhole) ?? [];
    });
    if (!isWhole(given)) return failed(`the given trace (answer ${answer.status}) has ${namesOf(given)}`);
    if (!isWhole(begun)) return failed("no purchase of the shop's own load is a whole trace");
    const decided = given.filter(({ attributes }) => attributes["troth.decision"] === "allow");
    if (decided.length !== hops.length) return failed(`${decided.length} spans have a decision`);
    const spans = await readSpans(file);
    if (JSON.stringify(spans).includes("hunter2")) return failed("a query string is in a span");
    return ok(
      `${namesOf(given)}; ${spans.length} spans of ${new Set(spans.map((span) => span.traceId)).size} traces in all`,
    );
  },
};

async function untilWhole(
  file: string,
  find: (spans: readonly CollectedSpan[]) => CollectedSpan[],
): Promise<CollectedSpan[]> {
  const deadline = performance.now() + waitMillisMax;
  for (;;) {
    const found = find(await readSpans(file));
    if (isWhole(found) || performance.now() > deadline) return found;
    await sleep(500);
  }
}

function isWhole(chain: readonly CollectedSpan[]): boolean {
  return chain.length === wanted.length && chain.every(({ at }, place) => at === wanted[place]);
}

function namesOf(chain: readonly CollectedSpan[]): string {
  return `${chain.length} spans (${chain.map(({ at }) => at).join(" > ")})`;
}
