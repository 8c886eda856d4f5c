import { type Command, Option } from "commander";
import { directoryOf, help, output, wholeNumber } from "./options.ts";

/** The keys by which the control plane itself acts, and their life: `key …`. */
export function addKeyCommands(program: Command): void {
  const key = program
    .command("key")
    .description("how the control plane signs entries and is known: prepare, activate, remove");
  const load = () => import("../commands/own-keys.ts");
  key
    .command("list")
    .description("the control plane's keys, which of them acts, and what to do next")
    .addOption(output())
    .addHelpText("after", help([["troth key list", ""]]))
    .action(async (options) => (await load()).listOwnKeys({ ...options, dir: directoryOf(program) }));
  key
    .command("prepare")
    .argument("<role>", "issuer, sequencer or server")
    .description("make the next key of a role where it will act; it counts for nothing yet")
    .addOption(output())
    .addHelpText("after", help([["troth key prepare issuer", ""]], [[2, "no such role"]]))
    .action(async (role: string, options) =>
      (await load()).prepareOwnKey(role, { ...options, dir: directoryOf(program) }),
    );
  addChange(
    key
      .command("activate")
      .argument("<role>", "issuer, sequencer or server")
      .description("enter the prepared key into the trust log; it acts from that entry on"),
    [["troth key activate issuer --wait", ""]],
  ).action(async (role: string, options) =>
    (await load()).activateOwnKey(role, { ...options, dir: directoryOf(program) }),
  );
  addChange(
    key
      .command("remove")
      .argument("<name>", "the key (troth key list)")
      .description("let a key of the control plane count no more, ever"),
    [["troth key remove shop.example/issuer --wait", ""]],
  ).action(async (name: string, options) =>
    (await load()).removeOwnKey(name, { ...options, dir: directoryOf(program) }),
  );
}

function addChange(command: Command, examples: readonly (readonly [string, string])[]): Command {
  return command
    .option("--wait", "until every proxy has it", false)
    .addOption(
      new Option("--timeout <seconds>", "how long to wait for that").default(30).argParser(wholeNumber),
    )
    .addOption(output())
    .addHelpText(
      "after",
      help(examples, [
        [1, "refused, with the reason"],
        [4, "no such key"],
        [5, "written, and not everywhere in time"],
      ]),
    );
}
