import { readFileSync } from "node:fs";
import http from "node:http";
import { type InspectedPair, openInspectedPair } from "../../apparatus/inspected-pair.ts";
import { canSeeProcesses } from "../../apparatus/marked-processes.ts";
import { type Claim, failed, ok, skipped } from "../claim.ts";

const bytesShort = 2 ** 30;
const bytesFull = 10 * 2 ** 30;
const warmUpBytes = 64 * 2 ** 20;
/** Enough to know how fast it is without a mesh. */
const directBytes = 256 * 2 ** 20;
/** What a process may take more at any moment: garbage before it is first collected (sidecarFlags), and sockets. */
const peakMoreBytesMax = 96 * 2 ** 20;
const piece = Buffer.alloc(64 * 1024, "p");

export const claim: Claim = {
  text: "an upload and a download of a gibibyte go through two sidecars whole, and neither sidecar becomes larger for it (--full: ten)",
  limitSeconds: 1_800,
  run: async ({ isFull }) => {
    if (!canSeeProcesses()) return skipped("looking at the memory of processes takes procfs");
    const bytes = isFull ? bytesFull : bytesShort;
    await using pair = await openInspectedPair();
    const throughMesh = { address: pair.caller.outboundAddress, host: pair.host };
    const direct = { address: pair.appAddress, host: pair.appAddress };
    for (const target of [throughMesh, direct]) {
      await download(target, warmUpBytes);
      await upload(target, warmUpBytes);
    }
    const before = peaksOf(pair);
    const seconds = {
      down: await secondsOf(() => download(throughMesh, bytes)),
      up: await secondsOf(() => upload(throughMesh, bytes)),
      downDirect: (await secondsOf(() => download(direct, directBytes))) * (bytes / directBytes),
      upDirect: (await secondsOf(() => upload(direct, directBytes))) * (bytes / directBytes),
    };
    const grown = peaksOf(pair).map((peak, place) => peak - (before[place] ?? 0));
    const rate = (took: number): string => `${Math.round(bytes / 2 ** 20 / took)} MiB/s`;
    const figure = [
      `${bytes / 2 ** 30} GiB down at ${rate(seconds.down)}, ${(seconds.downDirect / seconds.down).toFixed(2)} of what the application and its client reach without a mesh (${rate(seconds.downDirect)})`,
      `up at ${rate(seconds.up)}, ${(seconds.upDirect / seconds.up).toFixed(2)} of it (${rate(seconds.upDirect)})`,
      `the most that the sidecars ever held grew by ${grown.map((more) => (more / 2 ** 20).toFixed(1)).join(" and ")} MiB`,
    ].join("; ");
    return grown.every((more) => more <= peakMoreBytesMax) ? ok(figure) : failed(figure);
  },
};

interface Target {
  readonly address: string;
  readonly host: string;
}

/** Reads so many bytes; throws where it gets any other number. */
async function download(target: Target, bytes: number): Promise<void> {
  const response = await asked(request(target, "GET", `/${bytes}`, {}).end());
  let received = 0;
  for await (const chunk of response) received += Buffer.isBuffer(chunk) ? chunk.length : 0;
  if (received !== bytes) throw new Error(`${received} bytes of ${bytes}`);
}

/** Sends so many bytes; throws where the application has counted any other number. */
async function upload(target: Target, bytes: number): Promise<void> {
  const sending = request(target, "POST", "/count", { "content-length": bytes });
  const answer = asked(sending);
  let left = bytes;
  while (left > 0) {
    const part = piece.subarray(0, Math.min(left, piece.length));
    left -= part.length;
    if (!sending.write(part)) await new Promise((resolve) => sending.once("drain", resolve));
  }
  sending.end();
  let counted = "";
  for await (const chunk of await answer) counted += String(chunk);
  if (counted !== String(bytes)) throw new Error(`${counted} bytes of ${bytes}`);
}

function request(
  { address, host }: Target,
  method: string,
  path: string,
  headers: http.OutgoingHttpHeaders,
): http.ClientRequest {
  const [hostname, port] = address.split(":");
  return http.request({ hostname, port, method, path, headers: { host, ...headers }, agent: false });
}

function asked(sent: http.ClientRequest): Promise<http.IncomingMessage> {
  return new Promise((resolve, reject) => {
    sent.once("response", resolve);
    sent.once("error", reject);
  });
}

async function secondsOf(run: () => Promise<void>): Promise<number> {
  const started = performance.now();
  await run();
  return (performance.now() - started) / 1000;
}

/** The most that each sidecar has ever held in memory, in bytes. */
function peaksOf({ caller, callee }: InspectedPair): number[] {
  return [caller, callee].map(({ pid }) => {
    const kibibytes = /^VmHWM:\s+([0-9]+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1];
    return Number(kibibytes ?? 0) * 1024;
  });
}
