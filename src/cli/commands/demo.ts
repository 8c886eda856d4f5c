import { openSync } from "node:fs";
import { join } from "node:path";
import { demoRules, demoServices, demoTrustDomain } from "../../demo/index.ts";
import { parseServiceName } from "../../identity/index.ts";
import type { FollowerStatus } from "../../protocol/index.ts";
import { CliError, exitCode } from "../exit-codes.ts";
import type { MeshDirectory } from "../mesh-directory.ts";
import { OperatorClient } from "../operator-client.ts";
import { untilStopped } from "../until-stopped.ts";
import { openService, type RunningService } from "./run-service.ts";
import { openMesh, type UpOptions } from "./up.ts";

const firstRequestMillisMax = 60_000;
const pollMillis = 100;
const ratesIntervalMillis = 5_000;

/** `troth demo`, which is what `npm start` runs: a mesh with a shop in it, under load, until it is stopped. */
export async function demo(
  options: Omit<UpOptions, "trustDomain"> & { readonly quiet: boolean },
): Promise<void> {
  const stopped = untilStopped();
  const started = performance.now();
  await using stack = new AsyncDisposableStack();
  const mesh = stack.use(await openMesh({ ...options, trustDomain: demoTrustDomain }));
  const client = stack.use(await OperatorClient.open(mesh.directory));
  await tellTheStory(client);
  await Promise.all(
    demoServices.map(async (service) =>
      stack.use(await openDemoService(mesh.directory, service, options.logLevel)),
    ),
  );

  const isUp = await Promise.race([firstRequest(client), stopped.then(() => "stopped" as const)]);
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
  const rates = options.quiet ? undefined : printRates(client);
  await stopped;
  clearInterval(rates);
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

async function openDemoService(
  directory: MeshDirectory,
  service: (typeof demoServices)[number],
  logLevel: string,
): Promise<RunningService> {
  const name = parseServiceName(service.name);
  if (!name.ok) throw new CliError(exitCode.failed, `demo service ${service.name}: ${name.reason}`);
  const script = join(import.meta.dirname, "..", "..", "demo", service.script);
  const logFile = openSync(join(directory.logs, `app${name.value.replaceAll("/", ".")}.log`), "a", 0o600);
  return openService(directory, {
    name: name.value,
    command: [process.execPath, script],
    httpProxy: false,
    isOwn: true,
    logLevel,
    stdio: logFile,
  });
}

/** Waits until the ledger has been written to: that is a request through all four services. */
async function firstRequest(client: OperatorClient): Promise<boolean> {
  const deadline = performance.now() + firstRequestMillisMax;
  while (performance.now() < deadline) {
    const { followers } = await client.admin.getStatus({});
    if (
      followers.some(({ service, requestsForwarded }) => service === "/shop/ledger" && requestsForwarded > 0n)
    )
      return true;
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

/** Prints what went through since the last line, by service. */
function printRates(client: OperatorClient): NodeJS.Timeout {
  let before = new Map<string, FollowerStatus>();
  let beforeMillis = performance.now();
  const print = async (): Promise<void> => {
    const { followers, size } = await client.admin.getStatus({});
    const now = performance.now();
    const seconds = (now - beforeMillis) / 1000;
    const rates = followers
      .filter(({ address }) => address !== "")
      .map((follower) => {
        const earlier = before.get(follower.instance);
        const requests = Number(follower.requestsForwarded - (earlier?.requestsForwarded ?? 0n));
        const refused = Number(follower.requestsRefused - (earlier?.requestsRefused ?? 0n));
        const name = follower.service.split("/").at(-1) ?? "";
        return `${name} ${(requests / seconds).toFixed(0)}/s${refused > 0 ? ` (${refused} refused)` : ""}`;
      })
      .sort();
    if (before.size > 0)
      process.stdout.write(`${new Date().toISOString().slice(11, 19)}  ${rates.join("  ")}  log ${size}\n`);
    before = new Map(followers.map((follower) => [follower.instance, follower]));
    beforeMillis = now;
  };
  return setInterval(() => {
    print().catch(() =>
      process.stdout.write("the control plane does not answer; traffic goes on without it\n"),
    );
  }, ratesIntervalMillis);
}
