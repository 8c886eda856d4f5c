import { X509Certificate } from "node:crypto";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import {
  type ForeignKind,
  type ForeignPlan,
  type ForeignProxy,
  missingForeign,
  openForeignProxy,
} from "../../test/apparatus/foreign-proxy.ts";
import { MeshInProcess, until } from "../../test/apparatus/mesh-in-process.ts";
import { openPlainApp } from "../../test/apparatus/plain-app.ts";
import { askSteadily } from "../../test/apparatus/steady-requests.ts";
import { ask, type Reply, type Workload } from "../../test/apparatus/workload.ts";
import { temporaryFolder } from "../../test/contracts/temporary-folder.ts";
import { ExportFolder } from "../cli/export-folder.ts";
import { freePort } from "../cli/free-port.ts";
import { openExport } from "./open-export.ts";

const svidLifetimeSeconds = 8;
/** A rotation at half of it, and the end of what came before. */
const rotationMillis = 10_000;

const answerMillis = 100;

let mesh: MeshInProcess;
let ledger: Workload;
let web: Workload;

beforeAll(async () => {
  mesh = await MeshInProcess.found({ svidLifetimeSeconds });
  // Slow enough that requests are under way whenever a certificate ends.
  const app = await openPlainApp({
    answer: (_request, response) => setTimeout(() => response.end("app"), answerMillis),
  });
  ledger = await mesh.open("/shop/ledger", { app });
  web = await mesh.open("/shop/web");
}, 30_000);

afterAll(() => mesh[Symbol.asyncDispose]());

const kinds: readonly ForeignKind[] = ["envoy", "haproxy"];

describe.concurrent.each(kinds)("an unmodified %s with an exported identity", (kind) => {
  it.skipIf(missingForeign(kind) !== undefined)(
    "calls a sidecar under the rules, through rotations without a failure, until its certificate is removed",
    async () => {
      await using peer = await openPeer(kind, `/foreign/${kind}-caller`, {
        side: "caller",
        to: ledger.sidecar.inboundAddress,
        peerId: "spiffe://test.example/shop/ledger",
      });
      const target = { ...addressOf(peer.proxy.address), path: `/${kind}` };
      const denied = await ask(target);
      await mesh.putRule(peer.service, "/shop/ledger");
      await until(async () => (await ask(target)).status === 200, "it is allowed");
      const seen = ledger.app.seen.find(({ line }) => line === `GET /${kind}`);
      const said = seen?.headers["x-forwarded-client-cert"];

      // A worker of HAProxy that is replaced closes connections of its own clients that carry nothing, without notice.
      const load = askSteadily(target, { keepsConnections: false });
      await new Promise((resolve) => setTimeout(resolve, rotationMillis));
      const { requests, failures } = await load.stop();

      expect([denied.status, denied.reason]).toEqual([403, "no-rule"]);
      expect(said).toMatch(new RegExp(`^Hash=[0-9a-f]{64};URI=spiffe://test\\.example${peer.service}$`));
      expect(failures).toEqual([]);
      expect(requests).toBeGreaterThan(100);
      expect(peer.certificates.size).toBeGreaterThan(1);

      await peer.remove();
      await until(async () => (await ask(target).catch(noReply)).status !== 200, "it is cut");
    },
    60_000,
  );

  it.skipIf(missingForeign(kind) !== undefined)(
    "is called by a sidecar, through rotations without a failure, until its certificate is removed",
    async () => {
      await using peer = await openPeer(kind, `/foreign/${kind}-callee`, {
        side: "callee",
        to: `127.0.0.1:${ledger.app.port}`,
        peerId: "spiffe://test.example/shop/web",
      });
      const host = `${kind}-callee.foreign.mesh`;
      await until(async () => (await web.call(host)).status === 200, "the way to it");
      // It asks for a certificate of the mesh, which nobody else has.
      const stranger = await fetch(`https://${peer.proxy.address}/`).catch(() => undefined);

      const [outboundHost, outboundPort] = web.sidecar.outboundAddress.split(":");
      const load = askSteadily(
        { host: outboundHost, port: outboundPort, headers: { host } },
        { keepsConnections: true },
      );
      await new Promise((resolve) => setTimeout(resolve, rotationMillis));
      const { requests, failures } = await load.stop();

      expect(stranger).toBeUndefined();
      expect(failures).toEqual([]);
      expect(requests).toBeGreaterThan(100);
      expect(peer.certificates.size).toBeGreaterThan(1);

      await peer.remove();
      await until(async () => (await web.call(host)).status !== 200, "it is cut");
    },
    60_000,
  );
});

it.skipIf(missingForeign("envoy") !== undefined)(
  "an Envoy that expects another service does not speak with the one it meets",
  async () => {
    await using peer = await openPeer("envoy", "/foreign/strict", {
      side: "caller",
      to: ledger.sidecar.inboundAddress,
      peerId: "spiffe://test.example/shop/payments",
    });
    await mesh.putRule(peer.service, "/shop/ledger");
    await mesh.settled();

    const { status } = await ask({ ...addressOf(peer.proxy.address), path: "/strict" });

    expect(status).toBe(503);
    expect(ledger.app.seen.some(({ line }) => line === "GET /strict")).toBe(false);
  },
  30_000,
);

interface Peer extends AsyncDisposable {
  readonly service: string;
  readonly proxy: ForeignProxy;
  /** SHA-256 of every certificate that it was given. */
  readonly certificates: ReadonlySet<string>;
  /** Ends its instance by an entry of the trust log; the proxy keeps the key that it had. */
  readonly remove: () => Promise<void>;
}

/** A proxy that is not Troth's, with an instance of its own and credentials that are kept renewed. */
async function openPeer(
  kind: ForeignKind,
  service: string,
  plan: Omit<ForeignPlan, "credentials" | "folder">,
): Promise<Peer> {
  await using stack = new AsyncDisposableStack();
  await mesh.putService(service);
  const folder = stack.use(await temporaryFolder());
  const out = stack.use(await ExportFolder.open(join(folder.path, "out")));
  const certificates = new Set<string>();
  const options = mesh.proxyOptions(service);
  const port = await freePort();
  const parts: { proxy?: ForeignProxy } = {};
  let isRemoved = false;
  stack.use(
    await openExport({
      ...options,
      ...(plan.side === "callee" ? { peer: { host: "127.0.0.1", port } } : {}),
      save: async (credentials) => {
        // An instance that was removed comes back with another key, as a sidecar does.
        if (isRemoved) return;
        await out.write(credentials);
        certificates.add(new X509Certificate(await readFile(join(out.path, "svid.pem"))).fingerprint256);
        parts.proxy?.reload();
      },
    }),
  );
  const proxy = stack.use(
    await openForeignProxy(kind, { ...plan, credentials: out.path, folder: folder.path }, port),
  );
  parts.proxy = proxy;
  const opened = stack.move();
  return {
    service,
    proxy,
    certificates,
    remove: async () => {
      isRemoved = true;
      const body = { instance: options.instance };
      await mesh.controlPlane.writer.write([{ role: "issuer", kind: "instance.remove", body }]);
    },
    [Symbol.asyncDispose]: () => opened.disposeAsync(),
  };
}

function addressOf(address: string): { readonly host: string; readonly port: string } {
  const [host = "", port = ""] = address.split(":");
  return { host, port };
}

function noReply(): Pick<Reply, "status"> {
  return { status: 0 };
}
