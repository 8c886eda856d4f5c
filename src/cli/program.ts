import { Command } from "commander";
import { softwareVersion } from "../base/software-version.ts";
import { exitCode } from "./exit-codes.ts";
import { setQuiet } from "./talk.ts";
import { addAttackCommands } from "./tree/attack.ts";
import { addAuthorityCommands } from "./tree/ca.ts";
import { addCheckCommand } from "./tree/check.ts";
import { addCompletionCommands } from "./tree/completion.ts";
import { addConfigurationCommands } from "./tree/configuration.ts";
import { addFederationCommands } from "./tree/federation.ts";
import { addGatewayCommands } from "./tree/gateways.ts";
import { addIdentityCommands } from "./tree/identity.ts";
import { addLogCommands } from "./tree/log.ts";
import { addMeshCommands } from "./tree/mesh.ts";
import { addNodeCommands } from "./tree/nodes.ts";
import { addOperatorCommands } from "./tree/operators.ts";
import { wholeNumber } from "./tree/options.ts";
import { addProcessCommands } from "./tree/processes.ts";
import { addProxyCommands } from "./tree/proxies.ts";
import { addRouterCommands } from "./tree/routers.ts";
import { addRuleCommands } from "./tree/rules.ts";
import { addTokenPolicyCommand } from "./tree/token-policy.ts";
import { addTokenCommands } from "./tree/tokens.ts";

const helpAfter = `
Examples:
  troth up                                    run a mesh here; troth demo runs one with a shop in it
  troth run --service /shop/web -- node a.js  run an application in it
  troth apply -f examples/shop.yaml           tell it what a file says

Exit codes:
  0 ok   1 the answer is no   2 usage   3 control plane unreachable   4 not found
  5 timed out   6 the instance was revoked   65 unreadable input   70 something Troth needs is broken`;

/** The branches of the command tree, under the headings of `troth --help`. */
const groups: readonly (readonly [string, readonly ((program: Command) => void)[]])[] = [
  [
    "Run and look:",
    [addMeshCommands, addGatewayCommands, addRouterCommands, addCheckCommand, addProxyCommands],
  ],
  [
    "Say who may call whom:",
    [addRuleCommands, addTokenCommands, addTokenPolicyCommand, addConfigurationCommands],
  ],
  ["Identity and trust:", [addIdentityCommands, addAuthorityCommands, addFederationCommands, addLogCommands]],
  ["Machines and people:", [addNodeCommands, addOperatorCommands, addProcessCommands]],
  ["More:", [addAttackCommands, addCompletionCommands]],
];

/** Commands that run until they are stopped, to which --timeout and --quiet would mean nothing. */
const staying: ReadonlySet<string> = new Set([
  "up",
  "run",
  "gateway",
  "router",
  "export",
  "demo",
  "control-plane",
  "node-agent",
  "sidecar",
  "gateway-process",
  "router-process",
]);

/** The command tree of `troth`; each command loads what it needs when it runs. */
export function buildProgram(defaultDirectory: string): Command {
  const program = new Command("troth")
    .description("A service mesh in which every request proves who sent it.")
    .version(softwareVersion)
    .option("--dir <path>", "directory of the mesh (TROTH_DIR)", defaultDirectory)
    .addHelpText("after", helpAfter)
    .showHelpAfterError("(see --help)")
    .exitOverride();
  for (const [heading, branches] of groups) {
    program.commandsGroup(heading);
    for (const add of branches) add(program);
  }
  program.commandsGroup("More:");
  allowEverywhere(program, program);
  return program;
}

/** `--dir`, `--timeout` and `--quiet` stand behind the command; `--dir` also before it. */
function allowEverywhere(program: Command, parent: Command): void {
  for (const command of parent.commands) {
    command
      .option("--dir <path>", "directory of the mesh (TROTH_DIR)")
      .exitOverride()
      .showHelpAfterError("(see --help)");
    if (command.commands.length === 0 && !staying.has(command.name())) allowWhereItAnswers(command);
    command.hook("preAction", (_, action) => {
      const given: unknown = action.getOptionValue("dir");
      if (typeof given === "string") program.setOptionValue("dir", given);
    });
    allowEverywhere(program, command);
  }
}

function allowWhereItAnswers(command: Command): void {
  command.option("-q, --quiet", "print the answer alone, no notes", false);
  const waits = command.options.some(({ long }) => long === "--timeout");
  if (!waits) command.option("--timeout <seconds>", "give up after so long (default: never)", wholeNumber);
  command.hook("preAction", (_, action) => {
    setQuiet(action.getOptionValue("quiet") === true);
    const seconds: unknown = action.getOptionValue("timeout");
    if (!waits && typeof seconds === "number") endAfter(seconds);
  });
}

/** Whatever is under way then, a call to the mesh or a read of a pipe, has nobody who would end it. */
function endAfter(seconds: number): void {
  setTimeout(() => {
    process.stderr.write(`troth: no answer within ${seconds} s\n`);
    process.exit(exitCode.timedOut);
  }, seconds * 1000).unref();
}
