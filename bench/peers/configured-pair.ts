import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { freePort } from "../../src/cli/free-port.ts";
import { type Pair, type Stage, startListening } from "./pair.ts";
import { leafName, type TestAuthority } from "./test-authority.ts";

/** Ports and files that the configuration of a pair is made from. */
export interface PairPlan {
  readonly outboundPort: number;
  readonly inboundPort: number;
  readonly appPort: number;
  readonly authority: TestAuthority;
  /** A file name, different for each proxy, that it may use for its own needs. */
  readonly scratch: string;
}

/** How a proxy that reads one configuration file is run. */
export interface ConfiguredProxy {
  readonly name: string;
  /** The file name's ending, with its dot. */
  readonly extension: string;
  readonly outbound: (plan: PairPlan) => string;
  readonly inbound: (plan: PairPlan) => string;
  readonly command: (configFile: string) => [string, ...string[]];
}

let opened = 0;

/** Starts both proxies of a pair, each with its own configuration file. */
export async function openConfiguredPair(proxy: ConfiguredProxy, stage: Stage): Promise<Pair> {
  await using stack = new AsyncDisposableStack();
  opened += 1;
  const plan = {
    outboundPort: await freePort(),
    inboundPort: await freePort(),
    appPort: stage.appPort,
    authority: stage.authority,
  };
  const start = async (role: "outbound" | "inbound", port: number): Promise<number> => {
    const base = join(stage.folder, `${proxy.name.replaceAll(" ", "-")}-${opened}-${role}`);
    const file = base + proxy.extension;
    writeFileSync(file, proxy[role]({ ...plan, scratch: `${base}.scratch` }), { mode: 0o600 });
    return stack.use(await startListening(stage.cores.proxies, proxy.command(file), port)).pid;
  };
  const inbound = await start("inbound", plan.inboundPort);
  const outbound = await start("outbound", plan.outboundPort);
  const running = stack.move();
  const { credentials } = stage.authority;
  return {
    address: `127.0.0.1:${plan.outboundPort}`,
    host: leafName,
    outbound: [outbound],
    inbound: [inbound],
    mesh: {
      address: `127.0.0.1:${plan.inboundPort}`,
      host: leafName,
      openCredentials: async () => ({ credentials, [Symbol.asyncDispose]: async () => {} }),
    },
    [Symbol.asyncDispose]: () => running.disposeAsync(),
  };
}
