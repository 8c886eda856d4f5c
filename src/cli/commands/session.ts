import { CliError, exitCode } from "../exit-codes.ts";
import { meshDirectory } from "../mesh-directory.ts";
import { OperatorClient } from "../operator-client.ts";
import { durationOf, type OutputFormat, printAnswer, tableOf } from "../output.ts";
import { systemClock } from "../system.ts";

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

/** `troth session list`: this person's sessions. */
export async function listSessions(options: { dir: string; output: OutputFormat }): Promise<void> {
  using client = await OperatorClient.open(meshDirectory(options.dir));
  const items = (await client.sessions()).map(({ id, endsAtSeconds, idleSeconds }) => ({
    id,
    endsAtSeconds: Number(endsAtSeconds),
    idleSeconds,
  }));
  printAnswer(options.output, "SessionList", { items }, () =>
    items.length === 0
      ? `No browser is signed in as ${client.name}.\n`
      : tableOf(
          ["ID", "ENDS IN", "LAST REQUEST"],
          items.map((one) => [
            one.id,
            durationOf(one.endsAtSeconds - systemClock.nowSeconds()),
            `${durationOf(one.idleSeconds)} ago`,
          ]),
        ),
  );
}

/** `troth session end ID`: the browser is signed out at once. */
export async function endSession(id: string, options: { dir: string; output: OutputFormat }): Promise<void> {
  using client = await OperatorClient.open(meshDirectory(options.dir));
  if (!(await client.sessions()).some((one) => one.id === id))
    throw new CliError(exitCode.notFound, `${client.name} has no session ${id}; see: troth session list`);
  await client.endSession(id);
  printAnswer(options.output, "SessionEnd", { id }, () => `${id}: ended\n`);
}
