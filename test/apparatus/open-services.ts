import { freePort } from "../../src/cli/free-port.ts";
import { OperatorClient } from "../../src/cli/operator-client.ts";
import { registrationOf } from "./inspected-sidecar.ts";
import type { RunningCommand } from "./running-command.ts";
import { type RunningMesh, startTroth } from "./running-mesh.ts";

const startMillisMax = 120_000;
const pollMillis = 100;

/** An application behind its sidecar, started with `troth run`. */
export interface StartedService {
  readonly service: string;
  readonly command: RunningCommand;
  /** host:port on which the sidecar takes the application's own requests. */
  readonly outboundAddress: string;
}

/** Runs an application as each of many services at the same time, and waits until all of them serve. */
export async function openServices(
  mesh: RunningMesh,
  stack: AsyncDisposableStack,
  services: readonly string[],
  command: readonly string[],
): Promise<StartedService[]> {
  using client = await OperatorClient.open(mesh.directory);
  await client.append(services.map(registrationOf));
  const started: StartedService[] = [];
  for (const service of services) {
    const port = await freePort();
    const options = ["--service", service, "--outbound-port", String(port)];
    const running = stack.use(startTroth(mesh.path, ["run", ...options, "--", ...command]));
    started.push({ service, command: running, outboundAddress: `127.0.0.1:${port}` });
  }
  const endMillis = performance.now() + startMillisMax;
  for (;;) {
    const { followers } = await client.admin.getStatus({});
    const serving = new Set(followers.filter(({ address }) => address !== "").map(({ service }) => service));
    const missing = started.find(({ service }) => !serving.has(service));
    if (missing === undefined) return started;
    if (performance.now() > endMillis)
      throw new Error(`${missing.service} does not serve: ${missing.command.tail()}`);
    await new Promise((resolve) => setTimeout(resolve, pollMillis));
  }
}

/** Allows the first of each pair to call the second. */
export async function allowPairs(
  mesh: RunningMesh,
  pairs: readonly (readonly [from: string, to: string])[],
): Promise<void> {
  using client = await OperatorClient.open(mesh.directory);
  const rules = pairs.map(([from, to]) => ({ from, to, effect: "allow", methods: [], paths: [] }));
  await client.append(rules.map((body) => ({ kind: "rule.put" as const, body })));
}
