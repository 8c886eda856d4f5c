import { setTimeout as sleep } from "node:timers/promises";
import { freePort } from "../../src/cli/free-port.ts";
import { meshDirectory, requireKnownDomain } from "../../src/cli/mesh-directory.ts";
import { temporaryFolder } from "../contracts/temporary-folder.ts";
import type { TrothVersion } from "./previous-version.ts";
import type { RunningCommand } from "./running-command.ts";
import { apparatus, parseStatus } from "./running-mesh.ts";

const readyMillisMax = 90_000;
const settledMillisMax = 60_000;
const pollMillis = 300;

/** The planes that one process a machine runs. */
export type Plane = "control-plane" | "node-agent";

/** A mesh whose control plane, node agent, sidecars and commands are of different versions, and change while it runs. */
export class MixedMesh implements AsyncDisposable {
  readonly path: string;
  readonly #address: string;
  readonly #stack: AsyncDisposableStack;
  readonly #planes = new Map<Plane, { readonly version: TrothVersion; readonly command: RunningCommand }>();

  private constructor(path: string, address: string, stack: AsyncDisposableStack) {
    this.path = path;
    this.#address = address;
    this.#stack = stack;
  }

  /** Founds it with one version, of which both planes are at first. */
  static async found(version: TrothVersion): Promise<MixedMesh> {
    await using stack = new AsyncDisposableStack();
    const { path } = stack.use(await temporaryFolder());
    const address = `127.0.0.1:${await freePort()}`;
    {
      await using up = version.start(path, "up", "--listen", address);
      await up.untilLine(/^ready/, readyMillisMax);
    }
    await requireKnownDomain(meshDirectory(path));
    const mesh = new MixedMesh(path, address, stack.move());
    for (const plane of ["control-plane", "node-agent"] as const) await mesh.become(plane, version);
    await mesh.untilSettled(version, 0);
    return mesh;
  }

  /** Ends a plane, if it runs, and starts it as another version. */
  async become(plane: Plane, version: TrothVersion): Promise<void> {
    const before = this.#planes.get(plane);
    if (before?.version === version) return;
    await before?.command[Symbol.asyncDispose]();
    const listen =
      plane === "control-plane" ? ["--listen", this.#address] : ["--control-plane", this.#address];
    this.#planes.set(plane, { version, command: version.start(this.path, plane, ...listen) });
  }

  /** Runs an application behind a sidecar of a version, and waits until there are so many. */
  async serve(version: TrothVersion, service: string, instances: number): Promise<MixedService> {
    const port = await freePort();
    const options = ["--service", service, "--outbound-port", String(port)];
    const command = this.#stack.use(
      version.start(this.path, "run", ...options, "--", ...apparatus("small-app.ts")),
    );
    await this.untilSettled(version, instances);
    return { version, service, outboundAddress: `127.0.0.1:${port}`, command };
  }

  /** Waits until so many instances serve and have the whole log, as a command of a version says. */
  async untilSettled(version: TrothVersion, instances: number): Promise<void> {
    const deadline = performance.now() + settledMillisMax;
    for (;;) {
      const { code, stdout, stderr } = await version.run(this.path, "status", "-o", "json");
      if (code === 0) {
        const status = parseStatus(stdout);
        const serving = status.instances.filter(
          ({ isServing, size }) => isServing && size === status.treeSize,
        );
        const isConnected = status.nodes.every((node) => node.isConnected && node.size === status.treeSize);
        if (serving.length === instances && status.instances.length === instances && isConnected) return;
      }
      if (performance.now() > deadline) throw new Error(`not settled: ${stdout.slice(0, 2_000)}${stderr}`);
      await sleep(pollMillis);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stack.disposeAsync();
    for (const plane of ["node-agent", "control-plane"] as const)
      await this.#planes.get(plane)?.command[Symbol.asyncDispose]();
  }
}

/** An application behind a sidecar of a version. */
export interface MixedService {
  readonly version: TrothVersion;
  readonly service: string;
  /** host:port where the application calls others. */
  readonly outboundAddress: string;
  readonly command: RunningCommand;
}
