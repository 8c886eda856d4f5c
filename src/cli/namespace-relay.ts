import { spawnSync } from "node:child_process";
import net from "node:net";
import { systemProgram } from "../peer-process/index.ts";
import { type FromNamespace, joinSockets, type ToNamespace } from "./network-namespace.ts";

/**
 * The process that keeps a network namespace: started inside it by network-namespace.ts, it hands out the sockets that
 * listen there, and takes connections from outside to the application. It holds no key and judges nothing.
 */
const loopback = "127.0.0.1";
const probeIntervalMillis = 200;
const appPort = Number(process.argv[2]);
const handedOut = new Map<number, net.Server>();
let taken: net.Server | undefined;
let isUp = false;

const up = spawnSync(systemProgram("ip") ?? "ip", ["link", "set", "lo", "up"], { encoding: "utf8" });
if (up.status === 0) tell({ kind: "ready" });
else tell({ kind: "failed", message: up.stderr || (up.error?.message ?? "ip failed") });

process.on("message", (message: ToNamespace, handle) => {
  switch (message.kind) {
    case "listen":
      return handOut(message.port);
    case "listening-taken":
      return void handedOut.get(message.port)?.close();
    case "take":
      return handle instanceof net.Server ? take(handle) : undefined;
  }
});
process.once("disconnect", () => process.exit());
setInterval(probe, probeIntervalMillis);

function handOut(port: number): void {
  const server = net.createServer({ allowHalfOpen: true, noDelay: true });
  server.listen(port, loopback, () => {
    handedOut.set(port, server);
    process.send?.({ kind: "listening", port } satisfies FromNamespace, server);
  });
}

/** Connections from outside; the socket that they come by is of the network outside, those to the application of this. */
function take(listening: net.Server): void {
  taken?.close();
  taken = net.createServer({ allowHalfOpen: true, noDelay: true }, (caller) => {
    joinSockets(caller, net.connect({ host: loopback, port: appPort, allowHalfOpen: true, noDelay: true }));
  });
  taken.listen(listening);
  tell({ kind: "taken" });
}

/** Nobody outside is to find a port open behind which there is no application. */
function probe(): void {
  const socket = net.connect({ host: loopback, port: appPort });
  const settle = (answers: boolean): void => {
    socket.destroy();
    if (answers === isUp) return;
    isUp = answers;
    if (!isUp) {
      taken?.close();
      taken = undefined;
    }
    tell({ kind: "application", isUp });
  };
  socket.once("connect", () => settle(true));
  socket.once("error", () => settle(false));
}

function tell(message: FromNamespace): void {
  process.send?.(message);
}
