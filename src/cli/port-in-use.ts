import { codeOf, messageOf } from "../base/mesh-error.ts";
import { CliError, exitCode } from "./exit-codes.ts";
import { holderOfPort } from "./port-holder.ts";

/** What to tell of a listener that could not be opened: who has the port, and which flag chooses another one. */
export async function explainListening(error: unknown, where: string, flag: string): Promise<unknown> {
  const codes = [codeOf(error), error instanceof Error ? codeOf(error.cause) : undefined];
  if (codes.includes("EADDRINUSE")) {
    const holder = (await holderOfPort(Number(where.split(":").at(-1)))) ?? "another process";
    return new CliError(
      exitCode.failed,
      `cannot listen on ${where}: ${holder} listens there; stop it, or choose another port with ${flag}`,
    );
  }
  if (codes.includes("EACCES") || codes.includes("EADDRNOTAVAIL") || codes.includes("ENOTFOUND"))
    return new CliError(
      exitCode.failed,
      `cannot listen on ${where} (${messageOf(error)}): choose an address of this machine and a port above 1023 with ${flag}`,
    );
  return error;
}
