import { type Command, Option } from "commander";
import { directoryOf, output, stopOlder, wholeNumber } from "./options.ts";

/** People: `operator …`, `proposals`, `approve`, `withdraw`, `session …`. */
export function addOperatorCommands(program: Command): void {
  addKeyCommands(
    program,
    program.command("operator").description("the people who run the mesh, and their keys"),
  );
  addProposalCommands(program);
  addSessionCommands(program);
}

function addKeyCommands(program: Command, operator: Command): void {
  const load = () => import("../commands/operators.ts");
  operator
    .command("list")
    .description("whose keys the trust log has")
    .option("--grants", "and how many signatures and approvals each kind of entry takes", false)
    .addOption(output())
    .action(async (options) => (await load()).listOperators({ ...options, dir: directoryOf(program) }));
  operator
    .command("card")
    .description("print what others need to know of this mesh; no secret is in it")
    .addOption(output())
    .action(async (options) => (await load()).showCard({ ...options, dir: directoryOf(program) }));
  operator
    .command("key")
    .description("make your own key, in a directory of yours, for the mesh of a card")
    .argument("<card>", "what troth operator card printed")
    .requiredOption("--name <person>", "who you are: lower-case letters, digits, hyphens")
    .addOption(
      new Option("--role <role>", "what you are to be")
        .choices(["viewer", "operator", "approver", "auditor"])
        .makeOptionMandatory(),
    )
    .addOption(output())
    .action(async (card: string, options) =>
      (await load()).makeKey(card, { ...options, dir: directoryOf(program) }),
    );
  operator
    .command("add")
    .description("enter the key of another person into the trust log")
    .argument("<key>", "what troth operator key printed")
    .addOption(output())
    .action(async (key: string, options) =>
      (await load()).addOperator(key, { ...options, dir: directoryOf(program) }),
    );
  operator
    .command("remove")
    .description("take a person's key out of force; its streams and sessions end at once")
    .argument("<name>")
    .addOption(output())
    .action(async (name: string, options) =>
      (await load()).removeOperator(name, { ...options, dir: directoryOf(program) }),
    );
  operator
    .command("require")
    .description("how many people entries take: signatures of operators, and approvals by approvers besides")
    .option("--signatures <n>", "of operators, the author's among them", wholeNumber)
    .option("--approvals <n>", "of approvers, who are other people", wholeNumber)
    .option("--kind <kind...>", "only these kinds of entries (default: all that operators write)", [])
    .addOption(output())
    .action(async (options) => (await load()).requireSignatures({ ...options, dir: directoryOf(program) }));
}

function addProposalCommands(program: Command): void {
  const load = () => import("../commands/proposals.ts");
  program
    .command("proposals")
    .description("what waits for the signatures of more people")
    .addOption(output())
    .action(async (options) => (await load()).listProposals({ ...options, dir: directoryOf(program) }));
  program
    .command("approve")
    .description("see what proposals do, and sign them")
    .argument("[id...]", "proposals, or how their ids begin")
    .option("--all", "all that wait for your signature", false)
    .option("--yes", "do not ask", false)
    .addOption(stopOlder())
    .addOption(output())
    .action(async (ids: string[], options) =>
      (await load()).approve(ids, { ...options, dir: directoryOf(program) }),
    );
  program
    .command("withdraw")
    .description("have a proposal forgotten; for its author and for approvers")
    .argument("<id>")
    .addOption(output())
    .action(async (id: string, options) =>
      (await load()).withdraw(id, { ...options, dir: directoryOf(program) }),
    );
}

function addSessionCommands(program: Command): void {
  const load = () => import("../commands/session.ts");
  const session = program.command("session").description("reading in a web browser on this machine");
  session
    .command("open")
    .description("print an address that signs a browser in: once, within a minute, to read only")
    .addOption(output())
    .action(async (options) => (await load()).openSession({ ...options, dir: directoryOf(program) }));
  session
    .command("list")
    .description("your sessions")
    .addOption(output())
    .action(async (options) => (await load()).listSessions({ ...options, dir: directoryOf(program) }));
  session
    .command("end")
    .description("sign a browser out")
    .argument("<id>")
    .addOption(output())
    .action(async (id: string, options) =>
      (await load()).endSession(id, { ...options, dir: directoryOf(program) }),
    );
}
