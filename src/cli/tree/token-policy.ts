import { Argument, type Command } from "commander";
import { directoryOf, help, output, wholeNumber } from "./options.ts";

/** `token policy`: whether requests to a service carry request tokens. */
export function addTokenPolicyCommand(program: Command): void {
  const token =
    program.commands.find((command) => command.name() === "token") ??
    program.command("token").description("request tokens, each good for one request");
  token
    .command("policy")
    .description("say whether requests to a service carry request tokens")
    .argument("<to>", "called service, or a prefix and /*; the most specific one counts")
    .addArgument(
      new Argument(
        "<mode>",
        "granted: callers' proxies mint them; per-request: the issuer mints each; off: none, also for callers that are no proxies of Troth's",
      ).choices(["granted", "per-request", "off"]),
    )
    .option("--past <seconds>", "how old a token may be (30), with --future", wholeNumber)
    .option("--future <seconds>", "how far ahead its time may be (5), with --past", wholeNumber)
    .option("--no-wait", "do not wait until the proxies have it")
    .addOption(output())
    .addHelpText(
      "after",
      help(
        [
          ['troth token policy "/*" granted', "for every service that no other policy speaks of"],
          ["troth token policy /shop/ledger per-request --past 5 --future 1", ""],
          ["troth token policy /shop/legacy off", "called by an Envoy"],
          ["troth get requesttokenpolicies", "what holds"],
          ["troth delete requesttokenpolicy /shop/legacy", "what holds above it holds again"],
        ],
        [
          [1, "refused by the control plane, or TO is a prefix and no service"],
          [5, "written, and some proxies did not acknowledge in time"],
        ],
      ),
    )
    .action(async (to: string, mode, options) =>
      (await import("../commands/token-policy.ts")).putTokenPolicy(to, mode, {
        ...options,
        dir: directoryOf(program),
      }),
    );
}
