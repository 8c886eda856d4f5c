import { setTimeout as sleep } from "node:timers/promises";
import { CliError, exitCode } from "../exit-codes.ts";
import { findInstance } from "../find-identity.ts";
import { meshDirectory } from "../mesh-directory.ts";
import { type NewEntry, OperatorClient } from "../operator-client.ts";
import { type OutputFormat, printAnswer } from "../output.ts";
import { requireServiceName } from "./run-service.ts";

const pollMillis = 100;

/** `troth identity rotate`: has instances replace their certificates now; nothing is cut, and the old ones count on. */
export async function rotateIdentities(
  target: { readonly id?: string | undefined; readonly service?: string; readonly all: boolean },
  options: { dir: string; output: OutputFormat; wait: boolean; timeout: number },
): Promise<void> {
  const given = [target.id, target.service, target.all ? "" : undefined].filter((one) => one !== undefined);
  if (given.length !== 1)
    throw new CliError(exitCode.usage, "name one instance (troth identity list), or say --service or --all");
  using client = await OperatorClient.open(meshDirectory(options.dir));
  const chosen = chosenBy(client, target);
  if (chosen.length === 0)
    throw new CliError(exitCode.notFound, "no instance has a certificate that is not being replaced already");
  const entries = chosen.map((instance): NewEntry => ({ kind: "instance.renew", body: { instance } }));
  const { size, proposals } = await client.append(entries);
  const isWaited = options.wait && proposals.length === 0;
  const left = isWaited ? await untilReplaced(client, chosen, options.timeout * 1000) : [];
  const view = {
    treeSize: size,
    instances: chosen,
    proposals,
    ...(isWaited ? { notReplaced: left } : {}),
  };
  printAnswer(options.output, "Rotation", view, () => {
    const those = `${chosen.length} ${chosen.length === 1 ? "instance" : "instances"}`;
    if (proposals.length > 0) return `${those}: once the proposals have their signatures\n`;
    return isWaited
      ? `${chosen.length - left.length} of ${those} have new certificates\n`
      : `${those} to get new certificates now; tree size ${size}\n`;
  });
  if (left.length > 0)
    throw new CliError(
      exitCode.timedOut,
      `no new certificate within ${options.timeout} s: ${left.map((one) => one.slice(0, 8)).join(", ")}; troth proxy status shows who follows the log`,
    );
}

function chosenBy(
  { state }: OperatorClient,
  { id, service }: { readonly id?: string | undefined; readonly service?: string },
): string[] {
  const one = id === undefined ? undefined : findInstance(state, id).instance;
  const name = service === undefined ? undefined : requireServiceName(service);
  const replaceable = new Set<string>();
  for (const [, { instance, isDue }] of state.certificates.entries())
    if (isDue !== true) replaceable.add(instance);
  return [...state.instances.entries()]
    .filter(([instance, row]) => (one ?? instance) === instance && (name ?? row.service) === row.service)
    .map(([instance]) => instance)
    .filter((instance) => replaceable.has(instance));
}

/** Waits until each instance has a certificate that is not to be replaced, or is gone; those that do not. */
async function untilReplaced(
  client: OperatorClient,
  instances: readonly string[],
  timeoutMillis: number,
): Promise<string[]> {
  const deadline = performance.now() + timeoutMillis;
  for (;;) {
    await client.refresh();
    const { state } = client;
    const fresh = new Set<string>();
    for (const [, { instance, isDue }] of state.certificates.entries())
      if (isDue !== true) fresh.add(instance);
    const left = instances.filter((instance) => state.instances.has(instance) && !fresh.has(instance));
    if (left.length === 0 || performance.now() > deadline) return left;
    await sleep(pollMillis);
  }
}
