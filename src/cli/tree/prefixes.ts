import type { Command } from "commander";
import { directoryOf, help, output, wholeNumber } from "./options.ts";

/** Who serves which names: `prefix …`. */
export function addPrefixCommands(program: Command): void {
  const prefix = program.command("prefix").description("which service may serve which names besides its own");
  addAuthorityCommands(program, prefix);
  addHolderCommands(program, prefix);
}

const load = () => import("../commands/prefixes.ts");

/** For the prefix authority, and for whoever wants to know. */
function addAuthorityCommands(program: Command, prefix: Command): void {
  prefix
    .command("grant")
    .description("let a service serve a prefix; to the same service again with other bounds")
    .argument("<prefix>", "e.g. /media/video, called as http://video.media.mesh")
    .argument("<service>", "who may serve it")
    .option("--depth <components>", "how many components below the prefix are covered", wholeNumber, 0)
    .option("--may-delegate", "let it hand parts of the prefix on", false)
    .option("--for <duration>", "how long, e.g. 12h or 30d (default: until it is revoked)")
    .addOption(output())
    .addHelpText(
      "after",
      help(
        [
          ["troth prefix grant /media/video /media/player --depth 2", ""],
          ["troth prefix grant /media /media/player --depth 8 --may-delegate --for 30d", ""],
        ],
        [
          [1, "refused: somebody else has the prefix, or the name"],
          [4, "no such service"],
          [5, "written, and some proxies did not acknowledge in time"],
        ],
      ),
    )
    .action(async (name: string, service: string, options) =>
      (await load()).grantPrefix(name, service, { ...options, dir: directoryOf(program) }),
    );
  prefix
    .command("list")
    .description("who holds which prefix, from whom, and until when")
    .addOption(output())
    .action(async (options) => (await load()).listPrefixes({ ...options, dir: directoryOf(program) }));
  prefix
    .command("revoke")
    .description("take a prefix from its holder, with all that was handed on of it")
    .argument("<prefix>")
    .addOption(output())
    .addHelpText("after", help([["troth prefix revoke /media/video", ""]]))
    .action(async (name: string, options) =>
      (await load()).revokePrefix(name, { ...options, dir: directoryOf(program) }),
    );
}

/** For services that hold one. */
function addHolderCommands(program: Command, prefix: Command): void {
  prefix
    .command("delegate")
    .description(
      "hand a part of a prefix on, as its holder: this machine must be one that the holder runs on",
    )
    .argument("<prefix>", "below one that the holder has and may hand on")
    .argument("<service>", "who may serve it")
    .requiredOption("--as <holder>", "the service that holds the prefix above")
    .option("--depth <components>", "how many components below are covered", wholeNumber, 0)
    .option("--may-delegate", "let it hand parts on in turn", false)
    .option("--for <duration>", "how long, e.g. 12h (default: as long as the holder has its own)")
    .addOption(output())
    .addHelpText(
      "after",
      help(
        [["troth prefix delegate /media/video/live /media/live --as /media/player --depth 1", ""]],
        [
          [
            1,
            "refused: the holder has no such prefix, or not as much of it; or somebody else handed on at the same moment (ask again)",
          ],
        ],
      ),
    )
    .action(async (name: string, service: string, options) =>
      (await import("../commands/delegate-prefix.ts")).delegatePrefix(name, service, {
        ...options,
        dir: directoryOf(program),
      }),
    );
  prefix
    .command("recall")
    .description("take back what was handed on, as the holder of the prefix above")
    .argument("<prefix>")
    .requiredOption("--as <holder>", "the service that handed it on")
    .addOption(output())
    .action(async (name: string, options) =>
      (await import("../commands/delegate-prefix.ts")).recallPrefix(name, {
        ...options,
        dir: directoryOf(program),
      }),
    );
}
