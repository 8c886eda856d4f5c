import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import http2 from "node:http2";
import net from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { create } from "@bufbuild/protobuf";
import { type Client, Code, ConnectError, createClient, type Transport } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Mesh, UpdateSchema } from "../protocol/index.ts";
import { openRpcConnection, openRpcServer, QuickCalls } from "./index.ts";

let folder: string;
let names = 0;

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "troth-quick-"));
});
afterAll(() => rmSync(folder, { recursive: true }));

const update = create(UpdateSchema, {
  content: { case: "step", value: { firstIndex: 3n, entries: [new Uint8Array(70_000)] } },
});

describe.each(["our own", "the library's"])("quick calls of %s client", (whose) => {
  it("are answered", async () => {
    const heard: string[] = [];
    const quick = new QuickCalls().unary(Mesh.method.report, ({ alarms }) => {
      heard.push(...alarms.map(({ reason }) => reason));
      return {};
    });
    await using open = await openQuick(quick, whose);

    await open.client.report({ alarms: [{ reason: "forked", detail: "" }] });
    await open.client.report({ alarms: [{ reason: "rolled-back", detail: "" }] });

    expect(heard).toEqual(["forked", "rolled-back"]);
  });

  it("leave the others to the library", async () => {
    await using open = await openQuick(new QuickCalls(), whose);

    expect((await open.client.readRevocationLists({})).size).toBe(9n);
  });

  it("are refused with code and words, and a fault of the server keeps its own to itself", async () => {
    const quick = new QuickCalls()
      .unary(Mesh.method.report, ({ agentSize }) => {
        if (agentSize === 1n) throw new ConnectError("zu spät: 1 %", Code.OutOfRange);
        throw new Error("the secret of the server");
      })
      .stream(Mesh.method.follow, () => {
        throw new ConnectError("no room", Code.ResourceExhausted);
      });
    await using open = await openQuick(quick, whose);

    expect(await refusalOf(open.client.report({ agentSize: 1n }))).toEqual([Code.OutOfRange, "zu spät: 1 %"]);
    expect(await refusalOf(open.client.report({}))).toEqual([Code.Internal, "internal error"]);
    expect(await refusalOf(Array.fromAsync(open.client.follow({})))).toEqual([
      Code.ResourceExhausted,
      "no room",
    ]);
  });

  it("bring one message to many, again and again, and the refusal after it", async () => {
    const quick = new QuickCalls().stream(Mesh.method.follow, async function* ({ instance }) {
      for (let count = 0; count < 20; count += 1) yield update;
      if (instance === "late") throw new ConnectError("enough", Code.Aborted);
    });
    await using open = await openQuick(quick, whose);

    const all = await Promise.all([1, 2, 3].map(() => Array.fromAsync(open.client.follow({}))));

    expect(all.map((updates) => updates.length)).toEqual([20, 20, 20]);
    expect(all.flat().every((one) => JSON.stringify(one.content.case) === '"step"')).toBe(true);
    expect(all[2]?.at(-1)).toEqual(update);
    const late = Array.fromAsync(open.client.follow({ instance: "late" }));
    expect(await refusalOf(late)).toEqual([Code.Aborted, "enough"]);
  });

  it("learn that nobody listens any more", async () => {
    const ended = Promise.withResolvers<void>();
    const quick = new QuickCalls().stream(Mesh.method.follow, async function* (_request, signal) {
      try {
        yield update;
        await once(signal, "abort");
      } finally {
        ended.resolve();
      }
    });
    await using open = await openQuick(quick, whose);
    const leaving = new AbortController();

    for await (const _ of open.client.follow({}, { signal: leaving.signal })) {
      leaving.abort();
      break;
    }

    await ended.promise;
  });
});

describe("a quick call", () => {
  const [plain, compressed, short, long] = [
    Buffer.from([0, 0, 0, 0, 0]),
    Buffer.from([1, 0, 0, 0, 0]),
    Buffer.from([0, 0, 0]),
    Buffer.from([0, 0, 0, 0, 0, 7]),
  ];

  it.each([
    ["of one plain message is answered", plain, "0"],
    ["that is compressed is refused", compressed, String(Code.Internal)],
    ["that ends too soon is refused", short, String(Code.Internal)],
    ["with more than it says is refused", long, String(Code.Internal)],
    ["of more than 4 MiB is refused", Buffer.alloc(4 * 1024 * 1024 + 6), String(Code.ResourceExhausted)],
    ["that is no message is refused", Buffer.from([0, 0, 0, 0, 1, 0xff]), String(Code.Internal)],
  ])("%s", async (_what, body, status) => {
    await using open = await openQuick(
      new QuickCalls().unary(Mesh.method.report, () => ({})),
      "our own",
    );

    expect(await open.raw("mesh.internal", body)).toMatchObject({ "grpc-status": status });
  });

  it("of a page is turned away as any other", async () => {
    await using open = await openQuick(
      new QuickCalls().unary(Mesh.method.report, () => ({})),
      "our own",
    );

    expect(await open.raw("127.0.0.1", plain)).toMatchObject({ ":status": 403 });
  });
});

interface OpenQuick extends AsyncDisposable {
  readonly client: Client<typeof Mesh>;
  /** Sends a body as a report; what the answer's head and trailers say. */
  readonly raw: (authority: string, body: Uint8Array) => Promise<http2.IncomingHttpHeaders>;
}

async function openQuick(quick: QuickCalls, whose: string): Promise<OpenQuick> {
  await using stack = new AsyncDisposableStack();
  names += 1;
  const path = join(folder, `${names}.sock`);
  stack.use(
    await openRpcServer(
      { kind: "unix", path },
      (router) => void router.service(Mesh, { readRevocationLists: () => ({ size: 9n }) }),
      quick,
    ),
  );
  const transport =
    whose === "our own"
      ? stack.use(await openRpcConnection({ kind: "unix", path })).transport
      : libraryTransport(path, stack);
  const opened = stack.move();
  return {
    client: createClient(Mesh, transport),
    raw: (authority, body) => rawReport({ path, authority, body }),
    [Symbol.asyncDispose]: () => opened.disposeAsync(),
  };
}

function libraryTransport(path: string, stack: AsyncDisposableStack): Transport {
  const sockets = new Set<net.Socket>();
  stack.defer(() => {
    for (const socket of sockets) socket.destroy();
  });
  const createConnection = (): net.Socket => {
    const socket = net.connect(path);
    sockets.add(socket.on("error", () => {}));
    return socket;
  };
  return createGrpcTransport({ baseUrl: "http://mesh.internal", nodeOptions: { createConnection } });
}

async function rawReport(call: {
  readonly path: string;
  readonly authority: string;
  readonly body: Uint8Array;
}): Promise<http2.IncomingHttpHeaders> {
  const session = http2.connect(`http://${call.authority}`, {
    createConnection: () => net.connect(call.path),
  });
  try {
    const stream = session.request({
      ":method": "POST",
      ":path": "/troth.v1.Mesh/Report",
      "content-type": "application/grpc",
    });
    const said: http2.IncomingHttpHeaders = {};
    stream.on("error", () => {});
    stream.on("response", (head) => void Object.assign(said, head));
    stream.on("trailers", (trailers) => void Object.assign(said, trailers));
    stream.resume();
    stream.end(call.body);
    await once(stream, "end");
    await new Promise((resolve) => setImmediate(resolve));
    return said;
  } finally {
    session.destroy();
  }
}

async function refusalOf(call: Promise<unknown>): Promise<[Code | undefined, string]> {
  try {
    await call;
    return [undefined, "answered"];
  } catch (error) {
    return error instanceof ConnectError ? [error.code, error.rawMessage] : [undefined, String(error)];
  }
}
