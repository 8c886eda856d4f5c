import type { Command } from "commander";
import { adminListen, directoryOf, help, logLevel } from "./options.ts";

/** The way from one zone into another: `router`. */
export function addRouterCommands(program: Command): void {
  withRouterFlags(program.command("router"))
    .description("take callers of other zones to the services in this machine's zone")
    .addOption(logLevel())
    .addHelpText(
      "after",
      help([
        ["troth router --service /mesh/router-b --listen 10.0.2.7:9443", "the way into this machine's zone"],
      ]),
    )
    .action(async (options) =>
      (await import("../commands/run-router.ts")).runRouter({ ...options, dir: directoryOf(program) }),
    );
  withRouterFlags(program.command("router-process", { hidden: true }))
    .addOption(adminListen())
    .addOption(logLevel())
    .action(async (options) =>
      (await import("../commands/run-router.ts")).runRouterProcess({ ...options, dir: directoryOf(program) }),
    );
}

function withRouterFlags(command: Command): Command {
  return command
    .requiredOption("--service <name>", "what it is known as, e.g. /mesh/router-b; several may share it")
    .option(
      "--listen <host:port>",
      "where it takes callers, as they reach it; port 0 for any",
      "127.0.0.1:0",
    );
}
