import { createHash } from "node:crypto";
import { once } from "node:events";
import {
  Agent,
  createServer,
  type IncomingMessage,
  request,
  type Server,
  type ServerResponse,
} from "node:http";
import type { Socket } from "node:net";
import { describe, expect, test } from "vitest";
import { aWhile, type Hop, openHop, openUpstream, RawClient, until } from "../../../test/fuzz/http1-hop.ts";

const pieceBytes = 64 * 1024;
const pieces = 800; // 50 MiB
const piece = Buffer.alloc(pieceBytes, "troth");

/** What the proxy may hold of a stream: the buffers of its two sockets and one piece on the way. */
const heldBytesMax = 512 * 1024;

describe("a stream of 50 MiB", () => {
  test.each([
    ["of a declared length", { "content-length": pieceBytes * pieces }],
    ["in chunks", {}],
  ])("%s goes there and back at once, whole and through bounded memory", async (_, headers) => {
    await using app = await openApp((incoming, respond) => {
      incoming.pipe(respond(200, headers));
    });
    await using hop = await openHop(app.port);
    const held = watchHeld(hop);
    using agent = disposable(new Agent({ keepAlive: true }));
    const upload = request({
      port: hop.port,
      host: "127.0.0.1",
      method: "POST",
      path: "/",
      agent: agent.agent,
      headers,
    });
    const sent = createHash("sha256");
    const received = createHash("sha256");
    let receivedBytes = 0;
    upload.on("response", (response: IncomingMessage) => {
      response.on("data", (chunk: Buffer) => {
        received.update(chunk);
        receivedBytes += chunk.length;
      });
    });

    for (let index = 0; index < pieces; index += 1) {
      sent.update(piece);
      if (!upload.write(piece)) await once(upload, "drain");
    }
    upload.end();
    await until(() => receivedBytes === pieceBytes * pieces);

    expect(received.digest("hex")).toBe(sent.digest("hex"));
    expect(held.stop()).toBeLessThan(heldBytesMax);
    expect(hop.events).toMatchObject([
      { requestBytes: pieceBytes * pieces, responseBytes: pieceBytes * pieces },
    ]);
  });

  test("waits for a client that does not read, and goes on when it does", async () => {
    let given = 0;
    await using app = await openApp(async (_, respond) => {
      const response = respond(200, { "content-length": pieceBytes * pieces });
      for (let index = 0; index < pieces; index += 1) {
        given += pieceBytes;
        if (!response.write(piece)) await once(response, "drain");
      }
      response.end();
    });
    await using hop = await openHop(app.port);
    const held = watchHeld(hop);
    using client = new RawClient(hop.port);
    client.socket.removeAllListeners("data");
    client.socket.pause();
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");

    const before = await settled(() => given);
    let received = 0;
    client.socket.on("data", (chunk) => {
      received += chunk.length;
    });
    client.socket.resume();
    await until(() => received > pieceBytes * pieces);

    expect(before).toBeLessThan((pieceBytes * pieces) / 2);
    expect(held.stop()).toBeLessThan(heldBytesMax);
  });

  test("waits for an upstream that does not read, and goes on when it does", async () => {
    let upstreamSocket: Socket | undefined;
    await using upstream = await openUpstream(() => {});
    await using hop = await openHop(upstream.port);
    const held = watchHeld(hop);
    using client = new RawClient(hop.port);
    client.send(`POST / HTTP/1.1\r\nHost: a\r\nContent-Length: ${pieceBytes * pieces}\r\n\r\n`);
    await until(() => upstream.sockets.length === 1);
    [upstreamSocket] = upstream.sockets;
    upstreamSocket?.removeAllListeners("data");
    upstreamSocket?.pause();
    let sent = 0;
    const sending = (async () => {
      for (let index = 0; index < pieces; index += 1) {
        sent += pieceBytes;
        if (!client.socket.write(piece)) await once(client.socket, "drain");
      }
    })();

    const before = await settled(() => sent);
    let received = 0;
    upstreamSocket?.on("data", (chunk) => {
      received += chunk.length;
    });
    upstreamSocket?.resume();
    await sending;
    await until(() => received >= pieceBytes * pieces);

    expect(before).toBeLessThan((pieceBytes * pieces) / 2);
    expect(held.stop()).toBeLessThan(heldBytesMax);
  });
});

test("sixteen clients of node:http in turn share the connections to an app of node:http", async () => {
  const paths: string[] = [];
  await using app = await openApp((incoming, respond) => {
    paths.push(incoming.url ?? "");
    respond(200, {}).end(`${incoming.method} ${incoming.url}`);
  });
  await using hop = await openHop(app.port);
  using agent = disposable(new Agent({ keepAlive: true, maxSockets: 16 }));
  const ask = async (path: string): Promise<string> => {
    const asked = request({ port: hop.port, host: "127.0.0.1", path, agent: agent.agent });
    asked.end();
    const [response]: IncomingMessage[] = await once(asked, "response");
    let text = "";
    for await (const chunk of response ?? []) text += String(chunk);
    return text;
  };

  for (let round = 0; round < 5; round += 1) {
    const answers = await Promise.all(Array.from({ length: 16 }, (_, index) => ask(`/${round}/${index}`)));
    expect(answers).toEqual(answers.map((_, index) => `GET /${round}/${index}`));
  }

  expect(paths).toHaveLength(80);
  expect(app.connections()).toBeLessThanOrEqual(16);
  expect(hop.clientSockets.length).toBeLessThanOrEqual(16);
});

interface App extends AsyncDisposable {
  readonly port: number;
  connections(): number;
}

type Respond = (status: number, headers: Record<string, number>) => ServerResponse;

async function openApp(onRequest: (incoming: IncomingMessage, respond: Respond) => unknown): Promise<App> {
  let connections = 0;
  const server: Server = createServer((incoming, response) => {
    onRequest(incoming, (status, headers) => response.writeHead(status, headers));
  });
  server.on("connection", () => {
    connections += 1;
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  return {
    port: typeof address === "object" && address !== null ? address.port : 0,
    connections: () => connections,
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

function watchHeld(hop: Hop): { stop: () => number } {
  let most = 0;
  const interval = setInterval(() => {
    let held = 0;
    for (const socket of [...hop.clientSockets, ...hop.upstreamSockets])
      held += socket.writableLength + socket.readableLength;
    most = Math.max(most, held);
  }, 1);
  return {
    stop: () => {
      clearInterval(interval);
      return most;
    },
  };
}

/** The value of a counter once it stands still. */
async function settled(counter: () => number): Promise<number> {
  for (let last = -1; last !== counter() || last === 0; await aWhile()) last = counter();
  return counter();
}

function disposable(agent: Agent): { agent: Agent } & Disposable {
  return { agent, [Symbol.dispose]: () => agent.destroy() };
}
