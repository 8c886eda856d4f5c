import { randomBytes } from "node:crypto";
import http2 from "node:http2";
import net from "node:net";
import tls from "node:tls";
import { createClient } from "@connectrpc/connect";
import { expect, it, test, vi } from "vitest";
import { hexOf, sameBytes } from "../base/bytes.ts";
import { generateEd25519, publicKeyBytes } from "../crypto/index.ts";
import { Admin } from "../protocol/index.ts";
import { openRpcConnection, openRpcServer, peerKey, type RpcServer, tlsIdentityOf } from "./index.ts";

const server = tlsIdentityOf(generateEd25519().privateKey, randomBytes);
const member = generateEd25519();
const memberIdentity = tlsIdentityOf(member.privateKey, randomBytes);
const memberKey = publicKeyBytes(member.publicKey);

interface Opened extends AsyncDisposable {
  readonly port: number;
  /** The keys of the callers so far, in hex. */
  readonly callers: string[];
}

async function open(): Promise<Opened> {
  const callers: string[] = [];
  const rpc: RpcServer = await openRpcServer(
    {
      kind: "tls",
      host: "127.0.0.1",
      port: 0,
      identity: server,
      isKnown: (key) => sameBytes(key, memberKey),
    },
    (router) => {
      router.service(Admin, {
        getStatus: (_request, context) => {
          callers.push(hexOf(context.values.get(peerKey) ?? new Uint8Array(0)));
          return {};
        },
        append: () => ({ size: 1n }),
      });
    },
  );
  return {
    port: Number(rpc.address.split(":")[1]),
    callers,
    [Symbol.asyncDispose]: () => rpc[Symbol.asyncDispose](),
  };
}

/** Calls GetStatus by hand, with headers of one's own; the HTTP status. */
async function callWith(port: number, headers: http2.OutgoingHttpHeaders): Promise<number | undefined> {
  const session = http2.connect(`https://127.0.0.1:${port}`, { rejectUnauthorized: false });
  try {
    const stream = session.request({
      ":method": "POST",
      ":path": "/troth.v1.Admin/GetStatus",
      ":authority": "mesh.internal",
      "content-type": "application/grpc+proto",
      te: "trailers",
      ...headers,
    });
    stream.resume();
    stream.end(new Uint8Array(5));
    return await new Promise((resolve, reject) => {
      stream.once("response", (answer) => resolve(answer[":status"]));
      stream.once("error", reject);
    });
  } finally {
    session.destroy();
  }
}

it("never takes a later caller for one whose connection came to nothing", async () => {
  await using opened = await open();
  // It holds a member's key and speaks no HTTP/2, so no session comes of it.
  const mute = tls.connect({
    port: opened.port,
    host: "127.0.0.1",
    rejectUnauthorized: false,
    cert: memberIdentity.certificatePem,
    key: memberIdentity.privateKeyPem,
  });
  mute.on("error", () => {});
  await new Promise((resolve) => mute.once("close", resolve));

  using stranger = await openRpcConnection({ kind: "tls", host: "127.0.0.1", port: opened.port });
  await createClient(Admin, stranger.transport).getStatus({});

  expect(opened.callers).toEqual([""]);
});

test.each([
  ["a page of this machine", { ":authority": "127.0.0.1:7443", origin: "https://127.0.0.1:7443" }],
  ["a page elsewhere", { origin: "https://evil.example" }],
  ["a page without an origin", { "sec-fetch-site": "cross-site" }],
  ["a form of a page", { origin: "https://evil.example", "content-type": "text/plain" }],
  ["a preflight", { ":method": "OPTIONS", origin: "https://evil.example" }],
  ["a name that was bound again to this machine", { ":authority": "evil.example:7443" }],
  ["an authority that is none", { ":authority": "%%%" }],
  ["a port that is none", { ":authority": "mesh.internal:99999" }],
  ["an address that is none", { ":authority": "[::1" }],
])("turns away %s before any call", async (_who, headers) => {
  await using opened = await open();

  expect(await callWith(opened.port, headers)).toBe(403);
  expect(await callWith(opened.port, {})).toBe(200);
  expect(opened.callers).toHaveLength(1);
});

it("reads more from a member than from a stranger, and not without end from either", async () => {
  await using opened = await open();
  const entries = (bytes: number): { entries: Uint8Array[] } => ({ entries: [new Uint8Array(bytes)] });
  using known = await openRpcConnection({
    kind: "tls",
    host: "127.0.0.1",
    port: opened.port,
    identity: memberIdentity,
  });
  using stranger = await openRpcConnection({ kind: "tls", host: "127.0.0.1", port: opened.port });

  expect((await createClient(Admin, known.transport).append(entries(1_000_000))).size).toBe(1n);
  await expect(createClient(Admin, known.transport).append(entries(5_000_000))).rejects.toThrow("larger");
  await expect(createClient(Admin, stranger.transport).append(entries(100_000))).rejects.toThrow("larger");
});

it("keeps room for members while strangers of one source hold all that they may", async () => {
  await using opened = await open();
  const sockets = await Promise.all(
    Array.from({ length: 300 }, async () => {
      const socket = tls.connect({
        port: opened.port,
        host: "127.0.0.1",
        rejectUnauthorized: false,
        ALPNProtocols: ["h2"],
      });
      socket.on("error", () => {});
      await new Promise((resolve) => socket.once("secureConnect", resolve).once("close", resolve));
      return socket;
    }),
  );
  await vi.waitFor(() => expect(sockets.filter((socket) => !socket.destroyed)).toHaveLength(192), 5_000);

  using known = await openRpcConnection({
    kind: "tls",
    host: "127.0.0.1",
    port: opened.port,
    identity: memberIdentity,
  });
  await createClient(Admin, known.transport).getStatus({});

  expect(opened.callers).toEqual([hexOf(memberKey)]);
  for (const socket of sockets) socket.destroy();
});

it("survives what is neither TLS nor HTTP/2, and takes no older TLS", async () => {
  await using opened = await open();
  const { port } = opened;
  const plain = net.connect(port, "127.0.0.1").on("error", () => {});
  plain.write("GET / HTTP/1.1\r\nhost: x\r\n\r\n");
  await new Promise((resolve) => plain.once("close", resolve));
  const garbage = tls.connect({ port, host: "127.0.0.1", rejectUnauthorized: false, ALPNProtocols: ["h2"] });
  garbage.on("error", () => {});
  garbage.resume();
  garbage.write(randomBytes(10_000));
  await new Promise((resolve) => garbage.once("close", resolve));
  const older = tls.connect({ port, host: "127.0.0.1", rejectUnauthorized: false, maxVersion: "TLSv1.2" });
  await expect(
    new Promise((resolve, reject) => older.once("secureConnect", resolve).once("error", reject)),
  ).rejects.toThrow("alert");

  expect(await callWith(port, {})).toBe(200);
});

it("resumes no TLS session, which would prove no key anew", async () => {
  await using opened = await open();
  const options = { port: opened.port, host: "127.0.0.1", rejectUnauthorized: false, ALPNProtocols: ["h2"] };
  const first = tls.connect(options);
  first.resume();
  const session = await new Promise<Buffer>((resolve) => first.once("session", resolve));
  first.destroy();

  const again = tls.connect({ ...options, session });
  await new Promise((resolve) => again.once("secureConnect", resolve));
  await new Promise((resolve) => setTimeout(resolve, 20));

  expect([again.isSessionReused(), again.destroyed]).toEqual([false, false]);
  again.destroy();
});

it("ends calls and connections when it closes, on both sides", async () => {
  const opened = await open();
  using connection = await openRpcConnection({ kind: "tls", host: "127.0.0.1", port: opened.port });
  await createClient(Admin, connection.transport).getStatus({});

  await opened[Symbol.asyncDispose]();

  await connection.closed;
  await expect(createClient(Admin, connection.transport).getStatus({})).rejects.toThrow("connection is gone");
});
