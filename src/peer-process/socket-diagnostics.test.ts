import { once } from "node:events";
import net from "node:net";
import { expect, it } from "vitest";
import type { SoughtConnection } from "./connection-row.ts";
import { findConnections } from "./connection-row.ts";
import { Procfs } from "./procfs.ts";
import { SocketDiagnostics } from "./socket-diagnostics.ts";
import { socketStatistics } from "./system-program.ts";

it.runIf(socketStatistics() !== undefined).each([
  ["127.0.0.1", "127.0.0.1"],
  ["::1", "::1"],
  // A socket of IPv6 that calls an address of IPv4.
  ["127.0.0.1", "::ffff:127.0.0.1"],
])("finds what the table says of connections from %s to %s", async (listenOn, host) => {
  await using world = await connections(listenOn, host);
  using diagnostics = new SocketDiagnostics();

  const found = await diagnostics.find(world.sought);

  const rows = await findConnections(new Procfs(), world.sought);
  expect(world.sought.map((_, place) => found.get(place))).toEqual(rows);
  expect(new Set(rows?.map((row) => row?.inode)).size).toBe(2);
});

it.runIf(socketStatistics() !== undefined)(
  "finds nothing of connections that there are not, and goes on, also after its process has ended",
  async () => {
    await using world = await connections("127.0.0.1", "127.0.0.1");
    using diagnostics = new SocketDiagnostics();
    const absent = { near: { address: "127.0.0.1", port: 1 }, far: { address: "127.0.0.1", port: 2 } };
    const hostile = { near: { address: "127.0.0.1 or src :*", port: 1 }, far: absent.far };

    expect(await diagnostics.find([absent])).toEqual(new Map());
    expect(await diagnostics.find([hostile])).toEqual(new Map());
    expect(await diagnostics.find([])).toEqual(new Map());
    const among = await diagnostics.find([absent, ...world.sought]);
    expect([among.has(0), among.has(1), among.has(2)]).toEqual([false, true, true]);
    diagnostics[Symbol.dispose]();
    expect((await diagnostics.find(world.sought)).size).toBe(2);
    expect(await diagnostics.find(Array.from({ length: 17 }, () => absent))).toEqual(new Map());
  },
);

/** Two connections of this process to itself. */
async function connections(
  listenOn: string,
  host: string,
): Promise<{ readonly sought: readonly SoughtConnection[] } & AsyncDisposable> {
  const server = net.createServer().listen(0, listenOn);
  await once(server, "listening");
  const address = server.address();
  const port = typeof address === "object" ? (address?.port ?? 0) : 0;
  const sockets: net.Socket[] = [];
  const sought: SoughtConnection[] = [];
  for (let count = 0; count < 2; count += 1) {
    const client = net.connect(port, host);
    const [accepted]: net.Socket[] = await once(server, "connection");
    if (accepted === undefined) throw new Error("no connection");
    sockets.push(client, accepted);
    sought.push({
      near: { address: accepted.remoteAddress ?? "", port: accepted.remotePort ?? 0 },
      far: { address: accepted.localAddress ?? "", port: accepted.localPort ?? 0 },
    });
  }
  return {
    sought,
    [Symbol.asyncDispose]: async () => {
      for (const socket of sockets) socket.destroy();
      server.close();
      await once(server, "close");
    },
  };
}
