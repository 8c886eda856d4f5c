import type { Command } from "commander";
import { directoryOf, help, output } from "./options.ts";

/** A request token or a JWT by itself: `token inspect`, `verify` and `mint`. */
export function addTokenCommands(program: Command): void {
  const token = program
    .command("token")
    .description("request tokens, each good for one request; and a look at one, or at a JWT");
  token
    .command("inspect")
    .description(
      "what stands in a request token, a JWT-SVID or a WIT-SVID; nothing is checked and nobody asked",
    )
    .argument("[token]", "the token; without it, or with -, standard input")
    .addOption(output())
    .addHelpText(
      "after",
      help([["troth token inspect < token.txt", "not in the shell's history"]], [[65, "it is no token"]]),
    )
    .action(async (text: string | undefined, options) =>
      (await import("../commands/inspect-token.ts")).inspectToken(text, options),
    );
  token
    .command("verify")
    .description("what the trust log says of a token")
    .argument("[token]", "the token; without it, or with -, standard input")
    .option("--audience <name>", "of a JWT-SVID: for whom it has to be")
    .option("--to <service>", "of a request token: the service that it was shown to")
    .option("--method <method>", "and the request's method")
    .option("--path <path>", "and its path with the query")
    .option("--content-digest <value>", "and its Content-Digest", "")
    .addOption(output())
    .addHelpText(
      "after",
      help(
        [
          ["troth token verify --audience api < jwt.txt", "as the Workload API's ValidateJWTSVID does"],
          [
            "troth token verify --to /shop/ledger --method GET --path /entries < token.txt",
            "all but tag and nonce, which its audience alone can check",
          ],
        ],
        [
          [1, "it would be refused"],
          [65, "it is no token"],
        ],
      ),
    )
    .action(async (text: string | undefined, options) =>
      (await import("../commands/verify-token.ts")).verifyToken(text, {
        ...options,
        dir: directoryOf(program),
      }),
    );
  addMintCommand(program, token);
}

function addMintCommand(program: Command, token: Command): void {
  token
    .command("mint")
    .description("what a request token would be made of, and whether the issuer would give a grant for it")
    .argument("<from>", "calling service")
    .argument("<to>", "called service")
    .option("--dry-run", "say it; only a proxy can mint one, so there is no other form", false)
    .option("--method <method>", "the request's method", "GET")
    .option("--path <path>", "its path with the query", "/")
    .option("--content-digest <value>", "its Content-Digest", "")
    .addOption(output())
    .addHelpText(
      "after",
      help(
        [["troth token mint /shop/web /shop/checkout --dry-run --path /orders", ""]],
        [
          [1, "the issuer would give none"],
          [4, "no such service"],
        ],
      ),
    )
    .action(async (from: string, to: string, options) =>
      (await import("../commands/mint-token.ts")).mintToken(from, to, {
        ...options,
        dir: directoryOf(program),
      }),
    );
}
