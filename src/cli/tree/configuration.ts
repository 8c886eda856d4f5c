import { Argument, type Command, Option } from "commander";
import { directoryOf, help, output, waitTimeout, wholeNumber } from "./options.ts";

const kinds = "service, accesspolicy, trafficpolicy, instance, node, proxy, operator, certificate or grant";

/** What the mesh is told, in files: `validate`, `apply`, `diff`, `get`, `describe`, `delete`, `wait`. */
export function addConfigurationCommands(program: Command): void {
  addFileCommands(program);
  addReadingCommands(program);
  addRemovalCommands(program);
}

function addFileCommands(program: Command): void {
  program
    .command("apply")
    .description("make the mesh what files say, with as few entries as it takes, in one step")
    .addOption(files().makeOptionMandatory())
    .option("--dry-run", "say what would change, and change nothing", false)
    .option("--no-wait", "do not wait until the proxies have it")
    .addOption(waitTimeout())
    .addOption(output())
    .addHelpText(
      "after",
      help(
        [
          ["troth apply -f examples/shop.yaml", "one file"],
          ["troth get service -o yaml | troth apply -f - --dry-run", "standard input"],
        ],
        [
          [0, "done, or nothing to change"],
          [1, "refused by the control plane"],
          [5, "written, and some proxies did not acknowledge in time; they are named"],
          [65, "the files have problems, which are listed; nothing was written"],
        ],
      ),
    )
    .action(async (options) =>
      (await import("../commands/apply.ts")).apply({ ...options, dir: directoryOf(program) }),
    );

  program
    .command("diff")
    .description("what apply would change")
    .addOption(files().makeOptionMandatory())
    .addOption(output())
    .addHelpText(
      "after",
      help(
        [["troth diff -f examples/", "all files of a folder"]],
        [
          [0, "nothing would change"],
          [1, "something would"],
          [65, "the files have problems"],
        ],
      ),
    )
    .action(async (options) =>
      (await import("../commands/diff.ts")).diff({ ...options, dir: directoryOf(program) }),
    );

  program
    .command("validate")
    .description("whether files are good; needs no mesh")
    .argument("<file...>", "files, folders, or - for standard input")
    .addOption(output())
    .addHelpText(
      "after",
      help(
        [["troth validate examples/shop.yaml", "every problem with its line and column"]],
        [
          [0, "good"],
          [65, "not, and why"],
        ],
      ),
    )
    .action(async (paths: string[], options) =>
      (await import("../commands/apply.ts")).validate(paths, options),
    );
}

function addReadingCommands(program: Command): void {
  program
    .command("get")
    .description("objects as the mesh has them, in the form that apply reads")
    .addArgument(new Argument("<kind>", kinds))
    .argument(
      "[name]",
      "only this one; for instances, proxies and certificates also the beginning of it, or a service",
    )
    .addOption(output())
    .addHelpText(
      "after",
      help(
        [
          ["troth get service", "a table"],
          ["troth get accesspolicy /shop/ledger -o yaml", "one object, to be edited and applied"],
        ],
        [[4, "there is none of this name"]],
      ),
    )
    .action(async (kind: string, name: string | undefined, options) =>
      (await import("../commands/get.ts")).get(kind, name, { ...options, dir: directoryOf(program) }),
    );

  program
    .command("describe")
    .description("everything about an object: who may call it, its instances, certificates, proxies, alarms")
    .addArgument(new Argument("<kind>", kinds))
    .argument("<name>")
    .addOption(output())
    .addHelpText(
      "after",
      help([["troth describe service /shop/ledger", ""]], [[4, "there is none of this name"]]),
    )
    .action(async (kind: string, name: string, options) =>
      (await import("../commands/describe.ts")).describe(kind, name, {
        ...options,
        dir: directoryOf(program),
      }),
    );
}

function addRemovalCommands(program: Command): void {
  program
    .command("delete")
    .description("remove a service, or all rules of a destination")
    .addArgument(new Argument("[kind]", "service, accesspolicy or trafficpolicy"))
    .argument("[name]")
    .addOption(files())
    .option("--dry-run", "say what would be removed, and remove nothing", false)
    .option("--no-wait", "do not wait until the proxies have it")
    .addOption(waitTimeout())
    .addOption(output())
    .addHelpText(
      "after",
      help(
        [
          ["troth delete accesspolicy /shop/ledger", "nobody may call the ledger any more"],
          ["troth delete -f examples/shop.yaml --dry-run", "all objects of a file"],
        ],
        [
          [4, "one of them is not there; nothing was removed"],
          [5, "removed, and some proxies did not acknowledge in time"],
        ],
      ),
    )
    .action(async (kind: string | undefined, name: string | undefined, options) =>
      (await import("../commands/delete.ts")).deleteObjects(kind, name, {
        ...options,
        dir: directoryOf(program),
      }),
    );

  program
    .command("wait")
    .description("until every proxy has what the trust log says")
    .addOption(new Option("--for <what>", "what to wait for").choices(["synced"]).default("synced"))
    .option("--size <n>", "the size of the log to wait for (default: the present one)", wholeNumber)
    .addOption(waitTimeout())
    .addOption(output())
    .addHelpText(
      "after",
      help(
        [["troth wait --timeout 30", "e.g. after apply --no-wait"]],
        [
          [0, "all have it"],
          [5, "some have not; they are named"],
        ],
      ),
    )
    .action(async (options) =>
      (await import("../commands/wait.ts")).wait({ ...options, dir: directoryOf(program) }),
    );
}

function files(): Option {
  return new Option("-f, --file <path...>", "files, folders, or - for standard input");
}
