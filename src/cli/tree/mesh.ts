import { type Command, Option } from "commander";
import {
  appProtocol,
  dangerBelieveAdvertisements,
  directoryOf,
  dockerSocket,
  health,
  help,
  intermediateLifetime,
  isolate,
  kubernetes,
  logLevel,
  node,
  outboundClients,
  output,
  port,
  prefixes,
  svidLifetime,
  tcp,
  workloadListen,
} from "./options.ts";

/** Running a mesh, and how it is: `up`, `run`, `demo`, `status`, `services`. */
export function addMeshCommands(program: Command): void {
  addUpCommand(program);
  addRunCommand(program);
  addDemoCommand(program);
  addLookCommands(program);
}

function addUpCommand(program: Command): void {
  const up = program
    .command("up")
    .description(
      "run a control plane and this machine's node agent; founds a trust domain at the first start",
    )
    .option(
      "--listen <host:port>",
      "where the control plane listens (first 127.0.0.1:7443, then where it was)",
    )
    .option("--trust-domain <name>", "name of a new trust domain", "mesh.internal")
    .option(
      "--test-domain",
      "found a domain for tests, in which dangerous options work; cannot be changed later",
      false,
    )
    .addOption(node())
    .addOption(svidLifetime())
    .addOption(intermediateLifetime())
    .option(
      "--ca-certificate <file>",
      "PEM: the root of a new trust domain, or an intermediate and then its root; made here unless given",
    )
    .option("--ca-key <file>", "its private key (P-256), PEM, that only its owner can read")
    .option("--no-keep-ca-key", "use a root's key for the first intermediate and do not store it")
    .addOption(workloadListen())
    .option(
      "--bundle-endpoint <host:port>",
      "where other trust domains read this one's keys (SPIFFE Federation)",
    )
    .option(
      "--bundle-endpoint-certificate <file>",
      "certificate and chain, PEM: the endpoint is of profile https_web instead of https_spiffe",
    )
    .option("--bundle-endpoint-key <file>", "its private key, PEM")
    .option(
      "--federation-ca <file>",
      "CAs, PEM, that bundle endpoints of profile https_web may have besides the public web's",
    )
    .addOption(logLevel())
    .action(async (options) =>
      (await import("../commands/up.ts")).up({ ...options, dir: directoryOf(program) }),
    );
  for (const option of [...kubernetes(), dockerSocket()]) up.addOption(option);
}

function addRunCommand(program: Command): void {
  const run = program
    .command("run")
    .description("start a sidecar, then an application behind it; ends with the application's exit code")
    .requiredOption("--service <name>", "service that the application is, e.g. /shop/payments")
    .option(
      "--app-port <port>",
      "port that the application listens on (default: one is chosen and given as PORT)",
      port,
    )
    .option(
      "--outbound-port <port>",
      "port for the application's own requests (default: one is chosen)",
      port,
    )
    .option("--mesh-listen <host:port>", "where other proxies call it (default: any port of 127.0.0.1)")
    .addOption(appProtocol())
    .addOption(tcp())
    .addOption(prefixes());
  for (const option of health()) run.addOption(option);
  run
    .option("--no-http-proxy", "do not set http_proxy for the application")
    .addOption(
      new Option("--when-revoked <what>", "where its instance is revoked: end, or go on as another instance")
        .choices(["exit", "new-instance"])
        .default("exit"),
    )
    .addOption(outboundClients())
    .addOption(isolate())
    .addOption(dangerBelieveAdvertisements())
    .addOption(logLevel())
    .argument("<command...>", "the application and its arguments, after --")
    .addHelpText(
      "after",
      help([
        ["troth run --service /shop/web -- node web.js", "it listens on the port in PORT"],
        [
          "troth run --service /shop/db --app-protocol tcp --app-port 5432 -- postgres",
          "it is called over TCP",
        ],
        [
          "troth run --service /shop/web --tcp 15432=/shop/db -- node web.js",
          "it finds the database at port 15432",
        ],
        [
          "troth run --service /shop/web --health /healthz -- node web.js",
          "it is called while /healthz answers",
        ],
      ]),
    )
    .action(async (command: string[], options) => {
      process.exitCode = await (await import("../commands/run-service.ts")).runService(command, {
        ...options,
        dir: directoryOf(program),
      });
    });
}

function addDemoCommand(program: Command): void {
  program
    .command("demo")
    .description("run a mesh with a shop in it, under load (npm start)")
    .option("--listen <host:port>", "where the control plane listens")
    .option("--quiet", "print no rates", false)
    .addOption(node())
    .addOption(svidLifetime())
    .addOption(intermediateLifetime())
    .addOption(outboundClients())
    .addOption(logLevel())
    .action(async (options) =>
      (await import("../commands/demo.ts")).demo({ ...options, dir: directoryOf(program) }),
    );
}

function addLookCommands(program: Command): void {
  program
    .command("status")
    .description("the control plane, the nodes, the instances, and what should not have happened")
    .addOption(output())
    .action(async (options) =>
      (await import("../commands/status.ts")).status({ ...options, dir: directoryOf(program) }),
    );

  program
    .command("version")
    .description("the versions of this command, the control plane, the node agents and the proxies")
    .addOption(output())
    .action(async (options) =>
      (await import("../commands/version.ts")).version({ ...options, dir: directoryOf(program) }),
    );

  program
    .command("services")
    .description("what is registered, who may call it, what serves it")
    .option("--wide", "every instance: its state and why, and how it does", false)
    .addOption(output())
    .action(async (options) =>
      (await import("../commands/services.ts")).services({ ...options, dir: directoryOf(program) }),
    );
}
