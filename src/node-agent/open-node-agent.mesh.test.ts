import { spawnSync } from "node:child_process";
import { randomBytes, randomUUID } from "node:crypto";
import { existsSync } from "node:fs";
import { cp, mkdir, readdir, readFile, rename, rm, rmdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { type Client, createClient } from "@connectrpc/connect";
import { describe, expect, it, vi } from "vitest";
import { temporaryFolder } from "../../test/contracts/temporary-folder.ts";
import { fakeClock } from "../../test/fakes/fake-clock.ts";
import { silentLog } from "../../test/fakes/silent-log.ts";
import {
  foundSmallDomain,
  operatorEntry,
  putAsOperator,
  putNode,
  putService,
  type RunningControlPlane,
  runControlPlane,
  type SmallDomain,
} from "../../test/fakes/small-domain.ts";
import { signerNamed } from "../../test/fakes/small-trust-log.ts";
import type { JsonObject } from "../base/canonical-json.ts";
import { buildCertificateRequest, generateP256 } from "../crypto/index.ts";
import { type Endpoint, Mesh, protocolVersion, type Update } from "../protocol/index.ts";
import { LogView, openRpcConnection, openRpcServer, tlsIdentityOf } from "../transport/index.ts";
import { type EntryKind, type NoteSigner, verifierKeyOf } from "../trust-log/index.ts";
import { type NodeAgent, openNodeAgent } from "./open-node-agent.ts";

const clock = fakeClock();

interface World extends AsyncDisposable {
  readonly folder: string;
  readonly domain: SmallDomain;
  readonly nodeKey: NoteSigner;
  /** Where the control plane is, whenever it runs. */
  readonly port: number;
  readonly runControlPlane: () => Promise<RunningControlPlane>;
  readonly openAgent: () => Promise<Agent>;
}

interface Agent extends AsyncDisposable {
  readonly agent: NodeAgent;
  readonly alarms: string[];
  /** The size at which the copy was taken up, at each start. */
  readonly takenUpFrom: unknown[];
  readonly follow: (instance?: string) => Promise<Sidecar>;
}

/** What a sidecar hears from its agent. */
interface Sidecar extends Disposable {
  readonly mesh: Client<typeof Mesh>;
  readonly view: LogView;
  readonly instance: string;
  endpoints: readonly Endpoint[] | undefined;
}

async function openWorld(): Promise<World> {
  await using stack = new AsyncDisposableStack();
  const { path: folder } = stack.use(await temporaryFolder());
  const domain = await foundSmallDomain(folder, clock);
  const first = await runControlPlane(domain, clock);
  const { port } = first;
  const nodeKey = await putNode(domain, first.writer, "edge-1");
  await putService(domain, first.writer, "/shop/web");
  await first[Symbol.asyncDispose]();
  const moved = stack.move();
  return {
    folder,
    domain,
    nodeKey,
    port,
    runControlPlane: () => runControlPlane(domain, clock, { port }),
    openAgent: () => openAgent(domain, { folder, nodeKey, port }),
    [Symbol.asyncDispose]: () => moved.disposeAsync(),
  };
}

async function openAgent(
  domain: SmallDomain,
  { folder, nodeKey, port }: { folder: string; nodeKey: NoteSigner; port: number },
): Promise<Agent> {
  const alarms: string[] = [];
  const takenUpFrom: unknown[] = [];
  const socketPath = join(folder, "agent.sock");
  const { genesis, logKey } = domain.anchor;
  const agent = await openNodeAgent({
    membership: { node: "edge-1", address: `127.0.0.1:${port}`, genesis, logKey: verifierKeyOf(logKey) },
    nodeKey: nodeKey.privateKey,
    folder: join(folder, "agent"),
    socketPath,
    clock,
    randomBytes,
    random: () => 0,
    log: {
      ...silentLog,
      info: (_message, fields) => {
        if (fields?.["fromSize"] !== undefined) takenUpFrom.push(fields["fromSize"]);
      },
      warn: (message, fields) => alarms.push(String(fields?.["reason"] ?? message)),
    },
  });
  return {
    agent,
    alarms,
    takenUpFrom,
    follow: (instance) => follow(domain, socketPath, instance ?? randomUUID()),
    [Symbol.asyncDispose]: () => agent[Symbol.asyncDispose](),
  };
}

async function follow(domain: SmallDomain, path: string, instance: string): Promise<Sidecar> {
  const connection = await openRpcConnection({ kind: "unix", path });
  const mesh = createClient(Mesh, connection.transport);
  const sidecar: Sidecar = {
    mesh,
    instance,
    endpoints: undefined,
    view: new LogView({
      anchor: domain.anchor,
      clock,
      events: { endpoints: (come) => (sidecar.endpoints = come.endpoints) },
    }),
    [Symbol.dispose]: () => connection[Symbol.dispose](),
  };
  const following = async (): Promise<void> => {
    for await (const update of mesh.follow({ instance, protocolVersion })) await sidecar.view.take(update);
  };
  void following().catch(() => {});
  return sidecar;
}

function until(isSo: () => boolean): Promise<void> {
  return vi.waitFor(() => expect(isSo()).toBe(true), { timeout: 8_000, interval: 10 });
}

const svidRequest = {
  instance: randomUUID(),
  service: "/shop/web",
  certificateRequest: buildCertificateRequest(generateP256().privateKey),
  auditKey: verifierKeyOf(signerNamed("example.org/audit/1")),
};

it("relays the log, obtains certificates and spreads endpoints", async () => {
  await using world = await openWorld();
  await using running = await world.runControlPlane();
  await using agent = await world.openAgent();
  using sidecar = await agent.follow();
  await until(() => sidecar.view.follower.size === running.writer.newest?.size);
  const { instance } = sidecar;
  await vi.waitFor(() => sidecar.mesh.issueSvid({ ...svidRequest, instance }));

  await sidecar.mesh.report({ followers: [{ instance, service: "/shop/web", address: "127.0.0.1:9" }] });
  await until(() => sidecar.endpoints?.[0]?.address === "127.0.0.1:9");

  expect(sidecar.view.follower.state.instances.get(instance)).toMatchObject({ node: "edge-1" });
  expect(sidecar.view.follower.state.digest()).toBe(running.writer.state.digest());
});

it("says when its node is held, and when that is lifted, and when it is removed", async () => {
  await using world = await openWorld();
  await using running = await world.runControlPlane();
  await using agent = await world.openAgent();
  const ready = async (): Promise<string> =>
    (await fetch(`http://${agent.agent.healthAddress}/readyz?verbose`)).text();
  const put = (kind: EntryKind, body: JsonObject): Promise<unknown> =>
    putAsOperator(world.domain, running.writer, { kind, body });
  await vi.waitFor(async () => expect(await ready()).toContain("[+] node ok\n"), { timeout: 8_000 });

  await put("node.hold", { node: "edge-1", reason: "key-compromise" });
  await vi.waitFor(async () => expect(await ready()).toContain("[-] node: edge-1 is held"));
  await put("node.lift", { node: "edge-1" });
  await vi.waitFor(async () => expect(await ready()).toContain("[+] node ok\n"));
  await put("node.remove", { node: "edge-1" });

  await vi.waitFor(async () => expect(await ready()).toContain("[-] node: edge-1 is no node of the mesh"));
});

it("is ready once it has the log, and not when no epoch has come for half a minute", async () => {
  await using world = await openWorld();
  await using agent = await world.openAgent();
  const get = async (path: string): Promise<string> =>
    (await fetch(`http://${agent.agent.healthAddress}${path}`)).text();
  const without = await get("/readyz");
  await using running = await world.runControlPlane();
  await until(() => agent.agent.view.follower.size === running.writer.newest?.size);
  await vi.waitFor(async () => expect(await get("/readyz")).toBe("ok\n"), { timeout: 8_000 });
  const metrics = await get("/metrics");
  clock.advanceSeconds(31);
  const later = await get("/readyz?verbose");

  expect(without).toContain(`[-] trust-log: nothing yet from the control plane at 127.0.0.1:${world.port}\n`);
  expect(later).toContain("[+] trust-log ok\n[-] freshness: no new epoch for ");
  expect(metrics).toContain(`\ntroth_agent_tree_size ${running.writer.newest?.size}\n`);
  expect(metrics).toMatch(/\ntroth_agent_control_plane_connections_total [1-9]/);
});

it("withdraws the endpoint of a sidecar that goes, without waiting for its instance to end", async () => {
  await using world = await openWorld();
  await using running = await world.runControlPlane();
  await using agent = await world.openAgent();
  using watcher = await agent.follow();
  const sidecar = await agent.follow();
  const { instance } = sidecar;
  await vi.waitFor(() => sidecar.mesh.issueSvid({ ...svidRequest, instance }));
  await sidecar.mesh.report({ followers: [{ instance, service: "/shop/web", address: "127.0.0.1:9" }] });
  await until(() => watcher.endpoints?.length === 1);

  const at = performance.now();
  sidecar[Symbol.dispose]();
  await until(() => watcher.endpoints?.length === 0);

  expect(performance.now() - at).toBeLessThan(900);
  expect(running.writer.state.instances.has(instance)).toBe(true);
});

it("ends the instance of a sidecar that stays away", async () => {
  await using world = await openWorld();
  await using running = await world.runControlPlane();
  await using agent = await world.openAgent();
  const sidecar = await agent.follow();
  const { instance } = sidecar;
  await vi.waitFor(() => sidecar.mesh.issueSvid({ ...svidRequest, instance }));

  sidecar[Symbol.dispose]();

  await until(() => !running.writer.state.instances.has(instance));
}, 15_000);

it("keeps a snapshot: who starts takes up from it, and from the beginning where it is not what the log says", async () => {
  await using world = await openWorld();
  {
    await using first = await world.runControlPlane();
    const body = { from: "/shop/web", to: "/shop/web", effect: "allow", methods: [], paths: [] };
    const rules = Array.from({ length: 3_300 }, (_, ahead) =>
      operatorEntry(world.domain, first.writer.state, { kind: "rule.put", body, ahead }),
    );
    expect(await first.writer.submit(rules)).toMatchObject({ ok: true });
  }
  await using agents = new AsyncDisposableStack();
  const agent = await world.openAgent();
  agents.defer(() => agent[Symbol.asyncDispose]());
  const start = async (): Promise<{ contents: string[]; size: number }> => {
    using connection = await openRpcConnection({ kind: "unix", path: join(world.folder, "agent.sock") });
    const view = new LogView({ anchor: world.domain.anchor, clock });
    const contents: string[] = [];
    const request = { instance: randomUUID(), protocolVersion, acceptsSnapshot: true };
    for await (const update of createClient(Mesh, connection.transport).follow(request)) {
      contents.push(`${update.content.case} ${(await view.take(update)).ok}`);
      if (view.follower.size > 0) break;
    }
    return { contents, size: view.follower.size };
  };
  const running = await world.runControlPlane();
  // The third run's first epoch comes once the agent has shown what it keeps.
  await until(() => agent.agent.view.follower.state.genesis?.epochNumber === 3);

  // The agent asks upstream only once the control plane has proved who it is.
  const withSnapshot = await vi.waitFor(async () => {
    const started = await start();
    expect(started.contents).toEqual(["snapshot true", "step true"]);
    return started;
  }, 20_000);
  const snapshots = join(world.folder, "agent", "log", "snapshots");
  const [name = ""] = await vi.waitFor(async () => {
    // While it is written it has another name.
    const names = (await readdir(snapshots)).filter((file) => file.endsWith(".snapshot"));
    expect(names).toHaveLength(1);
    return names;
  });
  await running[Symbol.asyncDispose]();
  expect(await start()).toEqual(withSnapshot);
  const digest = agent.agent.view.follower.state.digest();
  await agents.disposeAsync();

  const kept = await readFile(join(snapshots, name), "utf8");
  const frontier = /(?<="frontier":\[")./.exec(kept)?.index ?? 0;
  for (const [text, refusals] of [
    [kept, []],
    [kept.slice(0, -1), ["malformed-snapshot"]],
    [kept.replace('"effect":"allow"', '"effect":"deny"'), ["not-committed"]],
    // Its state is right, its place in the tree is not.
    [
      `${kept.slice(0, frontier)}${kept[frontier] === "A" ? "B" : "A"}${kept.slice(frontier + 1)}`,
      ["forked"],
    ],
  ] as const) {
    await writeFile(join(snapshots, name), text);
    await using again = await world.openAgent();
    expect(again.alarms).toEqual(refusals);
    expect(again.takenUpFrom).toEqual([refusals.length === 0 ? Number.parseInt(name, 10) : 0]);
    expect(again.agent.view.follower.state.digest()).toBe(digest);
  }
}, 60_000);

describe("while the control plane is away", () => {
  it("serves what it has, also after a restart of its own", async () => {
    await using world = await openWorld();
    const running = await world.runControlPlane();
    {
      await using agent = await world.openAgent();
      using sidecar = await agent.follow();
      await until(() => sidecar.view.follower.size === running.writer.newest?.size);
      await running[Symbol.asyncDispose]();
      using late = await agent.follow();
      await until(() => late.view.follower.size === sidecar.view.follower.size);
    }

    await using agent = await world.openAgent();
    using sidecar = await agent.follow();
    await until(() => sidecar.view.follower.state.services.has("/shop/web"));

    await expect(sidecar.mesh.issueSvid(svidRequest)).rejects.toThrow("no control plane");
  });

  it("takes up again when it comes back", async () => {
    await using world = await openWorld();
    const before = await world.runControlPlane();
    await using agent = await world.openAgent();
    using sidecar = await agent.follow();
    await until(() => sidecar.view.follower.size > 0);
    await before[Symbol.asyncDispose]();

    await using after = await world.runControlPlane();
    await putService(world.domain, after.writer, "/shop/later");

    await until(() => sidecar.view.follower.state.services.has("/shop/later"));
  });
});

describe("its copy of the log", () => {
  async function runOnce(world: World): Promise<number> {
    await using running = await world.runControlPlane();
    await using agent = await world.openAgent();
    await until(() => agent.agent.view.follower.size === running.writer.newest?.size);
    return agent.agent.view.follower.size;
  }

  it("is fetched again when it is damaged, or is not the log that its checkpoint says", async () => {
    await using world = await openWorld();
    const size = await runOnce(world);
    const segments = join(world.folder, "agent", "log", "segments");
    const [name = ""] = await readdir(segments);
    const bytes = new Uint8Array(await readFile(join(segments, name)));

    await writeFile(join(segments, name), bytes.with(200, (bytes[200] ?? 0) ^ 1));
    expect(await runOnce(world)).toBeGreaterThan(size);
    // Whole frames of another log, which only the checkpoint tells from the true one.
    const elsewhere = await openWorld();
    await runOnce(elsewhere);
    await runOnce(elsewhere);
    await runOnce(elsewhere);
    await rm(segments, { recursive: true });
    await cp(join(elsewhere.folder, "agent", "log", "segments"), segments, { recursive: true });
    await elsewhere[Symbol.asyncDispose]();

    expect(await runOnce(world)).toBeGreaterThan(size);
  });

  it("never falls behind what is known, where a write failed", async () => {
    await using world = await openWorld();
    await using running = await world.runControlPlane();
    await using agent = await world.openAgent();
    using sidecar = await agent.follow();
    await until(() => sidecar.view.follower.size === running.writer.newest?.size);
    const note = join(world.folder, "agent", "log", "checkpoint");
    await rename(note, `${note}.aside`);
    await mkdir(note);
    await putService(world.domain, running.writer, "/shop/later");
    await until(() => agent.agent.view.follower.size < (running.writer.newest?.size ?? 0));
    expect(sidecar.view.follower.state.services.has("/shop/later")).toBe(false);

    await rmdir(note);

    await until(() => sidecar.view.follower.state.services.has("/shop/later"));
  }, 15_000);
});

describe("a control plane that", () => {
  it("comes back with an older log is refused, loudly, and nobody below hears of it", async () => {
    await using world = await openWorld();
    const log = join(world.folder, "log");
    await cp(log, join(world.folder, "older"), { recursive: true });
    {
      await using running = await world.runControlPlane();
      await using agent = await world.openAgent();
      await putService(world.domain, running.writer, "/shop/later");
      await until(() => agent.agent.view.follower.size === running.writer.newest?.size);
    }
    await rm(log, { recursive: true });
    await cp(join(world.folder, "older"), log, { recursive: true });

    await using _rolledBack = await world.runControlPlane();
    await using agent = await world.openAgent();
    using sidecar = await agent.follow();
    await until(() => agent.alarms.includes("rolled-back"));

    await until(() => sidecar.view.follower.state.services.has("/shop/later"));
    await expect(sidecar.mesh.issueSvid(svidRequest)).rejects.toThrow("no control plane");
  });

  it("comes back with another history is refused as a fork", async () => {
    await using world = await openWorld();
    const log = join(world.folder, "log");
    await cp(log, join(world.folder, "older"), { recursive: true });
    {
      await using running = await world.runControlPlane();
      await using agent = await world.openAgent();
      await putService(world.domain, running.writer, "/shop/one");
      await until(() => agent.agent.view.follower.size === running.writer.newest?.size);
    }
    await rm(log, { recursive: true });
    await cp(join(world.folder, "older"), log, { recursive: true });
    // The copy of the log as well, and what was published: only the agent's memory is left to tell.
    await rm(join(world.folder, "agent", "log", "segments"), { recursive: true });
    await rm(join(world.folder, "tiles"), { recursive: true });

    await using running = await world.runControlPlane();
    await putService(world.domain, running.writer, "/shop/other");
    await using agent = await world.openAgent();
    using sidecar = await agent.follow();
    await until(() => agent.alarms.includes("forked"));

    expect([agent.agent.view.follower.size, sidecar.view.follower.size]).toEqual([0, 0]);
  });

  it("holds no key of the log is believed in nothing, whatever log it replays", async () => {
    await using world = await openWorld();
    const steps: Update[] = [];
    {
      await using running = await world.runControlPlane();
      const identity = tlsIdentityOf(world.nodeKey.privateKey, randomBytes);
      using connection = await openRpcConnection({
        kind: "tls",
        host: "127.0.0.1",
        port: running.port,
        identity,
      });
      for await (const update of createClient(Mesh, connection.transport).follow({ protocolVersion })) {
        steps.push(update);
        break;
      }
    }
    let calls = 0;
    let attempts = 0;
    const identity = tlsIdentityOf(signerNamed("mallory").privateKey, randomBytes);
    await using _fake = await openRpcServer(
      { kind: "tls", host: "127.0.0.1", port: world.port, identity },
      (router) =>
        router.service(Mesh, {
          follow: async function* () {
            attempts += 1;
            const evil = { instance: randomUUID(), service: "/shop/web", address: "10.6.6.6:1" };
            yield { content: { case: "endpoints", value: { endpoints: [evil] } } };
            if (attempts < 3) yield* steps;
            yield { content: { case: "endpoints", value: { endpoints: [evil] } } };
          },
          issueSvid: () => {
            calls += 1;
            return {};
          },
          report: () => {
            calls += 1;
            return {};
          },
        }),
    );

    await using agent = await world.openAgent();
    using sidecar = await agent.follow();
    await until(() => sidecar.view.follower.size > 0 && attempts > 3);
    await expect(sidecar.mesh.issueSvid(svidRequest)).rejects.toThrow("no control plane");

    expect([calls, sidecar.endpoints]).toEqual([0, undefined]);
    expect(agent.alarms).toContain("unknown-server");
  });
});

it("closes while a sidecar follows it, and leaves nothing behind", async () => {
  await using world = await openWorld();
  await using _running = await world.runControlPlane();
  const agent = await world.openAgent();
  using sidecar = await agent.follow();
  await until(() => sidecar.view.follower.size > 0);

  await agent[Symbol.asyncDispose]();

  await expect(
    openRpcConnection({ kind: "unix", path: join(world.folder, "agent.sock") }),
  ).rejects.toMatchObject({
    code: "ERR_TRANSPORT_CONNECT",
  });
});

it("opens where an agent that was killed left its socket", async () => {
  await using world = await openWorld();
  const path = join(world.folder, "agent.sock");
  const left = `require("node:net").createServer().listen(${JSON.stringify(path)}, () => process.kill(process.pid, "SIGKILL"))`;
  spawnSync(process.execPath, ["-e", left]);
  expect(existsSync(path)).toBe(true);

  await using agent = await world.openAgent();
  using sidecar = await agent.follow();

  await expect(sidecar.mesh.issueSvid(svidRequest)).rejects.toThrow("no control plane");
});
