import { setTimeout as sleep } from "node:timers/promises";
import tls from "node:tls";
import { askOnce } from "../../apparatus/defined-outcome.ts";
import { IdleConnections } from "../../apparatus/idle-connections.ts";
import { type InspectedPair, openInspectedPair, toldOf } from "../../apparatus/inspected-pair.ts";
import { canSeeProcesses } from "../../apparatus/marked-processes.ts";
import { type Claim, failed, ok, skipped } from "../claim.ts";

/** A little fewer than a listener takes (`connectionsMax`), so that others find room. */
const full = { idle: 9_900, short: 100_000, left: 10_000, refused: 10_000 };
const short = { idle: 2_000, short: 2_000, left: 300, refused: 300 };
const asksBesideMax = 50;
const parallel = 48;
const patienceMillis = 15_000;
const leavesMillis = 10;
/** `keepAliveIdleMillis` and `lingerMillis`, ticks, and what a busy machine adds. */
const idleMillisMax = 60_000 + 2_000 + 1_000 + 12_000;
const restMillis = 5_000;
const heapBytesMax = 3 * 2 ** 20;
/** Of an idle connection in plain TCP: the sidecar's objects and buffers. */
const idleBytesMax = 32 * 1024;
const descriptorsMore = 8;

export const claim: Claim = {
  text: "thousands of idle connections cost little and keep nobody out, and short ones, clients that leave and handshakes that are refused leave nothing behind (--full: 9,900 that are ended in time; 100,000, 10,000 and 10,000)",
  limitSeconds: 1_800,
  run: async ({ isFull, note }) => {
    if (!canSeeProcesses()) return skipped("looking at descriptors takes procfs");
    const counts = isFull ? full : short;
    await using pair = await openInspectedPair();
    const ask = (path: string, patience: number): ReturnType<typeof askOnce> =>
      askOnce("GET", { address: pair.caller.outboundAddress, host: pair.host, path }, patience);
    const many = async (count: number, one: () => Promise<unknown>): Promise<void> => {
      let left = count;
      const work = async (): Promise<void> => {
        while (left > 0) {
          left -= 1;
          await one();
        }
      };
      await Promise.all(Array.from({ length: parallel }, work));
    };
    let failures = 0;
    const answered = async (): Promise<void> => {
      const { kind } = await ask("/ok", patienceMillis);
      if (kind !== "answered") failures += 1;
    };
    // What is only there once is there, and what is compiled is compiled.
    await many(600, answered);
    await many(100, () => ask("/never", leavesMillis));
    await many(100, () => refusedHandshake(pair));
    await sleep(restMillis);
    const [callerBefore, calleeBefore] = await pair.holdings();

    const idle = new IdleConnections();
    using _ = idle;
    const request = `GET /ok HTTP/1.1\r\nHost: ${pair.host}\r\n\r\n`;
    await idle.open(pair.caller.outboundAddress, counts.idle, request);
    const opened = performance.now();
    const [callerIdle] = await pair.holdings();
    const perConnection = (callerIdle.heapBytes - callerBefore.heapBytes) / counts.idle;
    const resident = (callerIdle.residentBytes - callerBefore.residentBytes) / counts.idle;
    note(`${counts.idle} idle: ${toldOf(callerIdle)}`);
    for (let asked = 0; asked < asksBesideMax; asked += 1) await answered();
    let idleSeconds = 0;
    if (isFull) {
      while (idle.held > 0 && performance.now() - opened < idleMillisMax) await sleep(500);
      idleSeconds = (performance.now() - opened) / 1000;
    } else idle[Symbol.dispose]();

    await many(counts.short, answered);
    note(`${counts.short} short connections are over`);
    await many(counts.left, () => ask("/never", leavesMillis));
    note(`${counts.left} clients have left`);
    await many(counts.refused, () => refusedHandshake(pair));
    await sleep(restMillis);
    const [caller, callee] = await pair.holdings();
    const isFlat = [[callerBefore, caller] as const, [calleeBefore, callee] as const].every(
      ([before, after]) =>
        after.heapBytes <= before.heapBytes + heapBytesMax &&
        after.descriptors <= before.descriptors + descriptorsMore &&
        after.timers <= before.timers + descriptorsMore,
    );
    const figure = [
      `${counts.idle} idle connections of ${(perConnection / 1024).toFixed(1)} KiB of heap each (${(resident / 1024).toFixed(1)} KiB resident)${isFull ? `, all ended after ${idleSeconds.toFixed(0)} s` : ""}`,
      `${counts.short} short ones, ${counts.left} left, ${counts.refused} refused handshakes, ${failures} failures`,
      `the caller's sidecar from ${toldOf(callerBefore)} to ${toldOf(caller)}`,
      `the callee's from ${toldOf(calleeBefore)} to ${toldOf(callee)}`,
    ].join("; ");
    const isOver = !isFull || idle.held === 0;
    return failures === 0 && isFlat && isOver && perConnection <= idleBytesMax ? ok(figure) : failed(figure);
  },
};

/** A stranger without a certificate. */
function refusedHandshake({ callee }: InspectedPair): Promise<void> {
  const [host, port] = callee.inboundAddress.split(":");
  return new Promise((resolve) => {
    const socket = tls.connect({
      host,
      port: Number(port),
      rejectUnauthorized: false,
      ALPNProtocols: ["h2"],
    });
    socket.on("error", () => {});
    socket.once("close", () => resolve());
  });
}
