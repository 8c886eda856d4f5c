import { existsSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { freePort } from "../../src/cli/free-port.ts";
import { RunningCommand, runCommand } from "./running-command.ts";
import { repository } from "./running-mesh.ts";

/** The version whose binaries are asked for. */
export const spireVersion = "1.15.3";
const binaries = join(repository, "node_modules", ".cache", "troth-bench", "spire");
const readyMillisMax = 60_000;
const cliMillisMax = 30_000;
const pollMillis = 200;

/** What is missing to run SPIRE; undefined where it is there. Building it takes minutes, which is left to people. */
export function missingForSpire(): string | undefined {
  const files = ["spire-server", "spire-agent"].map((name) => join(binaries, name));
  return files.every((file) => existsSync(file))
    ? undefined
    : `spire-server and spire-agent ${spireVersion} go into ${binaries}: build them by test/peers/spire/build, or copy them from the release`;
}

/** A real SPIRE: a server with a bundle endpoint, and an agent on this machine. */
export class Spire implements AsyncDisposable {
  /** Where its bundle is, over https_spiffe. */
  readonly bundleUrl: string;
  readonly agentSocket: string;
  readonly #folder: string;
  readonly #stack: AsyncDisposableStack;

  private constructor(folder: string, endpointPort: number, stack: AsyncDisposableStack) {
    this.#folder = folder;
    this.#stack = stack;
    this.bundleUrl = `https://127.0.0.1:${endpointPort}/`;
    this.agentSocket = join(folder, "agent.sock");
  }

  /** Starts the server of a trust domain in a folder. */
  static async open(folder: string, trustDomain: string): Promise<Spire> {
    await using stack = new AsyncDisposableStack();
    const [port, endpointPort] = [await freePort(), await freePort()];
    const [serverFile, agentFile] = [join(folder, "server.conf"), join(folder, "agent.conf")];
    await writeFile(serverFile, serverSettings({ folder, trustDomain, port, endpointPort }));
    await writeFile(agentFile, agentSettings({ folder, trustDomain, port }));
    stack.use(new RunningCommand(join(binaries, "spire-server"), ["run", "-config", serverFile], {}));
    const spire = new Spire(folder, endpointPort, stack.move());
    await spire.#untilSaid("healthcheck");
    return spire;
  }

  /** What `spire-server` prints; throws what it says where it fails. */
  async said(...args: readonly string[]): Promise<string> {
    const socket = ["-socketPath", join(this.#folder, "server.sock")];
    const options = { timeoutMillis: cliMillisMax };
    const { code, stdout, stderr } = await runCommand(
      join(binaries, "spire-server"),
      [...args, ...socket],
      options,
    );
    if (code !== 0) throw new Error(`spire-server ${args.join(" ")}: ${stderr.trim()} ${stdout.trim()}`);
    return stdout;
  }

  /** Starts the agent as a node of this SPIFFE ID. */
  async startAgent(spiffeId: string): Promise<void> {
    const token = /Token: (\S+)/.exec(await this.said("token", "generate", "-spiffeID", spiffeId))?.[1] ?? "";
    const args = ["run", "-config", join(this.#folder, "agent.conf"), "-joinToken", token];
    this.#stack.use(new RunningCommand(join(binaries, "spire-agent"), args, {}));
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#stack.disposeAsync();
  }

  async #untilSaid(...args: readonly string[]): Promise<void> {
    const deadline = performance.now() + readyMillisMax;
    for (;;) {
      try {
        await this.said(...args);
        return;
      } catch (error) {
        if (performance.now() > deadline) throw error;
        await sleep(pollMillis);
      }
    }
  }
}

function serverSettings(of: {
  readonly folder: string;
  readonly trustDomain: string;
  readonly port: number;
  readonly endpointPort: number;
}): string {
  return `server {
  bind_address = "127.0.0.1"
  bind_port = "${of.port}"
  socket_path = "${join(of.folder, "server.sock")}"
  trust_domain = "${of.trustDomain}"
  data_dir = "${join(of.folder, "server")}"
  log_level = "WARN"
  federation {
    bundle_endpoint {
      address = "127.0.0.1"
      port = ${of.endpointPort}
      profile "https_spiffe" {}
    }
  }
}
plugins {
  DataStore "sql" {
    plugin_data {
      database_type = "sqlite3"
      connection_string = "${join(of.folder, "datastore.sqlite3")}"
    }
  }
  KeyManager "memory" {
    plugin_data {}
  }
  NodeAttestor "join_token" {
    plugin_data {}
  }
}
`;
}

function agentSettings(of: {
  readonly folder: string;
  readonly trustDomain: string;
  readonly port: number;
}): string {
  return `agent {
  data_dir = "${join(of.folder, "agent")}"
  log_level = "WARN"
  server_address = "127.0.0.1"
  server_port = "${of.port}"
  socket_path = "${join(of.folder, "agent.sock")}"
  trust_domain = "${of.trustDomain}"
  insecure_bootstrap = true
}
plugins {
  KeyManager "memory" {
    plugin_data {}
  }
  NodeAttestor "join_token" {
    plugin_data {}
  }
  WorkloadAttestor "unix" {
    plugin_data {}
  }
}
`;
}
