import net from "node:net";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { openDeceitfulAgent } from "../../apparatus/deceitful-agent.ts";
import { MeshInProcess, until } from "../../apparatus/mesh-in-process.ts";
import { shiftedClock, stepClocks } from "../../apparatus/shifted-clock.ts";
import { TokenPeer } from "../../apparatus/token-peer.ts";
import type { Workload } from "../../apparatus/workload.ts";
import { type Claim, failed, ok } from "../claim.ts";

const stepSeconds = 60;
const delayMillis = 500;
const requestsShort = 20;
const requestsFull = 200;

/** What came of the requests of an application, and of a token that was shown again and again. */
interface Seen {
  asked: number;
  readonly lost: string[];
  replays: number;
  accepted: number;
}

export const claim: Claim = {
  text: "steps of 60 s of either proxy's clock, and 500 ms on the way, lose no request after one more attempt, and let no captured token in",
  run: async ({ isFull }) => {
    await using mesh = await MeshInProcess.found();
    await mesh.put("requesttoken.put", { to: "/*", mode: "granted" });
    const clocks = { caller: shiftedClock(), callee: shiftedClock() };
    const callee = await mesh.open("/shop/ledger", { clock: clocks.callee });
    await using late = await openLatePath(callee.sidecar.inboundAddress);
    await using relay = await openDeceitfulAgent(
      join(mesh.folder, "late.sock"),
      mesh.agentSocketPath,
      (update) => {
        const { content } = update;
        if (content.case !== "endpoints") return update;
        const endpoints = content.value.endpoints.map((one) =>
          one.instance === callee.instance ? { ...one, address: late.address } : one,
        );
        return { ...update, content: { case: "endpoints", value: { ...content.value, endpoints } } };
      },
    );
    const caller = await mesh.open("/shop/web", {
      clock: clocks.caller,
      agentSocketPath: relay.socketPath,
    });
    await mesh.putRule("/shop/web", "/shop/ledger");
    await mesh.settled();
    await until(async () => (await caller.call(callee.host)).status === 200, "a route");
    await using thief = await TokenPeer.open(mesh, "/shop/web");
    const seen: Seen = { asked: 0, lost: [], replays: 0, accepted: 0 };
    for (const clock of [clocks.caller, clocks.callee])
      for (const seconds of [stepSeconds, -stepSeconds]) {
        await using connection = await thief.connect(callee);
        const token = await connection.mint();
        await connection.ask(token);
        await stepClocks(clock, seconds);
        await askMany(caller, callee, { seen, requests: isFull ? requestsFull : requestsShort });
        for (let time = 0; time < 3; time += 1) {
          seen.replays += 1;
          if ((await connection.ask(token)).status === 200) seen.accepted += 1;
        }
      }
    const figure = `${seen.asked} requests over 4 steps, ${seen.lost.length} lost; ${seen.replays} replays, ${seen.accepted} accepted`;
    return seen.lost.length === 0 && seen.accepted === 0
      ? ok(figure)
      : failed(`${figure}; ${seen.lost.slice(0, 3).join(", ")}`);
  },
};

async function askMany(
  caller: Workload,
  callee: Workload,
  { seen, requests }: { readonly seen: Seen; readonly requests: number },
): Promise<void> {
  const replies = await Promise.all(
    Array.from({ length: requests }, () => caller.call(callee.host, { method: "POST", body: "once" })),
  );
  seen.asked += replies.length;
  for (const { status, reason } of replies) if (status !== 200) seen.lost.push(`${status} ${reason}`);
}

/** A way to a listener on which what the caller sends is late, and what comes back is not. */
async function openLatePath(to: string): Promise<{ readonly address: string } & AsyncDisposable> {
  const [host, port] = to.split(":");
  const sockets = new Set<net.Socket>();
  const server = net.createServer((client) => {
    const listener = net.connect({ host, port: Number(port) });
    for (const socket of [client, listener]) {
      sockets.add(socket);
      socket.on("error", () => {});
      socket.on("close", () => {
        client.destroy();
        listener.destroy();
      });
    }
    listener.pipe(client);
    client.on("data", (chunk: Buffer) => {
      void sleep(delayMillis).then(() => listener.write(chunk));
    });
  });
  await new Promise<void>((resolve) => server.listen({ host: "127.0.0.1", port: 0 }, resolve));
  const bound = server.address();
  return {
    address: `127.0.0.1:${typeof bound === "object" && bound !== null ? bound.port : 0}`,
    [Symbol.asyncDispose]: async () => {
      for (const socket of sockets) socket.destroy();
      await new Promise<void>((resolve) => server.close(() => resolve()));
    },
  };
}
