import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import net from "node:net";
import { join } from "node:path";
import type { ZonePlan } from "./zone-process.ts";

const readyMillisMax = 30_000;
const script = join(import.meta.dirname, "zone-process.ts");

/** Why this machine cannot make networks that do not reach each other; undefined where it can. */
export function missingForNamespaces(): string | undefined {
  if (process.platform !== "linux") return "network namespaces are Linux's";
  const tried = spawnSync("unshare", ["-n", "ip", "link", "set", "lo", "up"], { encoding: "utf8" });
  if (tried.error === undefined && tried.status === 0) return undefined;
  return `needs network namespaces: run it as root, in a container with CAP_SYS_ADMIN, with iproute2 and util-linux (${tried.error?.message ?? tried.stderr.trim()})`;
}

/** A process in a network of its own, which it may share with others that are put there. */
export class ZoneProcess implements AsyncDisposable {
  readonly #child: ChildProcess;
  #stderr = "";

  /** Starts one, in a network of its own or in that of another; it waits for {@link run}. */
  constructor(plan: ZonePlan, within?: ZoneProcess) {
    const node = [process.execPath, script, JSON.stringify(plan)];
    const [file = "", ...args] =
      within === undefined
        ? ["unshare", "-n", ...node]
        : ["nsenter", "-t", String(within.pid), "-n", ...node];
    this.#child = spawn(file, args, { stdio: ["pipe", "pipe", "pipe"] });
    this.#child.stderr?.on("data", (chunk: Buffer) => {
      this.#stderr += chunk.toString();
    });
  }

  get pid(): number {
    return this.#child.pid ?? 0;
  }

  /** Lets it begin, once its network is there; resolves when it serves. */
  async run(): Promise<void> {
    const { stdout, stdin } = this.#child;
    if (stdout === null || stdin === null) throw new Error("no pipes");
    const ended = once(this.#child, "exit").then(() => {
      throw new Error(`a zone's process ended: ${this.#stderr.slice(-500)}`);
    });
    ended.catch(() => {});
    stdin.write("go\n");
    const timeout = AbortSignal.timeout(readyMillisMax);
    await Promise.race([once(stdout, "data", { signal: timeout }), ended]);
  }

  /** Ends it at once, as a machine ends whose power fails. */
  async kill(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const gone = once(this.#child, "exit");
    this.#child.kill("SIGKILL");
    await gone;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill();
  }
}

/** Gives the networks of two processes a cable between them, and each end its address. */
export function connectNetworks(
  one: { readonly process: ZoneProcess; readonly address: string },
  other: { readonly process: ZoneProcess; readonly address: string },
  name: string,
): void {
  const ends = [
    { ...one, device: `${name}a` },
    { ...other, device: `${name}b` },
  ];
  const within = (process: ZoneProcess, ...args: string[]): void =>
    mustRun("nsenter", "-t", String(process.pid), "-n", "ip", ...args);
  const [near, far] = ends;
  if (near === undefined || far === undefined) return;
  const peer = ["peer", "name", far.device, "netns", String(far.process.pid)];
  within(near.process, "link", "add", near.device, "type", "veth", ...peer);
  for (const { process, address, device } of ends) {
    within(process, "addr", "add", `${address}/24`, "dev", device);
    within(process, "link", "set", device, "up");
    within(process, "link", "set", "lo", "up");
  }
}

function mustRun(file: string, ...args: string[]): void {
  const { status, stderr } = spawnSync(file, args, { encoding: "utf8" });
  if (status !== 0) throw new Error(`${file} ${args.join(" ")}: ${stderr}`);
}

/** host:port of this network that leads to a Unix socket, until it is disposed of. */
export interface Bridge extends AsyncDisposable {
  readonly address: string;
}

/** Opens one. */
export async function openBridge(path: string): Promise<Bridge> {
  const sockets = new Set<net.Socket>();
  const server = net.createServer({ allowHalfOpen: true, noDelay: true }, (near) => {
    const far = net.connect({ path, allowHalfOpen: true });
    for (const [from, to] of [
      [near, far],
      [far, near],
    ] as const) {
      sockets.add(from);
      from.on("error", () => to.destroy());
      from.on("close", () => {
        sockets.delete(from);
        to.destroy();
      });
      from.pipe(to);
    }
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const bound = server.address();
  return {
    address: `127.0.0.1:${typeof bound === "object" && bound !== null ? bound.port : 0}`,
    [Symbol.asyncDispose]: async () => {
      for (const socket of sockets) socket.destroy();
      server.close();
      await Promise.resolve();
    },
  };
}
