import { meshDirectory } from "../mesh-directory.ts";
import { OperatorClient } from "../operator-client.ts";
import { type OutputFormat, printAnswer } from "../output.ts";
import { reachedInWords } from "../proxy-progress.ts";
import { requireReached, waitForProxies } from "../write-entries.ts";

/** `troth wait`: until every proxy has reached a size of the log, the present one unless given. Exit code 5 if not in time. */
export async function wait(options: {
  dir: string;
  output: OutputFormat;
  size?: number;
  /** In seconds. */
  timeout: number;
}): Promise<void> {
  using client = await OperatorClient.open(meshDirectory(options.dir));
  const size = options.size ?? client.view.follower.size;
  const timeoutMillis = options.timeout * 1000;
  const proxies = await waitForProxies(client, size, timeoutMillis);
  printAnswer(
    options.output,
    "Progress",
    { treeSize: size, ...proxies },
    () => `tree size ${size}: ${reachedInWords(proxies)}\n`,
  );
  requireReached(proxies, size, timeoutMillis);
}
