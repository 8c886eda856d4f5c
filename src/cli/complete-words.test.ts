import { expect, it } from "vitest";
import { completeWords } from "./complete-words.ts";
import { buildProgram } from "./program.ts";

const program = buildProgram("/tmp/none");

function words(...typed: string[]): string[] {
  return completeWords(program, typed).candidates.map(({ word }) => word);
}

it.each([
  [["app"], ["apply", "approve"]],
  [
    ["log", ""],
    ["verify", "show", "prove", "recover", "help"],
  ],
  [["proxy", "d"], ["drain"]],
  [["--dir", "/x", "ide"], ["identity"]],
  [["get", "--dir", "/x", "serv"], ["service"]],
  [
    ["get", "-o", ""],
    ["table", "wide", "json", "yaml"],
  ],
  [["get", "-o", "y"], ["yaml"]],
  [
    ["delete", ""],
    ["service", "accesspolicy", "trafficpolicy"],
  ],
  [["proxy", "config", "--type", "r"], ["rules"]],
  [
    ["completion", ""],
    ["bash", "zsh", "fish"],
  ],
  [["apply", "--dr"], ["--dry-run"]],
  [["run", "--service", "/x", "--", "cat", ""], []],
  [["nonsense", ""], []],
])("offers after %j: %j", (typed, offered) => {
  expect(words(...typed)).toEqual(offered);
});

it.each([
  [["get", "service", ""], "services"],
  [["describe", "node", "l"], "nodes"],
  [["describe", "instance", ""], "instances"],
  [["allow", "/shop/web", ""], "services"],
  [["proxy", "drain", ""], "instances"],
  [["identity", "show", ""], "services"],
  [["log", "show", "--kind", ""], "entry-kinds"],
  [["run", "--service", ""], "services"],
  [["apply", "-f", ""], undefined],
  [["validate", ""], undefined],
  [["get", "service", "/x", ""], undefined],
])("asks the mesh after %j for %s", (typed, live) => {
  expect(completeWords(program, typed).live).toBe(live);
});

it("offers no hidden command", () => {
  expect(words("")).not.toContain("__complete");
  expect(words("")).not.toContain("sidecar");
});
