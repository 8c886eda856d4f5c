import {
  type InspectedSidecar,
  openInspectedSidecar,
  registerServices,
  type SidecarHoldings,
} from "./inspected-sidecar.ts";
import { RunningCommand } from "./running-command.ts";
import { apparatus, openMesh, type RunningMesh } from "./running-mesh.ts";

const listeningMillisMax = 30_000;

/** Two sidecars in a mesh, the second with the application of hard-app.ts behind it. */
export interface InspectedPair extends AsyncDisposable {
  readonly mesh: RunningMesh;
  readonly caller: InspectedSidecar;
  readonly callee: InspectedSidecar;
  /** The name by which the second is called. */
  readonly host: string;
  /** host:port of the application itself. */
  readonly appAddress: string;
  /** What both hold, the caller's first. */
  readonly holdings: () => Promise<readonly [SidecarHoldings, SidecarHoldings]>;
}

/** Opens them. */
export async function openInspectedPair(): Promise<InspectedPair> {
  await using stack = new AsyncDisposableStack();
  const mesh = stack.use(await openMesh({ kind: "up", requestTokens: "off" }));
  await registerServices(mesh, "/hard/caller", "/hard/callee");
  const [program = "", ...script] = apparatus("hard-app.ts");
  const app = stack.use(new RunningCommand(program, script, { env: { PORT: "0" } }));
  const appPort = Number((await app.untilLine(/^listening/, listeningMillisMax)).split(" ")[1]);
  const callee = stack.use(await openInspectedSidecar(mesh, "/hard/callee", appPort));
  const caller = stack.use(await openInspectedSidecar(mesh, "/hard/caller", appPort));
  const opened = stack.move();
  return {
    mesh,
    caller,
    callee,
    host: "callee.hard.mesh",
    appAddress: `127.0.0.1:${appPort}`,
    holdings: () => Promise.all([caller.holdings(), callee.holdings()]),
    [Symbol.asyncDispose]: () => opened.disposeAsync(),
  };
}

/** In words. */
export function toldOf({ heapBytes, residentBytes, descriptors, sockets, timers }: SidecarHoldings): string {
  const mebibytes = (bytes: number): string => (bytes / 2 ** 20).toFixed(1);
  return `${mebibytes(heapBytes)} MiB of heap (${mebibytes(residentBytes)} resident), ${descriptors} descriptors, ${sockets} sockets, ${timers} timers`;
}
