import type { Argument, Command, Option } from "commander";

/** Names that only the mesh knows. */
export type LiveNames = "services" | "instances" | "nodes" | "entry-kinds";

/** A word that may come next, and what it is. */
export interface Candidate {
  readonly word: string;
  readonly what: string;
}

/** What may come next: words that are known here, and names that the mesh has to be asked for. */
export interface Completion {
  readonly candidates: readonly Candidate[];
  readonly live: LiveNames | undefined;
}

const nothing: Completion = { candidates: [], live: undefined };

/**
 * What may stand in place of the last of `words`, which are those after `troth`; from the command tree alone. Words that
 * do not begin as the last one does are left out.
 */
export function completeWords(program: Command, words: readonly string[]): Completion {
  const last = words.at(-1) ?? "";
  const walk = walkWords(program, words.slice(0, -1));
  if (walk === undefined) return nothing;
  const { candidates, live } = nextOf(walk, last);
  return { candidates: candidates.filter(({ word }) => word.startsWith(last)), live };
}

interface Walk {
  readonly command: Command;
  readonly positions: readonly string[];
  /** The option whose value comes next. */
  readonly awaiting: Option | undefined;
}

/** Follows the words through the tree; undefined after the application's own command of `troth run`. */
function walkWords(program: Command, words: readonly string[]): Walk | undefined {
  let command = program;
  let positions: string[] = [];
  let awaiting: Option | undefined;
  for (const word of words) {
    if (word === "--") return undefined;
    if (awaiting !== undefined) {
      awaiting = undefined;
      continue;
    }
    if (word.startsWith("-")) {
      const option = command.options.find(({ short, long }) => word === short || word === long);
      if (option !== undefined && (option.required || option.optional)) awaiting = option;
      continue;
    }
    const next = positions.length === 0 ? command.commands.find((one) => one.name() === word) : undefined;
    if (next === undefined) positions.push(word);
    else {
      command = next;
      positions = [];
    }
  }
  return { command, positions, awaiting };
}

function nextOf({ command, positions, awaiting }: Walk, last: string): Completion {
  if (awaiting !== undefined) return valuesOf(awaiting.argChoices, optionNames[awaiting.attributeName()]);
  if (last.startsWith("-")) {
    const options = command.createHelp().visibleOptions(command);
    return {
      candidates: options.map(({ long, short, description }) => ({
        word: long ?? short ?? "",
        what: description,
      })),
      live: undefined,
    };
  }
  if (command.commands.length > 0) {
    if (positions.length > 0) return nothing;
    const shown = command.createHelp().visibleCommands(command);
    return {
      candidates: shown.map((one) => ({ word: one.name(), what: one.description() })),
      live: undefined,
    };
  }
  const argument = argumentAt(command, positions.length);
  if (argument === undefined) return nothing;
  if (argument.name() === "kind") return valuesOf(kindsFor(command), undefined);
  if (argument.name() === "name") return valuesOf(undefined, namesOfKind[positions[0] ?? ""]);
  return valuesOf(argument.argChoices, argumentNames[argument.name()]);
}

function argumentAt({ registeredArguments }: Command, place: number): Argument | undefined {
  const last = registeredArguments.at(-1);
  return registeredArguments[place] ?? (last?.variadic === true ? last : undefined);
}

function valuesOf(choices: readonly string[] | undefined, live: LiveNames | undefined): Completion {
  return { candidates: (choices ?? []).map((word) => ({ word, what: "" })), live };
}

const writtenKinds = ["service", "accesspolicy", "trafficpolicy"];
const allKinds = [...writtenKinds, "instance", "node", "proxy", "operator", "certificate", "grant"];

function kindsFor(command: Command): readonly string[] {
  return command.name() === "delete" ? writtenKinds : allKinds;
}

const namesOfKind: Readonly<Record<string, LiveNames>> = {
  service: "services",
  accesspolicy: "services",
  trafficpolicy: "services",
  instance: "instances",
  proxy: "instances",
  node: "nodes",
  grant: "entry-kinds",
};
const argumentNames: Readonly<Record<string, LiveNames>> = {
  service: "services",
  "service|instance": "services",
  from: "services",
  to: "services",
  proxy: "instances",
  instance: "instances",
  node: "nodes",
};
const optionNames: Readonly<Record<string, LiveNames>> = {
  service: "services",
  node: "nodes",
  kind: "entry-kinds",
};
