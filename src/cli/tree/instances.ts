import { type Command, Option } from "commander";
import { directoryOf, help, output, waitTimeout, wholeNumber } from "./options.ts";

/** The running copies of services, and what is decided of them: `instance …`, `cve …`. */
export function addInstanceCommands(program: Command): void {
  const instance = program
    .command("instance")
    .description("the running copies of services: their states, and what is decided of them");
  instance
    .command("show")
    .description("the state of an instance and why, the decision in force, and how it does")
    .argument("<service|instance>", "instance, the beginning of one, or a service")
    .addOption(output())
    .addHelpText("after", help([["troth instance show /shop/payments", ""]], [[4, "no such instance"]]))
    .action(async (name: string, options) =>
      (await import("../commands/instances.ts")).showInstances(name, {
        ...options,
        dir: directoryOf(program),
      }),
    );
  addDecisionCommand(program, instance, {
    kind: "degrade",
    description: "have callers prefer all other instances of the service",
    reason: "by-hand",
  });
  addDecisionCommand(program, instance, {
    kind: "quarantine",
    description: "cut an instance off: it is called by nobody and calls nobody, and what is open is cut",
    reason: "suspicion",
  });
  addReleaseCommand(program, instance);
  const cve = program.command("cve").description("known vulnerabilities of what runs in the mesh");
  cve
    .command("load")
    .description("give the control plane of this machine a feed; it takes the place of the one before")
    .argument("<file>", "feed in JSON (docs/guides/instance-states.md)")
    .addOption(output())
    .addHelpText("after", help([["troth cve load feed.json", ""]], [[65, "no feed, and why"]]))
    .action(async (file: string, options) =>
      (await import("../commands/instances.ts")).loadVulnerabilities(file, {
        ...options,
        dir: directoryOf(program),
      }),
    );
}

function addDecisionCommand(
  program: Command,
  instance: Command,
  {
    kind,
    description,
    reason,
  }: { readonly kind: "degrade" | "quarantine"; readonly description: string; readonly reason: string },
): void {
  decisionOptions(instance.command(kind).description(description))
    .option("--reason <word>", "why: lower-case letters, digits and hyphens; it stands in the log", reason)
    .addHelpText(
      "after",
      help(
        [[`troth instance ${kind} 3f2a --reason ${reason} --wait`, ""]],
        [
          [1, "the log does not take it, and why"],
          [4, "no such instance"],
          [5, "written, and some proxies did not acknowledge in time"],
        ],
      ),
    )
    .action(async (name: string, options) =>
      (await import("../commands/instances.ts")).decideInstances(name, {
        ...options,
        kind,
        dir: directoryOf(program),
      }),
    );
}

function addReleaseCommand(program: Command, instance: Command): void {
  decisionOptions(
    instance.command("release").description("end the decision in force: the instance serves again"),
  )
    .addOption(
      new Option(
        "--decision <number>",
        "the decision that is meant; where a newer one is in force it is not ended",
      ).argParser(wholeNumber),
    )
    .addHelpText(
      "after",
      help(
        [["troth instance release 3f2a --decision 412 --wait", ""]],
        [
          [1, "no such decision is in force"],
          [4, "no such instance"],
          [5, "written, and some proxies did not acknowledge in time"],
        ],
      ),
    )
    .action(async (name: string, options) =>
      (await import("../commands/instances.ts")).releaseInstances(name, {
        ...options,
        dir: directoryOf(program),
      }),
    );
}

function decisionOptions(command: Command): Command {
  return command
    .argument("<service|instance>", "instance, the beginning of one, or a service")
    .option("--all", "all instances of the service", false)
    .option("--wait", "wait until the proxies have it", false)
    .addOption(waitTimeout())
    .addOption(output());
}
