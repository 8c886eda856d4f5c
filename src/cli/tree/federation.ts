import { type Command, Option } from "commander";
import { directoryOf, help, output } from "./options.ts";

/** Other trust domains: `federation …`. */
export function addFederationCommands(program: Command): void {
  const federation = program
    .command("federation")
    .description("other trust domains whose workloads are known here");
  addRelationshipCommands(program, federation);
  addRemoteCommands(program, federation);
}

const load = () => import("../commands/federation.ts");

function addRelationshipCommands(program: Command, federation: Command): void {
  federation
    .command("list")
    .description("with whom, which keys they have, and how reading their bundles goes")
    .addOption(output())
    .action(async (options) => (await load()).listFederation({ ...options, dir: directoryOf(program) }));
  federation
    .command("show")
    .description("print a bundle, for hand-over: of this trust domain unless another is named")
    .argument("[trust-domain]")
    .option("--map", "as a bundle map, with the trust domain's name in it", false)
    .addHelpText(
      "after",
      help([
        ["troth federation show > ours.json", "what the other side gives to: troth federation add --bundle"],
        ["troth federation show bank.example", "what that trust domain said last"],
      ]),
    )
    .action(async (trustDomain: string | undefined, options) =>
      (await load()).showBundle(trustDomain, { ...options, dir: directoryOf(program) }),
    );
  federation
    .command("add")
    .description("know the workloads of another trust domain; replaces what stood for it")
    .argument("<trust-domain>")
    .requiredOption("--url <url>", "of its bundle endpoint, https")
    .addOption(
      new Option("--profile <profile>", "how its endpoint proves itself")
        .choices(["https_spiffe", "https_web"])
        .default("https_spiffe"),
    )
    .option("--endpoint-id <spiffe-id>", "which SPIFFE ID the endpoint has (https_spiffe)")
    .option(
      "--bundle <file>",
      "its bundle to begin with, as its operators handed it over; - for standard input",
    )
    .addOption(output())
    .addHelpText(
      "after",
      help([
        [
          "troth federation add bank.example --url https://bank.example:8443/ --endpoint-id spiffe://bank.example/troth/bundle-endpoint --bundle bank.json",
          "",
        ],
        ["troth federation add bank.example --url https://bank.example/bundle --profile https_web", ""],
      ]),
    )
    .action(async (trustDomain: string, options) =>
      (await load()).addFederation(trustDomain, { ...options, dir: directoryOf(program) }),
    );
  federation
    .command("refresh")
    .description("read its bundle now")
    .argument("<trust-domain>")
    .addOption(output())
    .addHelpText("after", help([["troth federation refresh bank.example", ""]], [[1, "it could not be had"]]))
    .action(async (trustDomain: string, options) =>
      (await load()).refreshFederation(trustDomain, { ...options, dir: directoryOf(program) }),
    );
  federation
    .command("remove")
    .description("end it: its workloads' connections are cut, and rules and addresses that speak of it go")
    .argument("<trust-domain>")
    .addOption(output())
    .action(async (trustDomain: string, options) =>
      (await load()).removeFederation(trustDomain, { ...options, dir: directoryOf(program) }),
    );
}

function addRemoteCommands(program: Command, federation: Command): void {
  const remote = federation
    .command("remote")
    .description("where services of other trust domains are, for callers here");
  remote
    .command("put")
    .description("say where a service of a federated trust domain takes calls")
    .argument("<spiffe-id>", "e.g. spiffe://bank.example/bank/vault")
    .argument("<address...>", "host:port of its proxies' mesh listeners")
    .addOption(output())
    .addHelpText(
      "after",
      help([
        [
          "troth federation remote put spiffe://bank.example/bank/vault 192.0.2.7:9443",
          "applications call it as http://vault.bank.bank.example",
        ],
      ]),
    )
    .action(async (id: string, addresses: string[], options) =>
      (await load()).putRemote(id, addresses, { ...options, dir: directoryOf(program) }),
    );
  remote
    .command("remove")
    .description("forget where it is")
    .argument("<spiffe-id>")
    .addOption(output())
    .action(async (id: string, options) =>
      (await load()).removeRemote(id, { ...options, dir: directoryOf(program) }),
    );
}
