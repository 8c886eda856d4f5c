import { Command, CommanderError, InvalidArgumentError, Option } from "commander";
import { messageOf } from "../base/mesh-error.ts";
import { CliError, exitCode } from "./exit-codes.ts";
import { defaultMeshPath } from "./mesh-directory.ts";
import { parseOutputFormat } from "./output.ts";

const exitCodesHelp = `
Exit codes:
  0 ok   1 the answer is no   2 usage   3 control plane unreachable   4 not found
  5 timed out   65 unreadable input   70 something Troth needs is broken`;

const program = new Command("troth")
  .description("A service mesh in which every request proves who sent it.")
  .version("0.1.0")
  .option("--dir <path>", "directory of the mesh (TROTH_DIR)", defaultMeshPath())
  .addHelpText("after", exitCodesHelp)
  .showHelpAfterError("(see --help)")
  .exitOverride();

const logLevel = new Option("--log-level <level>", "how much the mesh's processes log")
  .choices(["debug", "info", "warn", "error"])
  .default("info");
const output = new Option("-o, --output <format>", "table or json")
  .default("table")
  .argParser(parseOutputFormat);
const node = new Option("--node <name>", "name of this machine in the mesh").default("local");
const svidLifetime = new Option("--svid-lifetime <seconds>", "how long certificates live")
  .default(3600)
  .argParser(wholeNumber);

program
  .command("up")
  .description("run a control plane and this machine's node agent; founds a trust domain at the first start")
  .option("--listen <host:port>", "where the control plane listens (first 127.0.0.1:7443, then where it was)")
  .option("--trust-domain <name>", "name of a new trust domain", "mesh.internal")
  .option(
    "--test-domain",
    "found a domain for tests, in which dangerous options work; cannot be changed later",
    false,
  )
  .addOption(node)
  .addOption(svidLifetime)
  .addOption(logLevel)
  .action(async (options) => (await import("./commands/up.ts")).up({ ...options, dir: dir() }));

program
  .command("run")
  .description("start a sidecar, then an application behind it; ends with the application's exit code")
  .requiredOption("--service <name>", "service that the application is, e.g. /shop/payments")
  .option(
    "--app-port <port>",
    "port that the application listens on (default: one is chosen and given as PORT)",
    port,
  )
  .option("--outbound-port <port>", "port for the application's own requests (default: one is chosen)", port)
  .option("--no-http-proxy", "do not set http_proxy for the application")
  .addOption(logLevel)
  .argument("<command...>", "the application and its arguments, after --")
  .action(async (command: string[], options) => {
    process.exitCode = await (await import("./commands/run-service.ts")).runService(command, {
      ...options,
      dir: dir(),
    });
  });

program
  .command("demo")
  .description("run a mesh with a shop in it, under load (npm start)")
  .option("--listen <host:port>", "where the control plane listens")
  .option("--quiet", "print no rates", false)
  .addOption(node)
  .addOption(svidLifetime)
  .addOption(logLevel)
  .action(async (options) => (await import("./commands/demo.ts")).demo({ ...options, dir: dir() }));

program
  .command("status")
  .description("the control plane, the nodes, the instances, and what should not have happened")
  .addOption(output)
  .action(async (options) => (await import("./commands/status.ts")).status({ ...options, dir: dir() }));

program
  .command("check")
  .description("is this mesh healthy, and if not, what to do")
  .addOption(output)
  .action(async (options) => (await import("./commands/check.ts")).check({ ...options, dir: dir() }));

program
  .command("services")
  .description("what is registered, who may call it, what serves it")
  .addOption(output)
  .action(async (options) => (await import("./commands/status.ts")).services({ ...options, dir: dir() }));

for (const effect of ["allow", "deny"] as const)
  program
    .command(effect)
    .description(effect === "allow" ? "let one service call another" : "forbid it; a deny beats every allow")
    .argument("<from>", "calling service, or a prefix and /*")
    .argument("<to>", "called service, or a prefix and /*")
    .option("--method <method...>", "only these methods", [])
    .option("--path <prefix...>", "only these paths and what is below them", [])
    .option("--no-wait", "do not wait until the proxies have it")
    .addOption(output)
    .action(async (from: string, to: string, options) =>
      (await import("./commands/rules.ts")).putRule(effect, from, to, { ...options, dir: dir() }),
    );

const identity = program.command("identity").description("who the workloads are");
identity
  .command("show")
  .description("SPIFFE ID, instances and certificates of a service")
  .argument("<service>")
  .addOption(output)
  .action(async (service: string, options) =>
    (await import("./commands/identity.ts")).showIdentity(service, { ...options, dir: dir() }),
  );

const log = program.command("log").description("the trust log");
log
  .command("verify")
  .description("prove the whole history offline, from the files alone")
  .addOption(output)
  .action(async (options) =>
    (await import("./commands/verify-log.ts")).verifyLog({ ...options, dir: dir() }),
  );

const nodes = program.command("node").description("the machines of the mesh");
nodes
  .command("invite")
  .description("make a join token for one machine: good once, for ten minutes")
  .argument("<node>")
  .addOption(output)
  .action(async (name: string, options) =>
    (await import("./commands/nodes.ts")).inviteNode(name, { ...options, dir: dir() }),
  );
program
  .command("join")
  .description("make this machine a member of the mesh that a join token names")
  .argument("<token>")
  .action(async (token: string) => (await import("./commands/nodes.ts")).join(token, { dir: dir() }));

program
  .command("attack")
  .description("attack the running demo and see what comes of it")
  .argument("<name>", "an attack, or all")
  .addOption(output)
  .action(async (name: string, options) =>
    (await import("./commands/attack.ts")).attack(name, { ...options, dir: dir() }),
  );

program
  .command("control-plane", { hidden: true })
  .requiredOption("--listen <host:port>")
  .addOption(svidLifetime)
  .addOption(logLevel)
  .action(async (options) =>
    (await import("./commands/run-processes.ts")).runControlPlane({ ...options, dir: dir() }),
  );
program
  .command("node-agent")
  .description("run the agent of a machine that has joined")
  .option("--control-plane <host:port>", "where the control plane is now, if it moved")
  .addOption(logLevel)
  .action(async (options) =>
    (await import("./commands/run-processes.ts")).runNodeAgent({ ...options, dir: dir() }),
  );
program
  .command("sidecar", { hidden: true })
  .requiredOption("--service <name>")
  .requiredOption("--app-port <port>", "", port)
  .requiredOption("--outbound-port <port>", "", port)
  .addOption(logLevel)
  .action(async (options) =>
    (await import("./commands/run-processes.ts")).runSidecar({ ...options, dir: dir() }),
  );

allowDirEverywhere(program);
try {
  await program.parseAsync();
} catch (error) {
  process.exitCode = explain(error);
}

/** `--dir` may stand before or after the command. */
function allowDirEverywhere(parent: Command): void {
  for (const command of parent.commands) {
    command
      .option("--dir <path>", "directory of the mesh (TROTH_DIR)")
      .exitOverride()
      .showHelpAfterError("(see --help)");
    command.hook("preAction", (_, action) => {
      const given: unknown = action.getOptionValue("dir");
      if (typeof given === "string") program.setOptionValue("dir", given);
    });
    allowDirEverywhere(command);
  }
}

function dir(): string {
  return String(program.getOptionValue("dir"));
}

function port(text: string): number {
  const value = wholeNumber(text);
  if (value > 65_535) throw new InvalidArgumentError("a port is at most 65535");
  return value;
}

function wholeNumber(text: string): number {
  if (!/^[0-9]{1,9}$/.test(text)) throw new InvalidArgumentError("expected a whole number");
  return Number(text);
}

/** Tells the user what went wrong and answers with the exit code for it. */
function explain(error: unknown): number {
  if (error instanceof CommanderError) return error.exitCode === 0 ? exitCode.ok : exitCode.usage;
  const message = messageOf(error);
  if (message !== "") process.stderr.write(`troth: ${message}\n`);
  return error instanceof CliError ? error.exitCode : exitCode.failed;
}
