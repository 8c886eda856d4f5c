import { randomInt } from "node:crypto";
import net from "node:net";
import { CliError, exitCode } from "./exit-codes.ts";

/** Below what systems take for outgoing connections (32768 and up), so that none of those is there a moment later. */
const portMin = 20_000;
const portMax = 32_000;
const attemptsMax = 200;

/** Given out by this process before; whoever got one may not listen yet. */
const givenOut = new Set<number>();

/** `preferred` if nobody listens there on loopback, otherwise a port that is free now and not given out before. */
export async function freePort(preferred?: number): Promise<number> {
  if (preferred !== undefined && (await isPortFree(preferred))) return preferred;
  for (let attempt = 0; attempt < attemptsMax; attempt += 1) {
    const port = randomInt(portMin, portMax);
    if (givenOut.has(port)) continue;
    givenOut.add(port);
    if (await isPortFree(port)) return port;
  }
  throw new CliError(exitCode.failed, `no free port between ${portMin} and ${portMax} on loopback`);
}

/** Whether nobody listens on a port of loopback now. */
export function isPortFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = net.createServer();
    server.once("error", () => resolve(false));
    server.listen({ host: "127.0.0.1", port }, () => server.close(() => resolve(true)));
  });
}
