import { randomBytes } from "node:crypto";
import net from "node:net";
import tls from "node:tls";
import { afterAll, beforeAll, describe, expect, it, test } from "vitest";
import { temporaryFolder } from "../../test/contracts/temporary-folder.ts";
import { fakeClock } from "../../test/fakes/fake-clock.ts";
import {
  foundSmallDomain,
  inviteNode,
  joinTokenOf,
  putService,
  type RunningControlPlane,
  runControlPlane,
  type SmallDomain,
} from "../../test/fakes/small-domain.ts";
import { keyTextOf, SmallTrustLog, signerNamed } from "../../test/fakes/small-trust-log.ts";
import { Admission, type JoinToken, type Update } from "../protocol/index.ts";
import { type LogSource, openRpcServer, serveLog, tlsIdentityOf } from "../transport/index.ts";
import type { NoteSigner } from "../trust-log/index.ts";
import { joinMesh } from "./join-mesh.ts";

const clock = fakeClock();
const open = new AsyncDisposableStack();
let domain: SmallDomain;
let running: RunningControlPlane;
let token: JoinToken;

beforeAll(async () => {
  const folder = open.use(await temporaryFolder());
  domain = await foundSmallDomain(folder.path, clock);
  running = open.use(await runControlPlane(domain, clock));
  await putService(domain, running.writer, "/shop/web");
  const invite = await inviteNode(domain, running.writer, { node: "edge-1" });
  token = joinTokenOf(domain, invite, { node: "edge-1", address: running.address });
});
afterAll(() => open.disposeAsync());

function join(with_: JoinToken, nodeKey = signerNamed("node"), timeoutMillis = 1_000): Promise<unknown> {
  return joinMesh(with_, { nodeKey: nodeKey.privateKey, clock, randomBytes, timeoutMillis });
}

it("joins with a token, once, and remembers the mesh by what the token said", async () => {
  const invite = await inviteNode(domain, running.writer, { node: "edge-2" });
  const own = joinTokenOf(domain, invite, { node: "edge-2", address: running.address });
  const nodeKey = signerNamed("node");

  const { inviteKey: _secret, ...membership } = own;
  expect(await join(own, nodeKey)).toEqual(membership);

  expect(running.writer.state.nodes.get("edge-2")?.nodeKey).toBe(keyTextOf(nodeKey));
  await expect(join(own)).rejects.toMatchObject({ code: "ERR_NODE_AGENT_JOIN" });
});

describe("gives nothing of the token away to", () => {
  interface Fake extends AsyncDisposable {
    readonly address: string;
    /** What was asked of it, as text. */
    readonly heard: string[];
  }

  async function openFake(
    readLog: (signal: AbortSignal) => AsyncIterable<Update>,
    key: NoteSigner = signerNamed("mallory"),
  ): Promise<Fake> {
    const heard: string[] = [];
    const note = (what: string, message: object): void => {
      heard.push(
        `${what} ${JSON.stringify(message, (_name, value) => (typeof value === "bigint" ? String(value) : value))}`,
      );
    };
    const identity = tlsIdentityOf(key.privateKey, randomBytes);
    const server = await openRpcServer({ kind: "tls", host: "127.0.0.1", port: 0, identity }, (router) =>
      router.service(Admission, {
        readLog: (request, { signal }) => {
          note("readLog", request);
          return readLog(signal);
        },
        join: (request) => {
          note("join", request);
          return { size: 1n };
        },
      }),
    );
    return { address: server.address, heard, [Symbol.asyncDispose]: () => server[Symbol.asyncDispose]() };
  }

  function sourceOf(log: Pick<LogSource, "newest" | "read">): LogSource {
    return { ...log, endpoints: undefined, snapshot: async () => undefined, changed: async () => {} };
  }

  function whole(log: Pick<LogSource, "newest" | "read">, signal: AbortSignal): AsyncIterable<Update> {
    return serveLog(sourceOf(log), { fromSize: 0, acceptsSnapshot: false, isLive: false }, signal);
  }

  function other(signal: AbortSignal): AsyncIterable<Update> {
    const log = new SmallTrustLog();
    const newest = { size: log.entries.length, checkpoint: log.checkpoint() };
    const read = async function* (): AsyncGenerator<Uint8Array> {
      yield* log.entries;
    };
    return whole({ newest, read }, signal);
  }

  function right(signal: AbortSignal): AsyncIterable<Update> {
    const { writer } = running;
    return whole({ newest: writer.newest, read: (from, to) => writer.read(from, to) }, signal);
  }

  async function* unsigned(signal: AbortSignal): AsyncGenerator<Update> {
    for await (const update of right(signal)) {
      if (update.content.case === "step") update.content.value.checkpoint = new Uint8Array(0);
      yield update;
    }
  }

  async function* cutOff(signal: AbortSignal): AsyncGenerator<Update> {
    for await (const update of right(signal)) {
      if (update.content.case === "step") update.content.value.entries.pop();
      yield update;
    }
  }

  function silent(signal: AbortSignal): AsyncIterable<Update> {
    const source = {
      ...sourceOf({ newest: undefined, read: (from, to) => running.writer.read(from, to) }),
      changed: () => new Promise<void>((resolve) => signal.addEventListener("abort", () => resolve())),
    };
    return serveLog(source, { fromSize: 0, acceptsSnapshot: false, isLive: true }, signal);
  }

  async function* empty(): AsyncGenerator<Update> {}

  test.each([
    ["a server with another log", other, "serves another log"],
    ["who replays the right log without a key that it names", right, "does not prove to be"],
    ["who withholds the checkpoint", unsigned, "does not prove to be"],
    ["who leaves an entry out", cutOff, "serves another log"],
    ["who answers nothing", empty, "does not prove to be"],
    ["who never answers", silent, "does not serve a trust log"],
  ])("%s", async (_who, readLog, why) => {
    await using fake = await openFake(readLog);

    await expect(join({ ...token, address: fake.address })).rejects.toMatchObject({
      code: "ERR_NODE_AGENT_JOIN",
      message: expect.stringContaining(why),
    });

    expect(fake.heard).toEqual(['readLog {"$typeName":"troth.v1.ReadLogRequest","fromSize":"0"}']);
  });

  it("a server that holds a key of the log but serves another one", async () => {
    await using fake = await openFake(other, domain.keys.server);

    await expect(join({ ...token, address: fake.address })).rejects.toThrow("serves another log");

    expect(fake.heard).toHaveLength(1);
  });

  it("a server that speaks something else, and does not wait for it for ever", async () => {
    const { certificatePem: cert, privateKeyPem: key } = tlsIdentityOf(
      signerNamed("x").privateKey,
      randomBytes,
    );
    const heard: Buffer[] = [];
    const server = tls.createServer({ cert, key, ALPNProtocols: ["h2"] }, (socket) => {
      socket.on("error", () => {});
      socket.on("data", (bytes: Buffer) => heard.push(bytes));
      socket.write(randomBytes(1_000));
    });
    const address = await listening(server);

    await expect(join({ ...token, address })).rejects.toMatchObject({ code: "ERR_NODE_AGENT_JOIN" });

    const said = Buffer.concat(heard).toString("latin1");
    for (const secret of [token.inviteKey, token.genesis, token.logKey, "edge-1"])
      expect(said).not.toContain(secret);
    server.close();
  });

  it("nobody at all", async () => {
    const taken = net.createServer((socket) => socket.destroy());
    const address = await listening(taken);

    await expect(join({ ...token, address })).rejects.toMatchObject({ code: "ERR_TRANSPORT_CONNECT" });
    taken.close();
  });
});

it("uses the invitation where it was left after all of that", async () => {
  await expect(join(token)).resolves.toMatchObject({ node: "edge-1" });
});

test.each([
  ["log key", { logKey: "example.org/trust-log" }, "ERR_NODE_AGENT_JOIN"],
  ["invitation key", { inviteKey: "AAAA" }, "ERR_NODE_AGENT_JOIN"],
  ["address", { address: "127.0.0.1" }, "ERR_ADDRESS"],
  ["port", { address: "127.0.0.1:70000" }, "ERR_ADDRESS"],
])("says which part of a token is malformed: %s", async (_part, damage, code) => {
  await expect(join({ ...token, ...damage })).rejects.toMatchObject({ code });
});

async function listening(server: net.Server): Promise<string> {
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  return typeof address === "object" && address !== null ? `127.0.0.1:${address.port}` : "";
}
