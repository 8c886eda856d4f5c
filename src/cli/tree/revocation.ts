import { type Command, InvalidArgumentError, Option } from "commander";
import { directoryOf, help, output, waitTimeout } from "./options.ts";

/** As in entry-kinds.ts; written out, since the tree of commands loads nothing. */
const reasons = [
  "unspecified",
  "key-compromise",
  "ca-compromise",
  "superseded",
  "cessation-of-operation",
  "privilege-withdrawn",
] as const;

/** The end of identities: `identity revoke`, `unrevoke`, `revocations`, `rotate`. */
export function addRevocationCommands(program: Command, identity: Command): void {
  addRevoke(program, identity);
  addUnrevoke(program, identity);
  addRotate(program, identity);
}

function addRevoke(program: Command, identity: Command): void {
  identity
    .command("revoke")
    .description("end an identity everywhere, now: an instance, a certificate, a token, a service, a node")
    .argument("[instance]", "its UUID or the beginning of it; never counts again")
    .option("--serial <hex>", "one certificate; its instance gets another")
    .option("--jti <id>", "one token, with --until")
    .option(
      "--until <time>",
      "when that token expires, as 2026-05-01T12:00:00Z or in seconds since 1970",
      moment,
    )
    .option("--service <name>", "all instances of a service, and none gets an identity until it is lifted")
    .option("--node <name>", "all instances on a node, and none there gets an identity until it is lifted")
    .option("--authority <id>", "an authority with all that it has signed; as troth ca revoke")
    .addOption(
      new Option("--reason <reason>", "why, for the log and for revocation lists")
        .choices(reasons)
        .makeOptionMandatory(),
    )
    .option("--wait", "until every proxy has said that it has ended it", false)
    .addOption(waitTimeout())
    .option("-y, --yes", "do not ask", false)
    .addOption(output())
    .addHelpText(
      "after",
      help(
        [
          ["troth identity revoke 3f2a91c0 --reason key-compromise --wait", "one instance, for good"],
          ["troth identity revoke --service /shop/web --reason key-compromise", "until it is lifted"],
          ["troth identity unrevoke --service /shop/web", "lifts it"],
        ],
        [
          [1, "it was revoked already, or may not be"],
          [4, "no such thing"],
          [5, "revoked, and some proxies did not say so in time"],
        ],
      ),
    )
    .action(async (id: string | undefined, { dir: _dir, ...options }) => {
      const { revokeIdentity } = await import("../commands/revoke-identity.ts");
      await revokeIdentity({ id, ...options }, { ...options, dir: directoryOf(program) });
    });
}

function addUnrevoke(program: Command, identity: Command): void {
  identity
    .command("unrevoke")
    .description("lift the hold on a service or a node; everything else that is revoked stays so")
    .argument("[instance]", "not given back: says why")
    .option("--service <name>")
    .option("--node <name>")
    .option("--wait", "until every proxy knows", false)
    .addOption(waitTimeout())
    .addOption(output())
    .addHelpText(
      "after",
      help(
        [["troth identity unrevoke --service /shop/web", ""]],
        [
          [1, "it is final"],
          [4, "not held"],
        ],
      ),
    )
    .action(async (id: string | undefined, options) => {
      const { unrevokeIdentity } = await import("../commands/revoke-identity.ts");
      await unrevokeIdentity({ id, ...options }, { ...options, dir: directoryOf(program) });
    });
  identity
    .command("revocations")
    .description("what is revoked or held, and until when")
    .addOption(output())
    .addHelpText("after", help([["troth identity revocations -o wide", "with whole identifiers"]]))
    .action(async (options) =>
      (await import("../commands/revocations.ts")).listRevocations({ ...options, dir: directoryOf(program) }),
    );
}

function addRotate(program: Command, identity: Command): void {
  identity
    .command("rotate")
    .description("have certificates replaced now; nothing is cut, and the old ones count until their end")
    .argument("[instance]", "its UUID or the beginning of it")
    .option("--service <name>", "all instances of a service")
    .option("--all", "all instances", false)
    .option("--wait", "until each has a new one", false)
    .addOption(waitTimeout())
    .addOption(output())
    .addHelpText(
      "after",
      help(
        [["troth identity rotate --service /shop/web --wait", ""]],
        [
          [4, "none to replace"],
          [5, "some were not replaced in time"],
        ],
      ),
    )
    .action(async (id: string | undefined, options) => {
      const { rotateIdentities } = await import("../commands/rotate-identities.ts");
      await rotateIdentities({ id, ...options }, { ...options, dir: directoryOf(program) });
    });
}

/** Reads a moment as seconds since 1970. */
function moment(text: string): number {
  const seconds = /^[0-9]{1,12}$/.test(text) ? Number(text) : Math.ceil(Date.parse(text) / 1000);
  if (Number.isNaN(seconds)) throw new InvalidArgumentError("expected a moment such as 2026-05-01T12:00:00Z");
  return seconds;
}
