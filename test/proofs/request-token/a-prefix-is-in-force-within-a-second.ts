import { setTimeout as sleep } from "node:timers/promises";
import { MeshInProcess } from "../../apparatus/mesh-in-process.ts";
import type { Workload } from "../../apparatus/workload.ts";
import { type Claim, failed, ok } from "../claim.ts";

const full = { prefixes: 30, callers: 6 };
const short = { prefixes: 12, callers: 3 };
const millisMax = 1_000;
const pollMillis = 4;
const waitMillisMax = 10_000;

/** A real control plane, agent and sidecars on real sockets, in this process. */
export const claim: Claim = {
  text: "from the entry that grants a prefix to the first answer under it, by way of the holder's advertisement, it takes a second at most (p99) at 3 callers, and so does a withdrawal (12 prefixes; --full: 30 and 6 callers)",
  run: async (context) => {
    const size = context.isFull ? full : short;
    const prefixes = Array.from({ length: size.prefixes }, (_, number) => `/media/part-${number}`);
    await using mesh = await MeshInProcess.found();
    await mesh.putService("/media/player");
    const callers: Workload[] = [];
    for (let number = 0; number < size.callers; number += 1) {
      callers.push(await mesh.open(`/shop/web-${number}`));
      await mesh.putRule(`/shop/web-${number}`, "/media/*");
    }
    await mesh.open("/media/player", { prefixes });
    await mesh.settled();

    const granted: number[] = [];
    const withdrawn: number[] = [];
    for (const [number, prefix] of prefixes.entries()) {
      const host = `part-${number}.media.mesh`;
      const inForce = timed(mesh.grant(prefix, "/media/player"));
      granted.push(...(await Promise.all(callers.map((one) => inForce.until(one, host, 200)))));
      const over = timed(mesh.put("prefix.withdraw", { prefix }));
      withdrawn.push(...(await Promise.all(callers.map((one) => over.until(one, host, 404)))));
    }
    const figure = `grant to answer ${percentilesOf(granted)}; withdrawal to refusal ${percentilesOf(withdrawn)}; ${granted.length} of each`;
    const isSo = p99Of(granted) <= millisMax && p99Of(withdrawn) <= millisMax;
    return isSo ? ok(figure) : failed(figure);
  },
};

/** Counts from the start of a change, whose end is not waited for. */
function timed(change: Promise<void>): {
  readonly until: (caller: Workload, host: string, status: number) => Promise<number>;
} {
  const started = performance.now();
  return {
    until: async (caller, host, status) => {
      for (;;) {
        const reply = await caller.call(host);
        const millis = performance.now() - started;
        if (reply.status === status) {
          await change;
          return millis;
        }
        if (millis > waitMillisMax)
          throw new Error(`${host} is answered ${reply.status} ${reply.reason}, not ${status}`);
        await sleep(pollMillis);
      }
    },
  };
}

function p99Of(millis: readonly number[]): number {
  const sorted = millis.toSorted((left, right) => left - right);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * 0.99))] ?? Number.POSITIVE_INFINITY;
}

function percentilesOf(millis: readonly number[]): string {
  const sorted = millis.toSorted((left, right) => left - right);
  return `p50 ${(sorted[Math.floor(sorted.length / 2)] ?? 0).toFixed(0)} ms, p99 ${p99Of(millis).toFixed(0)} ms`;
}
