import { createInterface } from "node:readline/promises";
import { CliError, exitCode } from "./exit-codes.ts";
import { printable } from "./printable.ts";

/**
 * Shows what is about to be signed on standard error, as `name  value` lines, and asks the person at the terminal unless
 * they have said yes already. Throws where they do not want to, or where nobody is there to ask.
 */
export async function confirmSigning(
  shown: readonly (readonly [name: string, value: string])[],
  hasSaidYes: boolean,
): Promise<void> {
  // What other people wrote must not move the cursor over what stands above it.
  for (const [name, value] of shown) process.stderr.write(`${name.padEnd(10)}${printable(value)}\n`);
  if (hasSaidYes) return;
  if (!process.stdin.isTTY)
    throw new CliError(exitCode.usage, "nobody is there to ask; say --yes to sign what stands above");
  const terminal = createInterface({ input: process.stdin, output: process.stderr });
  try {
    const answer = await terminal.question("Sign this? [y/N] ");
    if (!/^y(es)?$/i.test(answer.trim())) throw new CliError(exitCode.no, "not signed");
  } finally {
    terminal.close();
  }
}
