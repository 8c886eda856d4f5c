import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { randomBytes } from "../../src/cli/system.ts";
import { hostAndPort } from "../../src/node-agent/index.ts";
import { Admin, Admission, Mesh } from "../../src/protocol/index.ts";
import { type LogSource, openRpcServer, serveLog, tlsIdentityOf } from "../../src/transport/index.ts";
import { SmallTrustLog, signerNamed } from "../fakes/small-trust-log.ts";
import { entriesOnDisk } from "./journal-entries.ts";
import type { RunningMesh } from "./running-mesh.ts";

/** What an impostor shows as the trust log. */
export interface ShownLog {
  readonly checkpoint: Uint8Array;
  readonly entries: readonly Uint8Array[];
}

/** Answers like a control plane, holds no key of the mesh, and writes down what it is told. */
export interface FakeControlPlane extends AsyncDisposable {
  readonly address: string;
  /** Each call with its message, as text. */
  readonly heard: readonly string[];
}

/** A log that somebody founded with keys of their own. */
export function madeUpLog(): ShownLog {
  const log = new SmallTrustLog();
  return { entries: log.entries, checkpoint: log.checkpoint() };
}

/** The real log with its checkpoint, as everybody can read it. */
export async function copiedLog(mesh: Pick<RunningMesh, "directory">): Promise<ShownLog> {
  const { tiles, controlPlaneLog } = mesh.directory;
  const checkpoint = await readFile(join(tiles, "checkpoint"));
  const size = Number(checkpoint.toString("utf8").split("\n")[1]);
  const entries = await entriesOnDisk(join(controlPlaneLog, "segments"));
  return { checkpoint: new Uint8Array(checkpoint), entries: entries.slice(0, size) };
}

/** Listens at host:port, or at a free port of loopback, under a key that it has just made. */
export async function openFakeControlPlane(
  shown: ShownLog,
  address = "127.0.0.1:0",
): Promise<FakeControlPlane> {
  const heard: string[] = [];
  const note = (call: string, message: object): void => {
    heard.push(`${call} ${JSON.stringify(message, plainly)}`);
  };
  const identity = tlsIdentityOf(signerNamed("impostor").privateKey, randomBytes);
  const listen = { kind: "tls" as const, ...hostAndPort(address), identity };
  const server = await openRpcServer(listen, (router) => {
    router.service(Admission, {
      readLog: (request, { signal }) => {
        note("Admission.ReadLog", request);
        return serveLog(sourceOf(shown), { fromSize: 0, acceptsSnapshot: false, isLive: false }, signal);
      },
      join: (request) => {
        note("Admission.Join", request);
        return { size: BigInt(shown.entries.length) };
      },
    });
    router.service(Mesh, {
      follow: (request, { signal }) => {
        note("Mesh.Follow", request);
        const fromSize = Number(request.fromSize);
        return serveLog(sourceOf(shown), { fromSize, acceptsSnapshot: false, isLive: true }, signal);
      },
      issueSvid: (request) => {
        note("Mesh.IssueSvid", request);
        return { chain: [], size: 0n };
      },
      report: (request) => {
        note("Mesh.Report", request);
        return {};
      },
    });
    router.service(Admin, {
      append: (request) => {
        note("Admin.Append", request);
        return { size: BigInt(shown.entries.length) };
      },
    });
  });
  return { address: server.address, heard, [Symbol.asyncDispose]: () => server[Symbol.asyncDispose]() };
}

function sourceOf({ checkpoint, entries }: ShownLog): LogSource {
  return {
    newest: { size: entries.length, checkpoint },
    read: async function* (from, to) {
      yield* entries.slice(from, to);
    },
    endpoints: { endpoints: [], isPartial: false },
    snapshot: () => Promise.resolve(undefined),
    changed: (signal) =>
      new Promise((resolve) => signal.addEventListener("abort", () => resolve(), { once: true })),
  };
}

function plainly(_name: string, value: unknown): unknown {
  if (typeof value === "bigint") return String(value);
  return value instanceof Uint8Array ? Buffer.from(value).toString("base64") : value;
}
