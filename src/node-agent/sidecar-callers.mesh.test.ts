import { execFile } from "node:child_process";
import { randomUUID } from "node:crypto";
import { chmod } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { createClient } from "@connectrpc/connect";
import { expect, it, vi } from "vitest";
import { MeshInProcess } from "../../test/apparatus/mesh-in-process.ts";
import { connectTo, foundWorkloadMesh, putWorkload, refusalOf } from "../../test/apparatus/workload-mesh.ts";
import { buildCertificateRequest, generateEd25519, generateP256 } from "../crypto/index.ts";
import { Mesh, protocolVersion } from "../protocol/index.ts";
import { openRpcConnection } from "../transport/index.ts";
import { verifierKeyOf } from "../trust-log/index.ts";

const isLinux = process.platform === "linux";
const service = "/shop/web";
const asker = join(import.meta.dirname, "../../test/apparatus/instance-asker.ts");
const auditKey = verifierKeyOf({ name: "test.example/audit/1", ...generateEd25519() });

/** An instance of this very process, which follows at the agent's socket and has its first certificate. */
interface OwnInstance extends Disposable {
  readonly instance: string;
  /** Obtains the next certificate as the holder of a generation; answers with that of the new one. */
  readonly renew: (generation: number) => Promise<number>;
  /** Says where it serves, and waits until that is known; answers with where it was said to serve until then. */
  readonly serveAt: (address: string) => Promise<readonly string[]>;
}

async function openInstance(mesh: MeshInProcess): Promise<OwnInstance> {
  const instance = randomUUID();
  const connection = await openRpcConnection({ kind: "unix", path: mesh.agentSocketPath });
  const client = createClient(Mesh, connection.transport);
  const addresses: string[] = [];
  const follow = async (): Promise<void> => {
    for await (const { content } of client.follow({ instance, protocolVersion }))
      if (content.case === "endpoints")
        addresses.push(...content.value.endpoints.map(({ address }) => address));
  };
  void follow().catch(() => {});
  const renew = async (generation: number): Promise<number> => {
    const certificateRequest = buildCertificateRequest(generateP256().privateKey);
    return (await client.issueSvid({ instance, service, auditKey, certificateRequest, generation }))
      .generation;
  };
  await vi.waitFor(() => renew(0), { timeout: 8_000 });
  return {
    instance,
    renew,
    serveAt: async (address) => {
      await client.report({ followers: [{ instance, service, address }] });
      await vi.waitFor(() => expect(addresses).toContain(address), { timeout: 8_000 });
      return addresses;
    },
    [Symbol.dispose]: () => connection[Symbol.dispose](),
  };
}

/** What another process is answered that asks as an instance; as another user where one is named. */
async function askBeside(
  mesh: MeshInProcess,
  asked: { instance: string; generation: number; user?: string; kind?: string },
): Promise<string> {
  const { instance, generation, user = "", kind = "" } = asked;
  const words = [asker, mesh.agentSocketPath, instance, service, auditKey, String(generation), user, kind];
  return (await promisify(execFile)(process.execPath, words)).stdout;
}

const askers = [
  { who: "the same user", user: "" },
  ...(process.getuid?.() === 0 ? [{ who: "another user, let into the folder", user: "65534" }] : []),
];

it.runIf(isLinux).each(askers)(
  "refuses another process of $who that asks as an instance, and locks nothing",
  async ({ user }) => {
    await using mesh = await MeshInProcess.found();
    await mesh.putService(service);
    using own = await openInstance(mesh);
    await chmod(mesh.folder, 0o711);
    await chmod(mesh.agentSocketPath, 0o666);
    const said: string[] = [];

    // The holder's generation, one before it, and one that never was.
    for (const generation of [1, 0, 7]) said.push(await askBeside(mesh, { ...own, generation, user }));

    const refusal = `PermissionDenied: instance-of-another-process: ${own.instance} belongs to the process that registered it, and this is another`;
    expect(said).toEqual([refusal, refusal, refusal]);
    expect(await own.renew(1)).toBe(2);
    expect(mesh.controlPlane.writer.state.revocations.size).toBe(0);
  },
  60_000,
);

it.runIf(isLinux)(
  "takes no report and no alarm from a process for another's instance, and says who tried",
  async () => {
    await using mesh = await MeshInProcess.found();
    await mesh.putService(service);
    using own = await openInstance(mesh);

    await own.serveAt("127.0.0.1:8");
    await askBeside(mesh, { ...own, generation: 1 });

    const reasons = await vi.waitFor(async () => {
      const alarms = (await mesh.alarms()).map(({ reason }) => reason);
      expect(alarms).toContain("instance-of-another-process");
      return alarms;
    }, 8_000);
    expect(reasons).not.toContain("neighbour");
    expect(await own.serveAt("127.0.0.1:9")).not.toContain("127.0.0.1:6");
  },
  60_000,
);

it.runIf(isLinux)(
  "passes on what is signed about prefixes from an instance's own process alone",
  async () => {
    await using mesh = await MeshInProcess.found();
    await mesh.putService(service);
    using own = await openInstance(mesh);

    const kind = "prefix.recall";
    const said = await askBeside(mesh, { ...own, generation: 1, kind });
    const ofNobody = await askBeside(mesh, { instance: "nobody", generation: 1, kind });

    expect([said, ofNobody]).toEqual([
      expect.stringContaining("PermissionDenied: instance-of-another-process"),
      expect.stringContaining("InvalidArgument: malformed-request"),
    ]);
  },
  60_000,
);

it.runIf(isLinux)(
  "lets nobody write another's instance into what it keeps of owners",
  async () => {
    await using mesh = await MeshInProcess.found();
    using connection = await openRpcConnection({ kind: "unix", path: mesh.agentSocketPath });
    const client = createClient(Mesh, connection.transport);
    const instance = `${randomUUID()} 1:1:0\n${randomUUID()}`;
    const certificateRequest = new Uint8Array(1);

    const refusals = [
      await refusalOf(client.issueSvid({ instance, service, auditKey, certificateRequest, generation: 0 })),
      await refusalOf(client.follow({ instance, protocolVersion })[Symbol.asyncIterator]().next()),
    ];

    const malformed = expect.stringContaining("InvalidArgument: malformed-request");
    expect(refusals).toEqual([malformed, malformed]);
  },
  60_000,
);

it.runIf(isLinux)(
  "knows after a restart of the agent whose an instance is",
  async () => {
    await using mesh = await MeshInProcess.found();
    await mesh.putService(service);
    const { instance, [Symbol.dispose]: leave } = await openInstance(mesh);
    leave();
    await mesh.stopAgent();
    await mesh.startAgent();

    const said = await vi.waitFor(async () => {
      const answer = await askBeside(mesh, { instance, generation: 1 });
      expect(answer).toContain("PermissionDenied");
      return answer;
    }, 20_000);

    expect(said).toContain("instance-of-another-process");
    using connection = await openRpcConnection({ kind: "unix", path: mesh.agentSocketPath });
    const client = createClient(Mesh, connection.transport);
    const certificateRequest = buildCertificateRequest(generateP256().privateKey);
    const request = { instance, service, auditKey, certificateRequest, generation: 1 };
    expect((await vi.waitFor(() => client.issueSvid(request), 8_000)).generation).toBe(2);
  },
  60_000,
);

it.runIf(isLinux)(
  "lets no process at that socket act as an instance of the Workload API",
  async () => {
    await using mesh = await foundWorkloadMesh();
    await putWorkload(mesh, "payments");
    using client = connectTo(mesh);
    for await (const _ of client.api.fetchX509SVID({})) break;
    const [instance = ""] = [...mesh.controlPlane.writer.state.instances.entries()].map(([one]) => one);
    using connection = await openRpcConnection({ kind: "unix", path: mesh.agentSocketPath });
    const socket = createClient(Mesh, connection.transport);
    const certificateRequest = buildCertificateRequest(generateP256().privateKey);

    // The same process as the agent: only who owns the instance tells them apart.
    const refusal = await refusalOf(
      socket.issueSvid({ instance, service: "/shop/payments", auditKey, certificateRequest, generation: 9 }),
    );

    expect(refusal).toContain("PermissionDenied: instance-of-another-process");
  },
  60_000,
);
