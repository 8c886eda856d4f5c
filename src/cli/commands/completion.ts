import type { Command } from "commander";
import { entryBodies } from "../../trust-log/index.ts";
import { type Candidate, completeWords, type LiveNames } from "../complete-words.ts";
import { type CompletionShell, completionScripts } from "../completion-scripts.ts";
import { meshDirectory } from "../mesh-directory.ts";
import { OperatorClient } from "../operator-client.ts";

const candidatesMax = 500;

/** `troth completion SHELL`: the script that makes the shell ask `troth __complete`. */
export function completion(shell: CompletionShell): void {
  process.stdout.write(completionScripts[shell]);
}

/** `troth __complete -- WORDS`: a line for each word that may stand in place of the last one. Says nothing where nothing is known. */
export async function complete(
  program: Command,
  words: readonly string[],
  options: { dir: string; within: number },
): Promise<void> {
  const { candidates, live } = completeWords(program, words);
  const last = words.at(-1) ?? "";
  const given = words.findIndex((word) => word === "--dir");
  const dir = given < 0 ? options.dir : (words[given + 1] ?? options.dir);
  const named = live === undefined ? [] : await namesWithin(live, dir, options.within);
  const lines = [...candidates, ...named]
    .filter(({ word }) => word.startsWith(last))
    .slice(0, candidatesMax)
    .map(({ word, what }) => `${word}\t${firstSentence(what)}\n`);
  await new Promise<void>((resolve) => process.stdout.write(lines.join(""), () => resolve()));
  // A connection that was not awaited any longer may still be opening, and the shell would wait for it.
  process.exit(0);
}

async function namesWithin(live: LiveNames, dir: string, millisMax: number): Promise<Candidate[]> {
  if (live === "entry-kinds") return Object.keys(entryBodies).map((word) => ({ word, what: "" }));
  const late = new Promise<Candidate[]>((resolve) => setTimeout(resolve, millisMax, []));
  return Promise.race([liveNames(live, dir).catch((): Candidate[] => []), late]);
}

async function liveNames(live: Exclude<LiveNames, "entry-kinds">, dir: string): Promise<Candidate[]> {
  using client = await OperatorClient.open(meshDirectory(dir));
  const { services, nodes, instances } = client.state;
  if (live === "nodes") return [...nodes.entries()].map(([word]) => ({ word, what: "node" }));
  const named = [...services.entries()].map(([word, { team }]) => ({ word, what: team }));
  if (live === "services") return named;
  const running = [...instances.entries()].map(([word, { service }]) => ({ word, what: service }));
  return [...running, ...named.filter(({ word }) => running.some(({ what }) => what === word))];
}

function firstSentence(text: string): string {
  return text.split(/[\n;]/)[0] ?? "";
}
