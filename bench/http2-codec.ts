/**
 * What one request costs over HTTP/2 with our sessions and with node:http2: one connection between two processes on
 * loopback, closed loop. `node bench/http2-codec.ts [seconds] [rounds] [tcp|tls] [profile folder]`.
 */
import { type ChildProcess, fork } from "node:child_process";
import { randomBytes } from "node:crypto";
import {
  type ClientHttp2Session,
  connect as connectNode,
  createServer as createNodeServer,
  createSecureServer,
  type ServerHttp2Stream,
} from "node:http2";
import { connect, createServer, type Server, type Socket } from "node:net";
import { connect as connectTls, createServer as createTlsServer, type TLSSocket } from "node:tls";
import {
  buildSelfSignedCertificate,
  distinguishedName,
  generateP256,
  pemOfPrivateKey,
} from "../src/crypto/index.ts";
import { CoarseTimer } from "../src/data-plane/coarse-timer.ts";
import {
  attachSocket,
  ClientSession,
  type Http2Stream,
  headerField,
  type ResponseHandler,
  ServerSession,
  type StreamHandler,
} from "../src/data-plane/http2/index.ts";

type Codec = "troth" | "node";
type Carrier = "tcp" | "tls";
interface Order {
  readonly port: number;
  readonly streams: number;
  readonly millis: number;
}
interface Count {
  readonly requests: number;
  readonly cpuMicros: number;
  readonly millis: number;
}

const body = Buffer.alloc(1024, "x");
const clock = { nowSeconds: () => Date.now() / 1000, monotonicMillis: () => performance.now() };
const requestFields: readonly (readonly [string, string])[] = [
  [":method", "GET"],
  [":scheme", "https"],
  [":authority", "orders.shop.internal"],
  [":path", "/shop/orders/17?full=1"],
  ["user-agent", "bench/1"],
  ["accept", "application/json"],
  ["accept-encoding", "gzip, deflate"],
  ["x-forwarded-proto", "https"],
  ["traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"],
];
const responseFields: readonly (readonly [string, string])[] = [
  [":status", "200"],
  ["content-type", "application/json"],
  ["content-length", String(body.length)],
  ["server", "bench"],
  ["date", "Sun, 22 Nov 2026 11:00:00 GMT"],
];

async function main(): Promise<void> {
  const [first = "2", second = "5", third = "tcp,tls", profile] = process.argv.slice(2);
  const carriers = third.split(",").filter((name): name is Carrier => name === "tcp" || name === "tls");
  console.log("carrier streams |  troth req/s   µs/req |   node req/s   µs/req | req/s ratio  cpu ratio");
  for (const carrier of carriers) {
    const pairs = { troth: await openPair("troth", carrier, profile), node: await openPair("node", carrier) };
    for (const streams of [1, 16, 64, 256]) {
      const rounds: { troth: Count; node: Count }[] = [];
      for (let round = 0; round < Number(second); round += 1) {
        const troth = await pairs.troth.run(streams, Number(first) * 1000);
        rounds.push({ troth, node: await pairs.node.run(streams, Number(first) * 1000) });
      }
      console.log(`${carrier.padEnd(7)} ${String(streams).padStart(7)} | ${line(rounds)}`);
    }
    await pairs.troth.close();
    await pairs.node.close();
  }
}

function line(rounds: readonly { troth: Count; node: Count }[]): string {
  const rate = (count: Count): number => (count.requests * 1000) / count.millis;
  const cost = (count: Count): number => count.cpuMicros / count.requests;
  const of = (value: (round: { troth: Count; node: Count }) => number, digits: number): string =>
    median(rounds.map(value)).toFixed(digits).padStart(8);
  return [
    `${of(({ troth }) => rate(troth), 0)} ${of(({ troth }) => cost(troth), 1)}`,
    `${of(({ node }) => rate(node), 0)} ${of(({ node }) => cost(node), 1)}`,
    `${of(({ troth, node }) => rate(troth) / rate(node), 2)} ${of(({ troth, node }) => cost(troth) / cost(node), 2)}`,
  ].join("   | ");
}

function median(values: readonly number[]): number {
  return values.toSorted((left, right) => left - right)[values.length >> 1] ?? 0;
}

async function openPair(
  codec: Codec,
  carrier: Carrier,
  profile?: string,
): Promise<{ run: (streams: number, millis: number) => Promise<Count>; close: () => Promise<void> }> {
  const start = (role: string): ChildProcess => {
    const execArgv = profile === undefined ? [] : ["--cpu-prof", `--cpu-prof-dir=${profile}/${role}`];
    return fork(import.meta.filename, ["part", role, codec, carrier], { execArgv });
  };
  const server = start("server");
  const { port } = await answer<{ port: number }>(server);
  const client = start("client");
  await answer(client);
  return {
    run: async (streams, millis) => {
      const before = answer<{ cpu: number }>(server);
      server.send("cpu");
      const { cpu } = await before;
      const done = answer<Count>(client);
      client.send({ port, streams, millis } satisfies Order);
      const count = await done;
      const after = answer<{ cpu: number }>(server);
      server.send("cpu");
      return { ...count, cpuMicros: count.cpuMicros + (await after).cpu - cpu };
    },
    close: async () => {
      for (const child of [client, server])
        await new Promise((resolve) => {
          child.once("exit", resolve);
          child.disconnect();
        });
    },
  };
}

async function answer<Message>(child: ChildProcess): Promise<Message> {
  return new Promise((resolve) => {
    child.once("message", (message: Message) => resolve(message));
  });
}

function cpu(): number {
  const { user, system } = process.cpuUsage();
  return user + system;
}

async function serve(codec: Codec, carrier: Carrier): Promise<void> {
  const timer = new CoarseTimer(clock).start();
  const identity = carrier === "tls" ? newIdentity() : undefined;
  const server = codec === "node" ? nodeServer(identity) : trothServer(identity, timer);
  await new Promise<void>((resolve) => {
    server.listen(0, "127.0.0.1", resolve);
  });
  const address = server.address();
  process.on("message", () => process.send?.({ cpu: cpu() }));
  process.on("disconnect", () => process.exit());
  process.send?.({ port: typeof address === "object" && address !== null ? address.port : 0 });
}

function newIdentity(): { key: string; cert: string } {
  const { privateKey } = generateP256();
  const seconds = Math.floor(Date.now() / 1000);
  const der = buildSelfSignedCertificate(
    {
      serial: Uint8Array.of(1, ...randomBytes(8)),
      subject: distinguishedName("bench"),
      notBeforeSeconds: seconds - 60,
      notAfterSeconds: seconds + 86_400,
    },
    privateKey,
  );
  const base64 = Buffer.from(der).toString("base64");
  return {
    key: pemOfPrivateKey(privateKey),
    cert: `-----BEGIN CERTIFICATE-----\n${base64}\n-----END CERTIFICATE-----\n`,
  };
}

function trothServer(identity: { key: string; cert: string } | undefined, timer: CoarseTimer): Server {
  const fields = responseFields.map(([name, value]) => headerField(name, value));
  const onSocket = (socket: Socket): void => {
    socket.setNoDelay(true);
    const onRequest = (stream: Http2Stream): StreamHandler => new Answering(stream, fields);
    const session = new ServerSession({ onRequest }, { transport: socket, timer, schedule: setImmediate });
    attachSocket(socket, session);
  };
  return identity === undefined
    ? createServer(onSocket)
    : createTlsServer({ ...identity, minVersion: "TLSv1.3", ALPNProtocols: ["h2"] }, onSocket);
}

class Answering implements StreamHandler {
  private readonly stream: Http2Stream;
  private readonly fields: Parameters<Http2Stream["sendHead"]>[0];
  private sent = 0;

  constructor(stream: Http2Stream, fields: Parameters<Http2Stream["sendHead"]>[0]) {
    this.stream = stream;
    this.fields = fields;
  }

  onData(_: Buffer, start: number, end: number): void {
    this.stream.consume(end - start);
  }

  onEnd(): void {
    this.stream.sendHead(this.fields, false);
    this.onWritable();
  }

  onReset(): void {}

  onWritable(): void {
    this.sent += this.stream.sendData(body, this.sent, body.length, true);
  }

  onDeadline(): void {}
}

function nodeServer(identity: { key: string; cert: string } | undefined): Server {
  const settings = { maxConcurrentStreams: 1000 };
  const server =
    identity === undefined ? createNodeServer({ settings }) : createSecureServer({ ...identity, settings });
  server.on("stream", (stream: ServerHttp2Stream) => {
    stream.respond(Object.fromEntries(responseFields));
    stream.end(body);
  });
  return server;
}

async function ask(codec: Codec, carrier: Carrier): Promise<void> {
  process.on("disconnect", () => process.exit());
  process.on("message", (order: Order) => {
    const runs = codec === "node" ? runNode(order, carrier) : runTroth(order, carrier);
    void runs.then((count) => process.send?.(count));
  });
  process.send?.("ready");
}

/** Runs for a while and counts; the first fifth is left out. */
async function measure(order: Order, requests: () => number): Promise<Count> {
  await sleep(order.millis / 5);
  const before = { requests: requests(), cpu: cpu(), at: performance.now() };
  await sleep(order.millis);
  return {
    requests: requests() - before.requests,
    cpuMicros: cpu() - before.cpu,
    millis: performance.now() - before.at,
  };
}

async function sleep(millis: number): Promise<void> {
  return new Promise((resolve) => {
    setTimeout(resolve, millis);
  });
}

async function runTroth(order: Order, carrier: Carrier): Promise<Count> {
  const timer = new CoarseTimer(clock).start();
  const socket = await dial(order.port, carrier);
  const session = new ClientSession({}, { transport: socket, timer, schedule: setImmediate });
  attachSocket(socket, session);
  const fields = requestFields.map(([name, value]) => headerField(name, value));
  let requests = 0;
  let isOver = false;
  const next = (): void => {
    requests += 1;
    if (!isOver) begin();
  };
  const begin = (): void => {
    const handler = new Counting(next);
    handler.stream = session.open(fields, true, handler);
  };
  for (let place = 0; place < order.streams; place += 1) begin();
  const count = await measure(order, () => requests);
  isOver = true;
  session.destroy();
  timer[Symbol.dispose]();
  return count;
}

class Counting implements ResponseHandler {
  stream: Http2Stream | undefined;
  private readonly next: () => void;

  constructor(next: () => void) {
    this.next = next;
  }

  onInterim(): void {}
  onResponse(): void {}

  onData(_: Buffer, start: number, end: number): void {
    this.stream?.consume(end - start);
  }

  onEnd(): void {
    this.next();
  }

  onReset(): void {}
  onWritable(): void {}
  onDeadline(): void {}
}

async function dial(port: number, carrier: Carrier): Promise<Socket | TLSSocket> {
  return new Promise((resolve) => {
    const socket =
      carrier === "tcp"
        ? connect(port, "127.0.0.1", () => resolve(socket))
        : connectTls({ port, host: "127.0.0.1", rejectUnauthorized: false, ALPNProtocols: ["h2"] }, () =>
            resolve(socket),
          );
    socket.setNoDelay(true);
  });
}

async function runNode(order: Order, carrier: Carrier): Promise<Count> {
  const scheme = carrier === "tcp" ? "http" : "https";
  const session: ClientHttp2Session = connectNode(`${scheme}://127.0.0.1:${order.port}`, {
    rejectUnauthorized: false,
    peerMaxConcurrentStreams: 1000,
  });
  await new Promise((resolve) => {
    session.once("remoteSettings", resolve);
  });
  let requests = 0;
  let isOver = false;
  const headers = Object.fromEntries(requestFields);
  const begin = (): void => {
    const stream = session.request(headers);
    stream.resume();
    stream.on("end", () => {
      requests += 1;
      if (!isOver) begin();
    });
    stream.on("error", () => {});
  };
  for (let place = 0; place < order.streams; place += 1) begin();
  const count = await measure(order, () => requests);
  isOver = true;
  session.destroy();
  return count;
}

const [kind, role, codec, carrier] = process.argv.slice(2);
if (kind !== "part") await main();
else {
  const parts = {
    codec: codec === "node" ? "node" : "troth",
    carrier: carrier === "tls" ? "tls" : "tcp",
  } as const;
  await (role === "server" ? serve(parts.codec, parts.carrier) : ask(parts.codec, parts.carrier));
}
