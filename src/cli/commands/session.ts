import { meshDirectory } from "../mesh-directory.ts";
import { OperatorClient } from "../operator-client.ts";
import { type OutputFormat, printAnswer } from "../output.ts";

/** `troth session open`: an address that signs a browser on the control plane's machine in, once, within a minute. */
export async function openSession(options: { dir: string; output: OutputFormat }): Promise<void> {
  using client = await OperatorClient.open(meshDirectory(options.dir));
  const { url, expiresAtSeconds } = await client.openSession();
  printAnswer(
    options.output,
    "Session",
    { url, expiresAtSeconds: Number(expiresAtSeconds) },
    () => `${url}\n`,
  );
  process.stderr.write(
    "troth: open it within a minute, in a browser on the control plane's machine; it works once and only reads\n",
  );
}
