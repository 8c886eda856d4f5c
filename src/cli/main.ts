import { CommanderError } from "commander";
import { messageOf } from "../base/mesh-error.ts";
import { CliError, exitCode } from "./exit-codes.ts";
import { defaultMeshPath } from "./mesh-directory.ts";
import { printable } from "./printable.ts";
import { buildProgram } from "./program.ts";

try {
  await buildProgram(defaultMeshPath()).parseAsync();
} catch (error) {
  process.exitCode = explain(error);
}

/** Tells the user what went wrong and answers with the exit code for it. */
function explain(error: unknown): number {
  if (error instanceof CommanderError) return error.exitCode === 0 ? exitCode.ok : exitCode.usage;
  const message = messageOf(error);
  // A server may have put words into it; our own may have several lines.
  const lines = message.split("\n").map(printable);
  if (message !== "") process.stderr.write(`troth: ${lines.join("\n")}\n`);
  return error instanceof CliError ? error.exitCode : exitCode.failed;
}
