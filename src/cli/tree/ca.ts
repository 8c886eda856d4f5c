import { type Command, Option } from "commander";
import { directoryOf, help, output, stopOlder, wholeNumber } from "./options.ts";

const reasons = [
  "unspecified",
  "key-compromise",
  "ca-compromise",
  "superseded",
  "cessation-of-operation",
  "privilege-withdrawn",
];

/** The certificate authorities and their life: `ca …`. */
export function addAuthorityCommands(program: Command): void {
  const ca = program.command("ca").description("who signs certificates: prepare, activate, taint, revoke");
  const load = () => import("../commands/authorities.ts");
  ca.command("show")
    .description("the authorities, how many certificates are of each, and what to do next")
    .addOption(output())
    .addHelpText("after", help([["troth ca show -o wide", "whole ids, and when each ends"]]))
    .action(async (options) => (await load()).showAuthorities({ ...options, dir: directoryOf(program) }));
  addPrepare(program, ca);
  addChange(
    ca.command("activate").description("have a prepared or an old authority sign from now on"),
  ).action(async (id: string, options) =>
    (await load()).activateAuthority(id, { ...options, dir: directoryOf(program) }),
  );
  addChange(
    ca
      .command("taint")
      .description("have everything that an authority has signed replaced now, while it still counts"),
  ).action(async (id: string, options) =>
    (await load()).taintAuthority(id, { ...options, dir: directoryOf(program) }),
  );
  addChange(
    ca.command("revoke").description("let nothing count any more that an authority has signed; for ever"),
  )
    .addOption(new Option("--reason <reason>", "why").choices(reasons).makeOptionMandatory())
    .option("--force", "although instances still show its certificates: their connections are cut", false)
    .action(async (id: string, options) =>
      (await load()).revokeAuthority(id, { ...options, dir: directoryOf(program) }),
    );
  ca.command("audit")
    .description("hold every certificate that was ever logged against the authorities and their bounds")
    .addOption(output())
    .addHelpText(
      "after",
      help([["troth ca audit", ""]], [[1, "something is not as it should be; it is listed"]]),
    )
    .action(async (options) =>
      (await import("../commands/audit-authorities.ts")).auditAuthorities({
        ...options,
        dir: directoryOf(program),
      }),
    );
}

function addPrepare(program: Command, ca: Command): void {
  ca.command("prepare")
    .description("make the next authority; it signs nothing before it is activated")
    .addOption(
      new Option("--kind <kind>", "what it is to be")
        .choices(["root", "intermediate", "jwt-svid", "wit-svid"])
        .default("intermediate"),
    )
    .option("--csr <file>", "write a request for an intermediate under a root that is elsewhere")
    .option(
      "--certificate <file>",
      "take what that root made of the request: PEM, the intermediate, then the root",
    )
    .addOption(output())
    .addHelpText(
      "after",
      help([
        ["troth ca prepare", "an intermediate under the root in use"],
        ["troth ca prepare --kind root", "a root, trusted from now on"],
        ["troth ca prepare --kind jwt-svid", "a key that signs tokens"],
        ["troth ca prepare --csr issuer.csr", "for a root of your own"],
        ["troth ca prepare --certificate chain.pem", "what it has signed"],
      ]),
    )
    .action(async (options) =>
      (await import("../commands/prepare-authority.ts")).prepareAuthority({
        ...options,
        dir: directoryOf(program),
      }),
    );
}

/** The argument and the options of commands that say something of one authority. */
function addChange(command: Command): Command {
  return command
    .argument("<id>", "the authority, or how its id begins (troth ca show)")
    .option("--wait", "until every proxy has it, and a tainted authority's certificates are replaced", false)
    .addOption(
      new Option("--timeout <seconds>", "how long to wait for that").default(30).argParser(wholeNumber),
    )
    .addOption(stopOlder())
    .addOption(output())
    .addHelpText(
      "after",
      help(
        [
          [
            `troth ca ${command.name()} 3fa2b1c0 ${command.name() === "revoke" ? "--reason superseded" : "--wait"}`,
            "",
          ],
        ],
        [
          [1, "refused, with the reason"],
          [4, "no such authority"],
          [5, "written, and not everywhere in time"],
        ],
      ),
    );
}
