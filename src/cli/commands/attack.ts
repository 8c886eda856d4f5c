import { CliError, exitCode } from "../exit-codes.ts";
import { meshDirectory } from "../mesh-directory.ts";
import { OperatorClient } from "../operator-client.ts";
import { type OutputFormat, printAnswer } from "../output.ts";
import { AttackGround, type AttackOutcome, attacks } from "./attacks.ts";

/** `troth attack NAME|all`: does what an attacker would, against the running demo, and says what came of it. */
export async function attack(name: string, options: { dir: string; output: OutputFormat }): Promise<void> {
  const chosen = name === "all" ? [...attacks] : attacks.filter((one) => one.name === name);
  if (chosen.length === 0)
    throw new CliError(
      exitCode.notFound,
      `no attack is called ${name}; there are: ${attacks.map((one) => one.name).join(", ")}, all`,
    );
  const directory = meshDirectory(options.dir);
  using client = await OperatorClient.open(directory);
  await using ground = new AttackGround(client, directory);
  const outcomes: (AttackOutcome & { name: string; story: string })[] = [];
  for (const one of chosen) outcomes.push({ name: one.name, story: one.story, ...(await one.run(ground)) });
  const stopped = outcomes.filter(({ wasStopped }) => wasStopped).length;
  printAnswer(options.output, "AttackReport", { outcomes, stopped, tried: outcomes.length }, () => {
    const lines = outcomes.map(
      (one) =>
        `${one.wasStopped ? "stopped " : "SUCCEEDED"} ${one.name}: ${one.story}\n         ${one.observed}\n`,
    );
    return `${lines.join("")}${stopped} of ${outcomes.length} attacks stopped\n`;
  });
  if (stopped < outcomes.length) throw new CliError(exitCode.no, "");
}
