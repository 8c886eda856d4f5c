import { setTimeout as sleep } from "node:timers/promises";
import type { OperatorClient } from "../../src/cli/operator-client.ts";

const pollMillis = 5;

/** Waits until every known proxy has reported a size of the log, or the time is up; how many have. */
export async function waitForProxies(
  client: OperatorClient,
  size: number,
  timeoutMillis: number,
): Promise<{ readonly reached: number; readonly known: number }> {
  const deadline = performance.now() + timeoutMillis;
  for (;;) {
    const { followers } = await client.admin.getStatus({});
    const reached = followers.filter((follower) => Number(follower.size) >= size).length;
    if (reached === followers.length || performance.now() > deadline)
      return { reached, known: followers.length };
    await sleep(pollMillis);
  }
}
