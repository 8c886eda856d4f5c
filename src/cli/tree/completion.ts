import { Argument, type Command } from "commander";
import { completionShells } from "../completion-scripts.ts";
import { directoryOf, help } from "./options.ts";

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
    .allowUnknownOption()
    .action(async (words: string[]) =>
      (await import("../commands/completion.ts")).complete(program, words, { dir: directoryOf(program) }),
    );
}
