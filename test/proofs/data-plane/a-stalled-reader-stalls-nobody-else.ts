import { once } from "node:events";
import http2 from "node:http2";
import { setTimeout as sleep } from "node:timers/promises";
import { canSeeProcesses, processesMarked } from "../../apparatus/marked-processes.ts";
import {
  apparatus,
  openMesh,
  openService,
  type RunningService,
  troth,
} from "../../apparatus/running-mesh.ts";
import { residentBytesOf } from "../../apparatus/sidecar-fleet.ts";
import { type Claim, failed, ok, skipped } from "../claim.ts";

const connections = 4;
const streams = 1_000;
const secondsShort = 0.8;
const secondsFull = 8;
/** Of the requests that are completed beside nobody who stalls; less would be more than a noisy machine. */
const ratioMin = 0.7;
/** So many stall at once when memory is looked at. */
const stalledForMemory = 200;
const responseBytes = 64 * 1024 * 1024;
/** What one stalled stream may hold in one sidecar: the window of the stream, and what waits for the client's. */
const heldBytesMax = 64 * 1024 + 64 * 1024;
/** What else a process may take: garbage before it is first collected (64 MiB, sidecarFlags), and sockets. */
const otherBytesMax = 96 * 1024 * 1024;
const settleMillis = 1_000;

export const claim: Claim = {
  text: "of a thousand streams through two sidecars, those that nobody reads slow none of the others, and no sidecar holds more of them than their windows",
  run: async (context) => {
    if (!canSeeProcesses()) return skipped("finding the sidecars takes procfs");
    await using mesh = await openMesh({ kind: "up" });
    await using callee = await openService(mesh, "/proof/callee", { command: apparatus("streaming-app.ts") });
    await using caller = await openService(mesh, "/proof/caller");
    const allowed = await troth(mesh.path, "allow", "/proof/caller", "/proof/callee");
    if (allowed.code !== 0) return failed(`troth allow: ${allowed.stderr}`);
    using load = await Load.open(caller.outboundAddress);
    await load.untilAnswered();

    const millis = 1000 * (context.isFull ? secondsFull : secondsShort);
    // Processes that have just begun are slow, and would be so beside nobody who stalls.
    await load.run(streams, { stalled: 0, millis: 3 * millis });
    const completed = new Map<number, number>();
    // In turns, of which the best counts: what else a machine does makes it slower, and never faster.
    for (const stalled of [0, 1, 10, 10, 1, 0, 0, 1, 10, 10, 1, 0]) {
      const requests = await load.run(streams, { stalled, millis });
      completed.set(stalled, Math.max(completed.get(stalled) ?? 0, requests));
    }
    const alone = completed.get(0) ?? 0;
    const ratios = [1, 10].map((stalled) => (completed.get(stalled) ?? 0) / alone);
    await sleep(settleMillis);
    const memory = await heldBy(load, [caller, callee]);
    const mebibytes = (bytes: number): string => (bytes / 2 ** 20).toFixed(1);
    const allowedBytes = stalledForMemory * heldBytesMax + otherBytesMax;
    const figure = [
      `${Math.round((1000 * alone) / millis)} requests a second beside nobody who stalls, ${ratios[0]?.toFixed(2)} as many beside one and ${ratios[1]?.toFixed(2)} beside ten`,
      `${load.failures} failed`,
      `${stalledForMemory} stalled, of ${mebibytes(responseBytes)} MiB each, made the sidecars grow by ${memory.map(mebibytes).join(" and ")} MiB, their windows and what waits for them being ${mebibytes(stalledForMemory * heldBytesMax)} MiB`,
    ].join("; ");
    const isSlow = ratios.some((ratio) => !(ratio >= ratioMin));
    const isLarge = memory.some((bytes) => bytes > allowedBytes);
    return isSlow || isLarge || load.failures > 0 || alone === 0 ? failed(figure) : ok(figure);
  },
};

/** How much larger each sidecar is with stalled streams than without. */
async function heldBy(load: Load, services: readonly RunningService[]): Promise<number[]> {
  const pids = services.flatMap(({ command }) =>
    processesMarked(command.mark).flatMap(({ pid, command: line }) =>
      line.includes("sidecar") ? [pid] : [],
    ),
  );
  if (pids.length !== 2) throw new Error(`there are ${pids.length} sidecars, not two`);
  const before = pids.map(residentBytesOf);
  const stalled = await load.stall(stalledForMemory);
  await sleep(settleMillis);
  const growth = pids.map((pid, place) => residentBytesOf(pid) - (before[place] ?? 0));
  for (const stream of stalled) stream.destroy();
  return growth;
}

/** Streams over a few connections to a sidecar's application listener. */
class Load {
  /** Requests that did not get the whole of a good answer. */
  failures = 0;
  readonly #sessions: readonly http2.ClientHttp2Session[];

  private constructor(sessions: readonly http2.ClientHttp2Session[]) {
    this.#sessions = sessions;
  }

  static async open(address: string): Promise<Load> {
    const sessions = Array.from({ length: connections }, () => http2.connect(`http://${address}`));
    await Promise.all(
      sessions.map(async (session) => {
        await once(session, "connect");
        // Node counts what nobody reads of one stream against the connection.
        session.setLocalWindowSize(2 ** 26);
        session.setMaxListeners(0);
      }),
    );
    return new Load(sessions);
  }

  /** Waits until the way is open. */
  async untilAnswered(): Promise<void> {
    for (let attempt = 0; attempt < 100; attempt += 1) {
      if (await this.#ask(0)) return;
      await sleep(100);
    }
    throw new Error("the callee was never reached");
  }

  /** Keeps so many streams open for a while, those that stall among them; how many requests were completed. */
  async run(
    count: number,
    { stalled, millis }: { readonly stalled: number; readonly millis: number },
  ): Promise<number> {
    const unread = await this.stall(stalled);
    const until = performance.now() + millis;
    let completed = 0;
    const keepAsking = async (place: number): Promise<void> => {
      while (performance.now() < until) {
        const isAnswered = await this.#ask(place);
        if (!isAnswered) this.failures += 1;
        else if (performance.now() < until) completed += 1;
      }
    };
    await Promise.all(Array.from({ length: count - stalled }, (_, place) => keepAsking(place)));
    // That they were there all the time is what this is about.
    this.failures += unread.filter(({ destroyed }) => destroyed).length;
    for (const stream of unread) stream.destroy();
    return completed;
  }

  /** Opens streams whose large responses nobody reads; resolves once each has begun. */
  async stall(count: number): Promise<http2.ClientHttp2Stream[]> {
    return Promise.all(
      Array.from({ length: count }, async (_, place) => {
        const stream = this.#request(place, `/${responseBytes}`);
        await once(stream, "response");
        return stream;
      }),
    );
  }

  [Symbol.dispose](): void {
    for (const session of this.#sessions) session.destroy();
  }

  #request(place: number, path: string): http2.ClientHttp2Stream {
    const session = this.#sessions[place % this.#sessions.length];
    if (session === undefined) throw new Error("no connection");
    const stream = session.request({ ":path": path, ":authority": "callee.proof.mesh" });
    stream.on("error", () => {});
    return stream;
  }

  async #ask(place: number): Promise<boolean> {
    const stream = this.#request(place, "/");
    let status = 0;
    let bytes = 0;
    stream.on("response", (headers) => {
      status = Number(headers[":status"]);
    });
    stream.on("data", (chunk: Buffer) => {
      bytes += chunk.length;
    });
    await once(stream, "close");
    return status === 200 && bytes === 1024;
  }
}
