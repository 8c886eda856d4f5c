import { once } from "node:events";
import http2 from "node:http2";
import net from "node:net";
import { create, toBinary } from "@bufbuild/protobuf";
import {
  type Client,
  Code,
  ConnectError,
  type ConnectRouter,
  createClient,
  type ServiceImpl,
} from "@connectrpc/connect";
import { connectNodeAdapter } from "@connectrpc/connect-node";
import { describe, expect, it } from "vitest";
import { Admin, GetStatusResponseSchema } from "../protocol/index.ts";
import { grpcTransport } from "./grpc-transport.ts";

const trailers = { "grpc-status": "0" };
const head = { ":status": 200, "content-type": "application/grpc+proto" };

describe("a call of a server of the library", () => {
  it("brings the answer", async () => {
    await using open = await openLibrary({ getStatus: () => ({ size: 7n }) });

    expect((await open.client.getStatus({})).size).toBe(7n);
    expect((await open.client.getStatus({})).size).toBe(7n);
  });

  it("brings a refusal with its code and its words", async () => {
    await using open = await openLibrary({
      getStatus: () => {
        throw new ConnectError("nicht heute: 100 % ✗", Code.FailedPrecondition);
      },
    });

    expect(await refusalOf(open.client.getStatus({}))).toEqual([
      Code.FailedPrecondition,
      "nicht heute: 100 % ✗",
    ]);
  });

  it("brings all answers of a stream in order, and lets the server wait for its reader", async () => {
    let sent = 0;
    await using open = await openLibrary({
      readLog: async function* () {
        for (; sent < 100; sent += 1)
          yield { content: { case: "step", value: { firstIndex: BigInt(sent), entries: [big] } } };
      },
    });

    const seen: bigint[] = [];
    let sentAtFirst = 0;
    for await (const { content } of open.client.readLog({})) {
      if (content.case !== "step") continue;
      if (seen.length === 0) {
        await new Promise((resolve) => setTimeout(resolve, 200));
        sentAtFirst = sent;
      }
      expect(content.value.entries[0]).toEqual(big);
      seen.push(content.value.firstIndex);
    }

    expect(seen).toEqual(Array.from({ length: 100 }, (_, index) => BigInt(index)));
    expect(sentAtFirst).toBeLessThan(100);
  });

  it("brings what came before the refusal that ends a stream", async () => {
    await using open = await openLibrary({
      readLog: async function* () {
        yield { content: { case: "step", value: { firstIndex: 5n } } };
        throw new ConnectError("no more", Code.DataLoss);
      },
    });

    const seen: (string | undefined)[] = [];
    const reading = (async () => {
      for await (const { content } of open.client.readLog({})) seen.push(content.case);
    })();

    expect(await refusalOf(reading)).toEqual([Code.DataLoss, "no more"]);
    expect(seen).toEqual(["step"]);
  });

  it("ends at its time, and tells the server so", async () => {
    const ended = Promise.withResolvers<void>();
    await using open = await openLibrary({
      getStatus: async (_request, { signal }) => {
        await once(signal, "abort");
        ended.resolve();
        return {};
      },
    });

    const [code] = await refusalOf(open.client.getStatus({}, { timeoutMs: 50 }));

    expect(code).toBe(Code.DeadlineExceeded);
    await ended.promise;
  });

  it("ends when it is no longer wanted, and tells the server so", async () => {
    const begun = Promise.withResolvers<void>();
    const ended = Promise.withResolvers<void>();
    await using open = await openLibrary({
      getStatus: async (_request, { signal }) => {
        begun.resolve();
        await once(signal, "abort");
        ended.resolve();
        return {};
      },
    });
    const leaving = new AbortController();

    const asked = refusalOf(open.client.getStatus({}, { signal: leaving.signal }));
    await begun.promise;
    leaving.abort();

    expect((await asked)[0]).toBe(Code.Canceled);
    await ended.promise;
    expect((await refusalOf(open.client.getStatus({}, { signal: leaving.signal })))[0]).toBe(Code.Canceled);
  });

  it("ends with the connection, and after it there is none", async () => {
    const begun = Promise.withResolvers<void>();
    await using open = await openLibrary({
      getStatus: async (_request, { signal }) => {
        begun.resolve();
        await once(signal, "abort");
        return {};
      },
    });

    const asked = refusalOf(open.client.getStatus({}));
    await begun.promise;
    open.socket.destroy();

    expect((await asked)[0]).toBe(Code.Unavailable);
    expect((await refusalOf(open.client.getStatus({})))[0]).toBe(Code.Unavailable);
  });
});

describe("an answer", () => {
  const message = framed(toBinary(GetStatusResponseSchema, create(GetStatusResponseSchema, { size: 300n })));

  it("is put together from whatever pieces it comes in", async () => {
    await using open = await openRaw(async (stream) => {
      stream.respond(head, { waitForTrailers: true });
      stream.once("wantTrailers", () => stream.sendTrailers(trailers));
      for (const byte of message) {
        stream.write(Uint8Array.of(byte));
        await new Promise((resolve) => setImmediate(resolve));
      }
      stream.end();
    });

    expect((await open.client.getStatus({})).size).toBe(300n);
  });

  const refused: readonly [string, Code, Answer][] = [
    ["that never says how it ended", Code.Unavailable, (stream) => respond(stream, [message], {})],
    ["without a message", Code.Internal, (stream) => respond(stream, [])],
    ["with two messages", Code.Internal, (stream) => respond(stream, [message, message])],
    ["that is compressed", Code.Internal, (stream) => respond(stream, [Uint8Array.of(1, 0, 0, 0, 0)])],
    ["that is no message", Code.Internal, (stream) => respond(stream, [framed(Uint8Array.of(0xff))])],
    [
      "that is larger than allowed, before it has come",
      Code.ResourceExhausted,
      (stream) => {
        stream.respond(head);
        stream.write(Uint8Array.of(0, 1, 0, 0, 1));
      },
    ],
    ["of another kind", Code.Unknown, (stream) => stream.respond({ ":status": 200 })],
    ["of a server that forbids it", Code.PermissionDenied, (stream) => stream.respond({ ":status": 403 })],
    ["of a server without it", Code.Unimplemented, (stream) => stream.respond({ ":status": 404 })],
    ["of a server that is busy", Code.Unavailable, (stream) => stream.respond({ ":status": 503 })],
    ["with a code that is none", Code.Unknown, (stream) => respond(stream, [], { "grpc-status": "99" })],
    [
      "that is a refusal before the message was read",
      Code.Aborted,
      (stream) => stream.respond({ ...head, "grpc-status": "10" }, { endStream: true }),
    ],
    ["that is broken off", Code.Unavailable, (stream) => stream.close(http2.constants.NGHTTP2_CANCEL)],
  ];

  it.each(refused)("%s is refused", async (_what, code, answer) => {
    await using open = await openRaw(answer);

    expect((await refusalOf(open.client.getStatus({})))[0]).toBe(code);
  });
});

type Answer = (stream: http2.ServerHttp2Stream) => void | Promise<void>;

/** More than a connection takes of a stream that nobody reads. */
const big = new Uint8Array(64 * 1024).fill(7);

interface Open extends AsyncDisposable {
  readonly client: Client<typeof Admin>;
  readonly socket: net.Socket;
}

function openLibrary(service: Partial<ServiceImpl<typeof Admin>>): Promise<Open> {
  const routes = (router: ConnectRouter): void => void router.service(Admin, service);
  return openServer(http2.createServer(connectNodeAdapter({ routes })));
}

function openRaw(answer: Answer): Promise<Open> {
  const server = http2.createServer();
  server.on("stream", (stream: http2.ServerHttp2Stream) => {
    stream.on("error", () => {});
    stream.resume();
    void answer(stream);
  });
  return openServer(server);
}

async function openServer(server: http2.Http2Server): Promise<Open> {
  const sessions = new Set<http2.ServerHttp2Session>();
  server.on("session", (session) => void sessions.add(session));
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  const socket = net.connect(typeof address === "object" && address !== null ? address.port : 0, "127.0.0.1");
  await once(socket, "connect");
  return {
    client: createClient(Admin, grpcTransport(socket)),
    socket,
    [Symbol.asyncDispose]: async () => {
      socket.destroy();
      for (const session of sessions) session.destroy();
      await new Promise<void>((resolve) => server.close(() => resolve()));
    },
  };
}

function framed(message: Uint8Array): Buffer {
  return Buffer.concat([Uint8Array.of(0, 0, 0, 0, message.byteLength), message]);
}

function respond(
  stream: http2.ServerHttp2Stream,
  pieces: readonly Uint8Array[],
  ending: http2.OutgoingHttpHeaders = trailers,
): void {
  stream.respond(head, { waitForTrailers: true });
  stream.once("wantTrailers", () => stream.sendTrailers(ending));
  for (const piece of pieces) stream.write(piece);
  stream.end();
}

async function refusalOf(call: Promise<unknown>): Promise<[Code | undefined, string]> {
  try {
    await call;
    return [undefined, "answered"];
  } catch (error) {
    return error instanceof ConnectError ? [error.code, error.rawMessage] : [undefined, String(error)];
  }
}
