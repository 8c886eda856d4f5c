import type { Command } from "commander";
import { adminListen, directoryOf, help, logLevel } from "./options.ts";

/** The way into a mesh from outside: `gateway`. */
export function addGatewayCommands(program: Command): void {
  withGatewayFlags(program.command("gateway"))
    .description("take clients from outside to services of the mesh, by host and path")
    .addOption(logLevel())
    .addHelpText(
      "after",
      help([
        ["troth gateway --listen 127.0.0.1:8080 --to /shop/web", "plain HTTP, on this machine only"],
        ["troth gateway --file gateway.yaml", "TLS, several hosts and routes; read again when it changes"],
      ]),
    )
    .action(async (options) =>
      (await import("../commands/run-gateway.ts")).runGateway({ ...options, dir: directoryOf(program) }),
    );
  withGatewayFlags(program.command("gateway-process", { hidden: true }))
    .addOption(adminListen())
    .addOption(logLevel())
    .action(async (options) =>
      (await import("../commands/run-gateway.ts")).runGatewayProcess({
        ...options,
        dir: directoryOf(program),
      }),
    );
}

function withGatewayFlags(command: Command): Command {
  return command
    .option("-f, --file <file>", "an object of kind Gateway; the flags below are for one route")
    .option("--service <name>", "service that the gateway calls others as", "/edge/gateway")
    .option("--listen <host:port>", "where clients come in")
    .option("--certificate <file>", "certificate and chain, PEM; plain HTTP without, on loopback only")
    .option("--key <file>", "its private key, PEM")
    .option("--host <host>", "host that is served; * for any", "*")
    .option("--path-prefix <path>", "path that is served, with all below it", "/")
    .option("--to <service>", "service that takes the requests");
}
