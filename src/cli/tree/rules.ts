import type { Command } from "commander";
import { directoryOf, help, output } from "./options.ts";

/** Who may call whom: `allow`, `deny`. */
export function addRuleCommands(program: Command): void {
  for (const effect of ["allow", "deny"] as const)
    program
      .command(effect)
      .description(
        effect === "allow" ? "let one service call another" : "forbid it; a deny beats every allow",
      )
      .argument("<from>", "calling service, or a prefix and /*; of a federated trust domain the SPIFFE ID")
      .argument("<to>", "called service, or a prefix and /*")
      .option("--method <method...>", "only these methods", [])
      .option("--path <prefix...>", "only these paths and what is below them", [])
      .option("--no-wait", "do not wait until the proxies have it")
      .addOption(output())
      .addHelpText(
        "after",
        help(
          [
            [`troth ${effect} /shop/web /shop/checkout --method POST --path /orders`, ""],
            [`troth ${effect} "/shop/*" /shop/ledger`, "every service below /shop"],
            [`troth ${effect} spiffe://bank.example/bank/clerk /shop/ledger`, "of a federated trust domain"],
          ],
          [
            [1, "refused by the control plane"],
            [5, "written, and some proxies did not acknowledge in time"],
          ],
        ),
      )
      .action(async (from: string, to: string, options) =>
        (await import("../commands/rules.ts")).putRule(effect, from, to, {
          ...options,
          dir: directoryOf(program),
        }),
      );
}
