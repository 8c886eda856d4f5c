import { randomBytes } from "node:crypto";
import net from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import tls from "node:tls";
import { generateEd25519 } from "../../src/crypto/index.ts";
import { joinMesh } from "../../src/node-agent/index.ts";
import type { JoinToken } from "../../src/protocol/index.ts";
import { httpCall } from "./http-call.ts";

const atOnce = 16;
const openMillisMax = 2_000;
const trickleMillis = 250;

/** Somebody who asks for much, until told to end; answers with how often. */
export type Flood = (isOver: () => boolean) => Promise<number>;

/** Joins with tokens of which none was ever given out. */
export function joinsWith(token: JoinToken): Flood {
  return repeated(async () => {
    const clock = { nowSeconds: () => Date.now() / 1000, monotonicMillis: () => performance.now() };
    const nodeKey = generateEd25519().privateKey;
    const joining = joinMesh(token, { nodeKey, clock, randomBytes, timeoutMillis: openMillisMax });
    await joining.catch(() => {});
  });
}

/** TLS handshakes that show no certificate. */
export function namelessHandshakes(address: string, protocol: "h2" | "http/1.1"): Flood {
  return repeated(
    () =>
      new Promise((resolve) => {
        const socket = tls.connect({
          ...hostAndPortOf(address),
          ALPNProtocols: [protocol],
          rejectUnauthorized: false,
          timeout: openMillisMax,
        });
        socket.on("timeout", () => socket.destroy());
        socket.on("error", () => socket.destroy());
        socket.on("close", () => resolve());
        socket.once("secureConnect", () => setTimeout(() => socket.destroy(), 20));
      }),
  );
}

/** Requests through a sidecar that no rule allows, each for another path. */
export function deniedRequests(outboundAddress: string, host: string): Flood {
  let number = 0;
  return repeated(async () => {
    number += 1;
    await httpCall({ address: outboundAddress, host, path: `/none/of/hers/${number}` });
  });
}

/** So many connections at once that say `start` and then one byte at a time; those that are ended come back. */
export function slowConnections(address: string, wanted: number, start = ""): Flood {
  return async (isOver) => {
    const sockets = new Set<net.Socket>();
    let opened = 0;
    while (!isOver()) {
      while (sockets.size < wanted) {
        const socket = net.connect(hostAndPortOf(address));
        opened += 1;
        sockets.add(socket);
        socket.on("error", () => socket.destroy());
        socket.on("close", () => sockets.delete(socket));
        if (start !== "") socket.write(start);
      }
      await sleep(trickleMillis);
      if (start !== "") for (const socket of sockets) socket.write("x");
    }
    for (const socket of sockets) socket.destroy();
    return opened;
  };
}

function repeated(once: () => Promise<void>): Flood {
  return async (isOver) => {
    let count = 0;
    const keepOn = async (): Promise<void> => {
      while (!isOver()) {
        await once();
        count += 1;
      }
    };
    await Promise.all(Array.from({ length: atOnce }, keepOn));
    return count;
  };
}

function hostAndPortOf(address: string): { readonly host: string; readonly port: number } {
  const [host = "", port = ""] = address.split(":");
  return { host, port: Number(port) };
}
