import type { Command } from "commander";
import { directoryOf, help, output, wholeNumber } from "./options.ts";

/** The trust log: `log …`. */
export function addLogCommands(program: Command): void {
  const log = program.command("log").description("the trust log");
  log
    .command("verify")
    .description("prove the whole history offline, from the files alone; or check the proof of one entry")
    .option("--proof <file>", "check this proof instead, as log prove wrote it")
    .option("--entry <file>", "the entry that the proof is about")
    .option("--log-key <key>", "the log's verifier key (default: that of the mesh in --dir)")
    .addOption(output())
    .addHelpText(
      "after",
      help(
        [
          ["troth log verify", "everything in this mesh's directory"],
          ["troth log verify --proof entry-7.tlog-proof --entry entry-7.entry", "one entry, from two files"],
        ],
        [
          [0, "verified"],
          [1, "not verified, and why"],
        ],
      ),
    )
    .action(async (options) => {
      if (options.proof === undefined)
        await (await import("../commands/verify-log.ts")).verifyLog({
          ...options,
          dir: directoryOf(program),
        });
      else
        await (await import("../commands/log-prove.ts")).verifyProof({
          ...options,
          dir: directoryOf(program),
        });
    });
  log
    .command("show")
    .description("entries in words, the latest unless told where to begin")
    .option("--from <index>", "begin with this entry", wholeNumber)
    .option("--limit <n>", "show at most so many", wholeNumber, 20)
    .option("--kind <kind>", "only entries of this kind, e.g. rule.put")
    .option("--author <name>", "only entries of this author, e.g. operator/founder")
    .addOption(output())
    .addHelpText(
      "after",
      help([
        ["troth log show --kind rule.put", "who changed which rule"],
        ["troth log show --from 0 --limit 5", "how the mesh was founded"],
      ]),
    )
    .action(async (options) =>
      (await import("../commands/log-show.ts")).showLog({ ...options, dir: directoryOf(program) }),
    );
  addProve(program, log);
  addRecover(program, log);
}

function addProve(program: Command, log: Command): void {
  log
    .command("prove")
    .description("write the proof that an entry is in the log (C2SP tlog-proof), and the entry")
    .argument("<index>", "number of the entry, from 0 on", wholeNumber)
    .option("--proof <file>", "where to (default: entry-INDEX.tlog-proof)")
    .option("--entry <file>", "where to (default: entry-INDEX.entry)")
    .addOption(output())
    .addHelpText(
      "after",
      help(
        [["troth log prove 7", "then: troth log verify --proof entry-7.tlog-proof --entry entry-7.entry"]],
        [[4, "the log has no such entry"]],
      ),
    )
    .action(async (index: number, options) =>
      (await import("../commands/log-prove.ts")).proveEntry(index, { ...options, dir: directoryOf(program) }),
    );
}

function addRecover(program: Command, log: Command): void {
  log
    .command("recover")
    .description(
      "bring back a log whose disk went back, or take one up again after a fork; see docs/guides/recovery.md",
    )
    .option("--from <folder>", "an agent's folder, or published tiles, that has more of the log")
    .option("--size <entries>", "begin a new generation after this many entries", wholeNumber)
    .option("--new-log-key", "with --size: under a new key of the log, as after a theft of the old one")
    .option("--sign <file>", "add this directory's signature to a recovery that waits for more")
    .option("--yes", "with --sign: do not ask", false)
    .option("--apply <file>", "begin the generation that a file with enough signatures describes")
    .addOption(output())
    .action(async (options) =>
      (await import("../commands/recover-log.ts")).recoverLog({ ...options, dir: directoryOf(program) }),
    );
}
