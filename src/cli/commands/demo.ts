import { openSync } from "node:fs";
import { join } from "node:path";
import { demoRules, demoServices, demoTrustDomain } from "../../demo/index.ts";
import { parseServiceName } from "../../identity/index.ts";
import type { FollowerStatus } from "../../protocol/index.ts";
import { CliError, exitCode } from "../exit-codes.ts";
import type { MeshDirectory } from "../mesh-directory.ts";
import { OperatorClient } from "../operator-client.ts";
import type { OutboundClients } from "../own-tree.ts";
import { untilStopped } from "../until-stopped.ts";
import { openService, type RunningService } from "./run-service.ts";
import { openMesh, type UpOptions } from "./up.ts";

const firstRequestMillisMax = 60_000;
const pollMillis = 100;
const ratesIntervalMillis = 5_000;

/** `troth demo`, which is what `npm start` runs: a mesh with a shop in it, under load, until it is stopped. */
export async function demo(
  options: Omit<UpOptions, "trustDomain" | "testDomain"> & ShopOptions & { readonly quiet: boolean },
): Promise<void> {
  const stopped = untilStopped();
  const started = performance.now();
  await using stack = new AsyncDisposableStack();
  let starting: Promise<RunningService[]> | undefined;
  const mesh = stack.use(
    await openMesh({ ...options, trustDomain: demoTrustDomain, testDomain: true }, (directory) => {
      starting = openShop(directory, stack, options);
      // Told below; a mesh that does not start is the likelier cause.
      starting.catch(() => {});
    }),
  );
  {
    using client = await OperatorClient.open(mesh.directory);
    await tellTheStory(client);
  }
  const shop = (await starting) ?? [];

  const isUp = await Promise.race([firstRequest(shop), stopped.then(() => "stopped" as const)]);
  if (isUp === "stopped") return;
  if (!isUp)
    throw new CliError(
      exitCode.failed,
      `no request came through within ${firstRequestMillisMax / 1000} s; see ${mesh.directory.logs}`,
    );
  const seconds = ((performance.now() - started) / 1000).toFixed(1);
  process.stdout.write(
    welcome({ address: mesh.domain.address, isNew: mesh.isNew, path: mesh.directory.path, seconds }),
  );
  if (!options.quiet) stack.use(printRates(mesh.directory));
  await stopped;
  process.stderr.write("stopping\n");
}

/** Registers the shop's services and rules, unless the log has them from an earlier start. */
async function tellTheStory(client: OperatorClient): Promise<void> {
  const services = demoServices
    .filter(({ name }) => !client.state.services.has(name))
    .map(({ name, dataClass, team, environment, labels }) => ({
      kind: "service.put" as const,
      body: { name, nodes: ["*"], dataClass, team, environment, labels },
    }));
  const isFirstTime = services.length === demoServices.length;
  const rules = demoRules.map(({ from, to, methods, paths }) => ({
    kind: "rule.put" as const,
    body: { from, to, effect: "allow", methods: [...methods], paths: [...paths] },
  }));
  // What somebody has changed since is left as it is.
  const entries = isFirstTime ? [...services, ...rules] : services;
  if (entries.length > 0) await client.append(entries);
}

interface ShopOptions {
  readonly logLevel: string;
  readonly outboundClients: OutboundClients;
}

/** All services of the shop at once; each waits for the mesh by itself. */
function openShop(
  directory: MeshDirectory,
  stack: AsyncDisposableStack,
  options: ShopOptions,
): Promise<RunningService[]> {
  return Promise.all(
    demoServices.map(async (service) => stack.use(await openDemoService(directory, service, options))),
  );
}

async function openDemoService(
  directory: MeshDirectory,
  service: (typeof demoServices)[number],
  { logLevel, outboundClients }: ShopOptions,
): Promise<RunningService> {
  const name = parseServiceName(service.name);
  if (!name.ok) throw new CliError(exitCode.failed, `demo service ${service.name}: ${name.reason}`);
  const script = join(import.meta.dirname, "..", "..", "demo", service.script);
  const logFile = openSync(join(directory.logs, `app${name.value.replaceAll("/", ".")}.log`), "a", 0o600);
  return openService(directory, {
    name: name.value,
    command: [process.execPath, script],
    httpProxy: false,
    // What an attacker does with her own identity is played by `troth attack`.
    outboundClients: service.name === "/shop/mallory" ? "any" : outboundClients,
    isOwn: true,
    // So that a shop in which somebody tries a revocation is whole again.
    whenRevoked: "new-instance",
    logLevel,
    stdio: logFile,
  });
}

/** Waits until the ledger's sidecar has forwarded a request: that is one through all four services. */
async function firstRequest(shop: readonly RunningService[]): Promise<boolean> {
  const ledger = shop.find(({ name }) => name === "/shop/ledger");
  const deadline = performance.now() + firstRequestMillisMax;
  while (performance.now() < deadline) {
    const metrics = await fetch(`http://${ledger?.sidecar.addresses["admin"]}/metrics`).catch(
      () => undefined,
    );
    const text = (await metrics?.text()) ?? "";
    if (/^troth_proxy_requests_total\{direction="inbound",outcome="ok"\} [1-9]/m.test(text)) return true;
    await new Promise((resolve) => setTimeout(resolve, pollMillis));
  }
  return false;
}

function welcome(about: { address: string; isNew: boolean; path: string; seconds: string }): string {
  const attack = "bin/troth attack mallory-reads-ledger";
  return `
ready: admin ${about.address}, trust domain ${demoTrustDomain} (${about.isNew ? "founded" : "resumed"}), first request after ${about.seconds} s

  load ─▶ web ─▶ checkout ─▶ payments ─▶ ledger        mallory (no rights)
  Every arrow is mutual TLS 1.3 between two sidecars; every certificate on it is in the trust log.

Try this in another terminal:
  bin/troth status                    who runs, how far each proxy is, what was refused
  bin/troth log verify                prove the whole history offline, from the files alone
  ${attack}   a neighbour tries to read the ledger and is refused, with the reason

State, keys and logs are in ${about.path}. Ctrl-C stops everything; the next start resumes.

`;
}

/** Prints what went through since the last line, by service, through restarts of the control plane. */
function printRates(directory: MeshDirectory): Disposable {
  let client: OperatorClient | undefined;
  let before:
    | { readonly atMillis: number; readonly byInstance: ReadonlyMap<string, FollowerStatus> }
    | undefined;
  let isStopped = false;
  const print = async (): Promise<void> => {
    client ??= await OperatorClient.open(directory);
    const { followers, size } = await client.admin.getStatus({});
    const atMillis = performance.now();
    if (before !== undefined && !isStopped)
      process.stdout.write(ratesLine(followers, before, { size, atMillis }));
    before = { atMillis, byInstance: new Map(followers.map((follower) => [follower.instance, follower])) };
  };
  const giveUp = (): void => {
    client?.[Symbol.dispose]();
    client = undefined;
    if (!isStopped) process.stdout.write("the control plane does not answer; traffic goes on without it\n");
  };
  const timer = setInterval(() => void print().catch(giveUp), ratesIntervalMillis);
  return {
    [Symbol.dispose]: () => {
      isStopped = true;
      clearInterval(timer);
      client?.[Symbol.dispose]();
    },
  };
}

function ratesLine(
  followers: readonly FollowerStatus[],
  before: { readonly atMillis: number; readonly byInstance: ReadonlyMap<string, FollowerStatus> },
  now: { readonly size: bigint; readonly atMillis: number },
): string {
  const seconds = (now.atMillis - before.atMillis) / 1000;
  const rates = followers.flatMap(({ service, instance, requestsForwarded, requestsRefused }) => {
    const earlier = before.byInstance.get(instance);
    const requests = Number(requestsForwarded - (earlier?.requestsForwarded ?? 0n));
    const refused = Number(requestsRefused - (earlier?.requestsRefused ?? 0n));
    if (requests + refused === 0) return [];
    const name = service.split("/").at(-1) ?? "";
    return `${name} ${(requests / seconds).toFixed(0)}/s${refused > 0 ? ` (${refused} refused)` : ""}`;
  });
  const time = new Date().toISOString().slice(11, 19);
  return `${time}  ${rates.sort().join("  ") || "no traffic"}  trust log ${now.size}\n`;
}
