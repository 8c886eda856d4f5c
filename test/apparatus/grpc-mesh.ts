import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { freePort } from "../../src/cli/free-port.ts";
import { temporaryFolder } from "../contracts/temporary-folder.ts";
import { echoService } from "../peers/grpc-js/echo-service.ts";
import { type GrpcTarget, InteropClient } from "../peers/grpc-js/interop-client.ts";
import { testMethod } from "../peers/grpc-js/test-service.ts";
import { buildGrpcGoPeer, type GrpcPeer, grpcJsPeer } from "./grpc-interop.ts";
import { RunningCommand } from "./running-command.ts";
import {
  openMesh,
  openService,
  type RunningMesh,
  type RunningService,
  repository,
  troth,
} from "./running-mesh.ts";
import { Shared } from "./shared-apparatus.ts";

const answerMillisMax = 15_000;
const pollMillis = 100;

/** A mesh in which a client may call gRPC's interop service by two peers, each behind a sidecar of its own. */
export interface GrpcMesh extends AsyncDisposable {
  readonly mesh: RunningMesh;
  readonly peers: readonly GrpcPeer[];
  /** The sidecar that calls are made through. */
  readonly client: RunningService;
  /** The services by their peer's name. */
  readonly servers: ReadonlyMap<string, RunningService>;
  /** How a peer's service is called from the client's side. */
  readonly targetOf: (peer: string) => GrpcTarget;
}

/** For all claims about gRPC; takes Go. */
export const grpcMesh: Shared<GrpcMesh> = new Shared(openGrpcMesh);

async function openGrpcMesh(): Promise<GrpcMesh> {
  await using stack = new AsyncDisposableStack();
  const folder = stack.use(await temporaryFolder());
  const peers = [grpcJsPeer, await buildGrpcGoPeer(folder.path)];
  const mesh = stack.use(await openMesh({ kind: "up" }));
  const client = stack.use(await openService(mesh, "/interop/client"));
  const servers = new Map<string, RunningService>();
  for (const { name, serve } of peers) {
    servers.set(name, stack.use(await openService(mesh, `/interop/${name}`, { command: serve })));
    await allow(mesh, "/interop/client", `/interop/${name}`);
  }
  const targetOf = (peer: string): GrpcTarget => interopTarget(client, peer);
  for (const { name } of peers) await untilAnswering(targetOf(name));
  const opened = stack.move();
  return { mesh, peers, client, servers, targetOf, [Symbol.asyncDispose]: () => opened.disposeAsync() };
}

/** How the application behind a sidecar calls the interop service that has this name in `/interop`. */
export function interopTarget(from: RunningService, name: string): GrpcTarget {
  return { address: from.outboundAddress, authority: `${name}.interop.mesh` };
}

/** A service whose application is not run by its sidecar, so that the sidecar outlives it. */
export interface ApartService extends AsyncDisposable {
  readonly target: GrpcTarget;
  /** By @grpc/grpc-js. */
  readonly app: RunningCommand;
}

/** Opens one in `/interop`, and waits until the client may call it. */
export async function openApart(
  mesh: RunningMesh,
  client: RunningService,
  name: string,
): Promise<ApartService> {
  await using stack = new AsyncDisposableStack();
  const port = await freePort();
  const [file, ...args] = grpcJsPeer.serve;
  const app = stack.use(new RunningCommand(file, args, { env: { PORT: String(port) } }));
  await app.untilLine(/^ready$/, answerMillisMax);
  stack.use(await openService(mesh, `/interop/${name}`, { command: ["sleep", "604800"], port }));
  await allow(mesh, "/interop/client", `/interop/${name}`);
  const target = interopTarget(client, name);
  await untilAnswering(target);
  const opened = stack.move();
  return { target, app, [Symbol.asyncDispose]: () => opened.disposeAsync() };
}

/** Runs `troth allow` and waits until the proxies have it; throws what it says when it fails. */
export async function allow(
  mesh: RunningMesh,
  from: string,
  to: string,
  ...options: readonly string[]
): Promise<void> {
  const { code, stderr } = await troth(mesh.path, "allow", from, to, ...options);
  if (code !== 0) throw new Error(`troth allow ${from} ${to} ended with ${code}: ${stderr.trim()}`);
}

/** Opens an application in `/interop`, and waits until the client may call it. */
export async function openEcho(
  { mesh, client }: Pick<GrpcMesh, "mesh" | "client">,
  name: string,
  ...options: readonly string[]
): Promise<RunningService & { readonly target: GrpcTarget }> {
  await using stack = new AsyncDisposableStack();
  const program = join(repository, "test", "peers", "grpc-js", "serve-echo.ts");
  const command = [process.execPath, program, ...options];
  const service = stack.use(await openService(mesh, `/interop/${name}`, { command }));
  await allow(mesh, "/interop/client", `/interop/${name}`);
  const target = interopTarget(client, name);
  await untilAnswering(target, echoService.Unary);
  const opened = stack.move();
  return { ...service, target, [Symbol.asyncDispose]: () => opened.disposeAsync() };
}

/** Waits until a unary method answers an empty message; throws what it says instead when the time is up. */
export async function untilAnswering(
  target: GrpcTarget,
  method: Parameters<InteropClient["unary"]>[0] = testMethod("EmptyCall"),
): Promise<void> {
  using client = new InteropClient(target);
  const deadline = performance.now() + answerMillisMax;
  for (;;) {
    const { status, details } = await client.unary(method, Buffer.alloc(0));
    if (status === "OK") return;
    if (performance.now() > deadline)
      throw new Error(`${target.authority} answers no gRPC call: ${status} ${details}`);
    await sleep(pollMillis);
  }
}
