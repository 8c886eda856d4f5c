import { CliError, exitCode } from "./exit-codes.ts";
import type { OperatorClient } from "./operator-client.ts";

const pollMillis = 50;
const namedMax = 20;

/** How far a size of the log has come. */
export interface ProxiesReached {
  readonly known: number;
  readonly reached: number;
  readonly millis: number;
  /** Of the proxies' acknowledgements, from the first look on. */
  readonly millisP50: number;
  readonly millisP99: number;
  readonly behind: readonly { readonly service: string; readonly instance: string; readonly size: number }[];
}

/** What was written, and how far it has come where that was waited for. */
export interface Written {
  readonly size: number;
  readonly proxies: ProxiesReached | undefined;
}

/** Has entries ordered together; with `waitMillisMax`, waits so long until every proxy has them. */
export async function writeEntries(
  client: OperatorClient,
  entries: Parameters<OperatorClient["append"]>[0],
  waitMillisMax: number | undefined,
): Promise<Written> {
  const size = entries.length === 0 ? client.view.follower.size : await client.append(entries);
  const proxies = waitMillisMax === undefined ? undefined : await waitForProxies(client, size, waitMillisMax);
  return { size, proxies };
}

/** Waits until every known proxy has reported the size. Proxies report once a second, so that is how fine this is. */
export async function waitForProxies(
  client: OperatorClient,
  size: number,
  timeoutMillis: number,
): Promise<ProxiesReached> {
  const started = performance.now();
  const reachedAfter = new Map<string, number>();
  for (;;) {
    const { followers } = await client.admin.getStatus({});
    const millis = Math.round(performance.now() - started);
    const behind: { service: string; instance: string; size: number }[] = [];
    for (const follower of followers) {
      const { service, instance } = follower;
      if (Number(follower.size) < size) behind.push({ service, instance, size: Number(follower.size) });
      else if (!reachedAfter.has(instance)) reachedAfter.set(instance, millis);
    }
    if (behind.length === 0 || millis > timeoutMillis) {
      const reached = followers.length - behind.length;
      return {
        known: followers.length,
        reached,
        millis,
        ...percentilesOf([...reachedAfter.values()]),
        behind,
      };
    }
    await new Promise((resolve) => setTimeout(resolve, pollMillis));
  }
}

/** "5 of 6 proxies have it; they acknowledged after 420 ms (p50), 980 ms (p99)". */
export function reachedSentence({ known, reached, millisP50, millisP99 }: ProxiesReached): string {
  if (known === 0) return "no proxy runs now";
  if (reached === 0) return `none of ${known} proxies has it`;
  return `${reached} of ${known} proxies have it; they acknowledged after ${millisP50} ms (p50), ${millisP99} ms (p99)`;
}

/** Throws, with exit code 5 and the names, where proxies are behind. */
export function requireReached({ behind }: ProxiesReached, size: number, timeoutMillis: number): void {
  if (behind.length === 0) return;
  const names = behind
    .slice(0, namedMax)
    .map((one) => `${one.service} ${one.instance.slice(0, 8)} (${one.size})`);
  const more = behind.length > namedMax ? ` and ${behind.length - namedMax} more` : "";
  throw new CliError(
    exitCode.timedOut,
    `not at size ${size} within ${timeoutMillis / 1000} s: ${names.join(", ")}${more}; troth proxy status shows who follows the log`,
  );
}

function percentilesOf(values: readonly number[]): { millisP50: number; millisP99: number } {
  const inOrder = values.toSorted((left, right) => left - right);
  const at = (share: number): number => inOrder[Math.ceil(inOrder.length * share) - 1] ?? 0;
  return { millisP50: at(0.5), millisP99: at(0.99) };
}
