import type { Command } from "commander";
import { buildProgram } from "../../src/cli/program.ts";
import { type Page, pageOf } from "./page.ts";

const helpWidthCharacters = 100;

/** What `--help` says of every command. */
export function cliPage(): Page {
  const program = buildProgram(".troth");
  return pageOf({
    file: "cli.md",
    title: "Command line",
    intro: "What `troth COMMAND --help` says, for every command.",
    sections: visible(program).map(section),
  });
}

function visible(command: Command): readonly Command[] {
  const shown = command.createHelp().visibleCommands(command);
  return [command, ...shown.filter((one) => one.name() !== "help").flatMap(visible)];
}

function section(command: Command): string {
  return `## ${nameOf(command)}\n\n\`\`\`text\n${helpOf(command).trim()}\n\`\`\``;
}

function nameOf(command: Command): string {
  const parent = command.parent === null ? "" : `${nameOf(command.parent)} `;
  return `${parent}${command.name()}`;
}

/** With the text that stands around the list of options, such as examples. */
function helpOf(command: Command): string {
  let text = "";
  command.configureOutput({
    writeOut: (part) => {
      text += part;
    },
    getOutHelpWidth: () => helpWidthCharacters,
    getOutHasColors: () => false,
  });
  command.outputHelp();
  return text;
}
