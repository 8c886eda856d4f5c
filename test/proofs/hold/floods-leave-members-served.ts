import { readFileSync } from "node:fs";
import { parseJoinToken } from "../../../src/protocol/index.ts";
import { CalmLoad } from "../../apparatus/calm-load.ts";
import {
  deniedRequests,
  type Flood,
  joinsWith,
  namelessHandshakes,
  slowConnections,
} from "../../apparatus/floods.ts";
import { httpCall } from "../../apparatus/http-call.ts";
import { canSeeProcesses, processesMarked } from "../../apparatus/marked-processes.ts";
import { type AskedOnce, openLoopLoad, quantile } from "../../apparatus/open-loop-load.ts";
import {
  openMesh,
  openService,
  type RunningMesh,
  type RunningService,
  troth,
} from "../../apparatus/running-mesh.ts";
import { type Claim, failed, ok, skipped } from "../claim.ts";

const requestsPerSecond = 50;
const slowConnectionsWanted = 600;
const floodSecondsFull = 10;
const floodSecondsShort = 1.5;
/** What a process may take more after all floods than before them. */
const growthMebibytesMax = 128;
const troths: ReadonlySet<string> = new Set(["control-plane", "node-agent", "sidecar"]);

/** One kind of flood, and whom it is for. */
interface NamedFlood {
  readonly name: string;
  readonly flood: Flood;
}

/** From this machine, so that every flood has the source address that the members have. */
export const claim: Claim = {
  text: "bad joins, handshakes without certificate, half-open and trickling connections and denied requests in floods fail no member's request, nor an operator's, nor a scrape, and leave no process larger than before by much",
  run: async (context) => {
    if (!canSeeProcesses()) return skipped("finding the processes takes procfs");
    await using mesh = await openMesh({ kind: "up" });
    await using callee = await openService(mesh, "/proof/callee");
    await using caller = await openService(mesh, "/proof/caller");
    await using mallory = await openService(mesh, "/proof/mallory");
    const allowed = await troth(mesh.path, "allow", "/proof/caller", "/proof/callee");
    if (allowed.code !== 0) return failed(`troth allow: ${allowed.stderr}`);
    const floods = await floodsOf(mesh, { callee, mallory });

    const calm = new CalmLoad();
    const asked: AskedOnce[] = [];
    let isOver = false;
    const flooding = (async () => {
      try {
        await calm.untilCalm();
        return await floodAll(mesh, [callee, caller, mallory], {
          floods,
          seconds: context.isFull ? floodSecondsFull : floodSecondsShort,
        });
      } finally {
        isOver = true;
      }
    })();
    const loading = openLoopLoad({
      outboundAddress: caller.outboundAddress,
      host: "callee.proof.mesh",
      requestsPerSecond,
      isOver: () => isOver,
      onEnd: (one) => {
        calm.note(one);
        asked.push(one);
      },
    });
    const [seen, load] = await Promise.all([flooding, loading]);
    const during = asked.filter(({ sentMillis }) => sentMillis >= seen.startedMillis);
    const before = asked.filter(({ sentMillis }) => sentMillis < seen.startedMillis);
    for (const { name, from, to } of seen.windows)
      context.note(
        `p99 ${p99Of(asked.filter(({ sentMillis: at }) => at >= from && at < to))} ms under ${name}`,
      );
    const failures = during.filter(({ status }) => status !== 200);
    const figure = `${during.length} of ${load.requests} requests during ${seen.counts.join(", ")}: ${failures.length} failed, p99 ${p99Of(before)} ms before, ${p99Of(during)} ms during; MiB before and after: ${seen.memory.join(", ")}`;
    const [first] = failures;
    if (first !== undefined) return failed(`${figure}: ${first.status} ${first.body}`);
    if (seen.refused.length > 0) return failed(`${figure}; refused: ${seen.refused.join("; ")}`);
    if (seen.growthMebibytes > growthMebibytesMax) return failed(figure);
    return ok(figure);
  },
};

async function floodsOf(
  mesh: RunningMesh,
  { callee, mallory }: { readonly callee: RunningService; readonly mallory: RunningService },
): Promise<NamedFlood[]> {
  const invited = await troth(mesh.path, "node", "invite", "second");
  const token = parseJoinToken(invited.stdout.trim());
  if (!token.ok) throw new Error(`no token: ${invited.stderr}`);
  const controlPlane = mesh.domain.address;
  const { address: inbound, adminAddress: admin } = callee.status;
  const outbound = mallory.outboundAddress;
  const slowly = (name: string, address: string, start = ""): NamedFlood => ({
    name,
    flood: slowConnections(address, slowConnectionsWanted, start),
  });
  // The beginning of a handshake's first record, and of a request.
  const hello = "\x16\x03\x01\x02\x00";
  const head = "GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Slow: ";
  return [
    { name: "bad joins", flood: joinsWith({ ...token.value, node: "third" }) },
    { name: "nameless handshakes with the control plane", flood: namelessHandshakes(controlPlane, "h2") },
    { name: "nameless handshakes with a sidecar", flood: namelessHandshakes(inbound, "http/1.1") },
    { name: "denied requests", flood: deniedRequests(outbound, "callee.proof.mesh") },
    slowly("half-open connections to the control plane", controlPlane),
    slowly("half-open connections to a sidecar", inbound),
    slowly("trickling handshakes with the control plane", controlPlane, hello),
    slowly("trickling handshakes with a sidecar", inbound, hello),
    slowly("trickling requests to an outbound port", outbound, head),
    slowly("trickling requests to an admin port", admin, head),
  ];
}

interface Flooded {
  readonly startedMillis: number;
  readonly counts: readonly string[];
  readonly windows: readonly { readonly name: string; readonly from: number; readonly to: number }[];
  /** What an operator or a scraper was refused. */
  readonly refused: readonly string[];
  readonly memory: readonly string[];
  readonly growthMebibytes: number;
}

async function floodAll(
  mesh: RunningMesh,
  services: readonly RunningService[],
  { floods, seconds }: { readonly floods: readonly NamedFlood[]; readonly seconds: number },
): Promise<Flooded> {
  const marks = [mesh.command.mark, ...services.map(({ command }) => command.mark)];
  const pids = marks.flatMap((mark) =>
    processesMarked(mark).flatMap(({ pid, command }) =>
      troths.has(command[2] ?? "") ? [{ pid, command: command[2] }] : [],
    ),
  );
  const before = pids.map(({ pid }) => residentMebibytes(pid));
  const startedMillis = performance.now();
  const counts: string[] = [];
  const windows: Flooded["windows"][number][] = [];
  const refused: string[] = [];
  for (const { name, flood } of floods) {
    const from = performance.now();
    const ends = from + seconds * 1000;
    let isDone = false;
    const flooding = flood(() => isDone && performance.now() > ends);
    const allowed = await troth(mesh.path, "allow", "/proof/callee", "/proof/caller");
    if (allowed.code !== 0) refused.push(`troth allow under ${name}: ${allowed.stderr.trim()}`);
    const [callee] = services;
    const scraped = await httpCall({ address: callee?.status.adminAddress ?? "", path: "/metrics" });
    if (scraped.status !== 200) refused.push(`a scrape under ${name}: ${scraped.status} ${scraped.body}`);
    isDone = true;
    counts.push(`${await flooding} ${name}`);
    windows.push({ name, from, to: performance.now() });
  }
  const after = pids.map(({ pid }) => residentMebibytes(pid));
  return {
    startedMillis,
    counts,
    windows,
    refused,
    memory: pids.map(({ command }, at) => `${command} ${before[at]} ${after[at]}`),
    growthMebibytes: Math.max(...after.map((now, at) => now - (before[at] ?? 0))),
  };
}

function residentMebibytes(pid: number): number {
  const [, kibibytes = "0"] =
    /^VmRSS:\s+([0-9]+) kB/m.exec(readFileSync(`/proc/${pid}/status`, "utf8")) ?? [];
  return Math.round(Number(kibibytes) / 1024);
}

function p99Of(asked: readonly AskedOnce[]): string {
  const millis = asked.map(({ sentMillis, endedMillis }) => endedMillis - sentMillis);
  return quantile(
    millis.sort((left, right) => left - right),
    0.99,
  ).toFixed(1);
}
