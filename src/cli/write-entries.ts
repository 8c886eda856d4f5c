import { CliError, exitCode } from "./exit-codes.ts";
import type { NewEntry, OperatorClient, WriteHow } from "./operator-client.ts";
import type { ProposedEntry } from "./proposed-entry.ts";
import { type ProxiesReached, type ProxyArrivals, type ProxyBehind, reachedOf } from "./proxy-progress.ts";

const namedMax = 20;

/** What was written, and how far it has come where that was waited for. */
export interface Written {
  readonly size: number;
  /** What is not in the log yet, because other people have to sign it too. */
  readonly proposals: readonly ProposedEntry[];
  readonly proxies: ProxiesReached | undefined;
}

/** Has entries ordered or proposed; with `waitMillisMax`, waits so long until every proxy has what was ordered. */
export async function writeEntries(
  client: OperatorClient,
  entries: readonly NewEntry[],
  waitMillisMax: number | undefined,
  how: WriteHow = {},
): Promise<Written> {
  const { size, proposals } = await client.append(entries, how);
  const isWaitedFor = waitMillisMax !== undefined && proposals.length < entries.length;
  const proxies = isWaitedFor ? await waitForProxies(client, size, waitMillisMax) : undefined;
  return { size, proposals, proxies };
}

/** Waits until every known proxy has acknowledged the size, or the time is up. */
export async function waitForProxies(
  client: OperatorClient,
  size: number,
  timeoutMillis: number,
  arrived?: (arrivals: ProxyArrivals) => void,
): Promise<ProxiesReached> {
  const progress = await client.waitForProxies(size, timeoutMillis, arrived);
  return reachedOf(progress, progress.reached < progress.known ? await proxiesBehind(client, size) : []);
}

/** Throws, with exit code 5 and the names, where proxies are behind. */
export function requireReached(
  { known, reached, behind }: ProxiesReached,
  size: number,
  timeoutMillis: number,
): void {
  if (reached >= known) return;
  const names = behind
    .slice(0, namedMax)
    .map((one) => `${one.service} ${one.instance.slice(0, 8)} (${one.size})`);
  const more = behind.length > namedMax ? ` and ${behind.length - namedMax} more` : "";
  throw new CliError(
    exitCode.timedOut,
    `not at size ${size} within ${timeoutMillis / 1000} s: ${names.join(", ")}${more}; troth proxy status shows who follows the log`,
  );
}

async function proxiesBehind(client: OperatorClient, size: number): Promise<ProxyBehind[]> {
  const { followers } = await client.admin.getStatus({});
  return followers
    .filter((one) => Number(one.size) < size)
    .map(({ service, instance, size: reached }) => ({ service, instance, size: Number(reached) }));
}
