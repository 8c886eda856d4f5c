import type { Command } from "commander";
import { directoryOf, help, output, waitTimeout } from "./options.ts";

/** The machines of the mesh: `node …`, `join`, `node-agent`. */
export function addNodeCommands(program: Command): void {
  const nodes = program.command("node").description("the machines of the mesh");
  nodes
    .command("invite")
    .description("make a join token for one machine: good once, for ten minutes")
    .argument("<node>")
    .addOption(output())
    .action(async (name: string, options) =>
      (await import("../commands/nodes.ts")).inviteNode(name, { ...options, dir: directoryOf(program) }),
    );

  nodes
    .command("list")
    .description("which machines have joined, and how they are")
    .addOption(output())
    .action(async (options) =>
      (await import("../commands/nodes.ts")).listNodes({ ...options, dir: directoryOf(program) }),
    );
  nodes
    .command("remove")
    .description("shut a machine out: its agent, its instances, and invitations for it")
    .argument("<node>")
    .addOption(output())
    .action(async (name: string, options) =>
      (await import("../commands/nodes.ts")).removeNode(name, { ...options, dir: directoryOf(program) }),
    );

  nodes
    .command("zone")
    .description("say where a node is: what runs there is called from the same zone first")
    .argument("<node>")
    .argument("[zone]", "a word such as eu-1")
    .option("--none", "it is in no zone", false)
    .option("--wait", "wait until the proxies have it", false)
    .addOption(waitTimeout())
    .addOption(output())
    .addHelpText(
      "after",
      help(
        [
          ["troth node zone box2 eu-1 --wait", "and until all proxies know"],
          ["troth node zone box2 --none", "it is nowhere"],
        ],
        [
          [4, "no such node"],
          [5, "written, and some proxies did not acknowledge in time"],
        ],
      ),
    )
    .action(async (name: string, zone: string | undefined, options) =>
      (await import("../commands/nodes.ts")).zoneNode(name, zone, { ...options, dir: directoryOf(program) }),
    );

  program
    .command("join")
    .description("make this machine a member of the mesh that a join token names")
    .argument("<token>", "or - for standard input, where no other user of the machine can see it")
    .action(async (token: string) =>
      (await import("../commands/nodes.ts")).join(token, { dir: directoryOf(program) }),
    );
}
