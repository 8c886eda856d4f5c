import { Argument, type Command } from "commander";
import { completionShells } from "../completion-scripts.ts";
import { directoryOf, help, wholeNumber } from "./options.ts";

/** How long a person who has pressed the key waits for names from the mesh. */
const liveMillisMax = 500;

/** Completion in shells: `completion`. */
export function addCompletionCommands(program: Command): void {
  program
    .command("completion")
    .description("print the script that completes commands, options and names of the mesh in your shell")
    .addArgument(new Argument("<shell>").choices(completionShells))
    .addHelpText(
      "after",
      help([
        ["source <(troth completion bash)", "in ~/.bashrc"],
        ["source <(troth completion zsh)", "in ~/.zshrc, after compinit"],
        ["troth completion fish | source", "in ~/.config/fish/config.fish"],
      ]),
    )
    .action(async (shell) => (await import("../commands/completion.ts")).completion(shell));
  program
    .command("__complete", { hidden: true })
    .argument("[words...]")
    .option("--within <millis>", "", wholeNumber, liveMillisMax)
    .allowUnknownOption()
    .action(async (words: string[], options) =>
      (await import("../commands/completion.ts")).complete(program, words, {
        ...options,
        dir: directoryOf(program),
      }),
    );
}
