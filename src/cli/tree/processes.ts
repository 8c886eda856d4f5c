import { type Command, Option } from "commander";
import {
  adminListen,
  appProtocol,
  dangerBelieveAdvertisements,
  directoryOf,
  dockerSocket,
  health,
  intermediateLifetime,
  kubernetes,
  logLevel,
  port,
  prefixes,
  svidLifetime,
  tcp,
  wholeNumber,
  workloadListen,
} from "./options.ts";

/** The processes that other commands start, each of which can be started by hand. */
export function addProcessCommands(program: Command): void {
  program
    .command("control-plane", { hidden: true })
    .requiredOption("--listen <host:port>")
    .addOption(adminListen())
    .addOption(svidLifetime())
    .addOption(intermediateLifetime())
    .option("--bundle-endpoint <host:port>")
    .option("--bundle-endpoint-certificate <file>")
    .option("--bundle-endpoint-key <file>")
    .option("--federation-ca <file>")
    .addOption(logLevel())
    .action(async (options) =>
      (await import("../commands/run-control-plane.ts")).runControlPlane({
        ...options,
        dir: directoryOf(program),
      }),
    );
  const agent = program
    .command("node-agent")
    .description("run the agent of a machine that has joined")
    .option("--control-plane <host:port>", "where the control plane is now, if it moved")
    .addOption(adminListen())
    .addOption(workloadListen())
    .addOption(logLevel())
    .action(async (options) =>
      (await import("../commands/run-node-agent.ts")).runNodeAgent({ ...options, dir: directoryOf(program) }),
    );
  for (const option of [...kubernetes(), dockerSocket()]) agent.addOption(option);
  const sidecar = program
    .command("sidecar", { hidden: true })
    .requiredOption("--service <name>")
    .requiredOption("--app-port <port>", "", port)
    .addOption(appProtocol())
    .requiredOption("--outbound-port <port>", "", port)
    .option("--mesh-listen <host:port>")
    .addOption(adminListen())
    .option("--outbound-descriptor <number>", "", wholeNumber)
    .option("--replaces", "", false)
    .addOption(tcp())
    .addOption(prefixes())
    .addOption(dangerBelieveAdvertisements())
    .option("--tcp-descriptors <numbers>", "", wholeNumbers)
    .addOption(new Option("--outbound-clients <who>").choices(["own", "any"]).default("any"))
    .addOption(logLevel());
  for (const option of health()) sidecar.addOption(option);
  sidecar.action(async (options) =>
    (await import("../commands/run-sidecar.ts")).runSidecar({ ...options, dir: directoryOf(program) }),
  );
}

/** Whole numbers with commas between them. */
function wholeNumbers(text: string): number[] {
  return text.split(",").map(wholeNumber);
}
