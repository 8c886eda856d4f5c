import { once } from "node:events";
import http2 from "node:http2";
import { messageOf } from "../../../src/base/mesh-error.ts";
import { MeshInProcess, until } from "../../apparatus/mesh-in-process.ts";
import type { PlainApp } from "../../apparatus/plain-app.ts";
import { connectTo, openTcpApp } from "../../apparatus/tcp-app.ts";
import { TokenPeer } from "../../apparatus/token-peer.ts";
import type { Workload } from "../../apparatus/workload.ts";
import { type EchoingApp, openByUpgrade, openHttp2App } from "../../fuzz/web-socket-ends.ts";
import { type Claim, failed, ok } from "../claim.ts";

/** A request of an application, and the same of a peer that shows a token of its own twice. */
interface Protocol {
  readonly name: string;
  readonly callee: Workload;
  readonly ask: () => Promise<unknown>;
  readonly headers: http2.OutgoingHttpHeaders;
}

export const claim: Claim = {
  text: "a request token goes with every request over HTTP/1.1, HTTP/2, gRPC, WebSocket and TCP, and each is refused when it is shown again",
  run: async () => {
    await using mesh = await MeshInProcess.found();
    await mesh.put("requesttoken.put", { to: "/*", mode: "granted" });
    await mesh.putService("/shop/db");
    await mesh.putTcp("/shop/db");
    const modern = await openHttp2App();
    const tcp = await openTcpApp(({ socket }) => socket.pipe(socket));
    const [front, plain, app, database] = await Promise.all([
      mesh.open("/shop/front", { tcp: ["/shop/db"] }),
      mesh.open("/shop/plain"),
      mesh.open("/shop/modern", { app: asPlainApp(modern), appProtocol: "http2" }),
      mesh.open("/shop/db", { app: tcp }),
    ]);
    await using peer = await TokenPeer.open(mesh, "/shop/front");
    for (const { service } of [plain, app, database]) await mesh.putRule("/shop/front", service);
    await mesh.settled();
    await until(async () => (await front.call(plain.host)).status === 200, "a route");
    await until(async () => (await front.call(app.host)).status === 200, "a route");
    await until(async () => (await echoOf(front)) === "over tcp", "a route");
    const outbound = Number(front.sidecar.outboundAddress.split(":")[1]);
    const grpc = { ":method": "POST", ":path": "/x.Y/Z", "content-type": "application/grpc", te: "trailers" };
    const webSocket = {
      ":method": "CONNECT",
      ":protocol": "websocket",
      ":scheme": "http",
      "sec-websocket-version": "13",
    };
    const protocols: Protocol[] = [
      { name: "HTTP/1.1", callee: plain, ask: () => front.call(plain.host), headers: {} },
      {
        name: "HTTP/2",
        callee: app,
        ask: () => askHttp2(outbound, app.host, {}),
        headers: { ":method": "POST", ":path": "/h2" },
      },
      { name: "gRPC", callee: app, ask: () => askHttp2(outbound, app.host, grpc), headers: grpc },
      {
        name: "WebSocket",
        callee: app,
        ask: async () => (await openByUpgrade(outbound, "", [], app.host))[Symbol.dispose](),
        headers: webSocket,
      },
      { name: "TCP", callee: database, ask: () => echoOf(front), headers: { ":method": "CONNECT" } },
    ];
    for (const protocol of protocols) {
      const wrong = await wrongWith(protocol, peer).catch(messageOf);
      if (wrong !== undefined) return failed(`${protocol.name}: ${wrong}`);
    }
    return ok(`${protocols.length} protocols: each with a token of its own, each replay refused`);
  },
};

async function wrongWith({ callee, ask, headers }: Protocol, peer: TokenPeer): Promise<string | undefined> {
  const before = await acceptedBy(callee);
  await ask();
  const accepted = (await acceptedBy(callee)) - before;
  if (accepted !== 1) return `${accepted} tokens were accepted for one request`;
  await using connection = await peer.connect(callee);
  const asked = String(headers[":method"] ?? "GET");
  const isWebSocket = headers[":protocol"] !== undefined;
  const isTcp = asked === "CONNECT" && !isWebSocket;
  const method = isWebSocket ? "GET" : asked;
  const path = isTcp ? `${callee.host}:80` : String(headers[":path"] ?? "/");
  const token = await connection.mint({ method, path });
  const tokens = await acceptedBy(callee);
  const first = await connection.ask(token, headers);
  if ((await acceptedBy(callee)) !== tokens + 1) return `the first time: ${first.status} ${first.reason}`;
  const replay = await connection.ask(token, headers);
  const said = `${replay.reason} ${String(replay.headers["troth-token-refused"])}`;
  if (!said.includes("request-token-replayed")) return `replayed: ${replay.status} ${said}`;
  return (await acceptedBy(callee)) === tokens + 1 ? undefined : "the replay was accepted";
}

function asPlainApp(app: EchoingApp): PlainApp {
  const close = (): Promise<void> => Promise.resolve(app[Symbol.asyncDispose]());
  return { port: app.port, seen: [], bytes: () => 0, kill: close, [Symbol.asyncDispose]: close };
}

function acceptedBy(callee: Workload): Promise<number> {
  const labels = { direction: "inbound", outcome: "accepted" };
  return callee.metric("troth_proxy_request_tokens_total", labels);
}

async function askHttp2(port: number, host: string, headers: http2.OutgoingHttpHeaders): Promise<void> {
  const session = http2.connect(`http://127.0.0.1:${port}`);
  const stream = session.request({ ":path": "/", ...headers, ":authority": host });
  stream.end();
  stream.resume();
  await once(stream, "close");
  session.destroy();
}

async function echoOf(front: Workload): Promise<string> {
  const end = await connectTo(front.sidecar.tcpAddresses[0] ?? "");
  end.socket.end("over tcp");
  await until(() => end.closed !== undefined || end.hasEnded, "the end");
  end.socket.destroy();
  return end.bytes.toString();
}
