import { writeYaml } from "../configuration/index.ts";
import type { OutputFormat } from "./output-formats.ts";
import { printable } from "./printable.ts";

// Apart, since the tree of commands needs no more than these.
export type { OutputFormat } from "./output-formats.ts";
export { talk } from "./talk.ts";

/** Prints an answer: stable JSON or YAML with its kind, or a table for people. */
export function printAnswer(format: OutputFormat, kind: string, answer: object, table: () => string): void {
  process.stdout.write(
    isData(format) ? dataOf(format, [{ apiVersion: "troth/v1", kind, ...answer }], undefined) : table(),
  );
}

/** Prints objects of the dialect: a table, YAML documents, or JSON; a list is a JSON object whose kind ends in List. */
export function printObjects(
  format: OutputFormat,
  {
    kind,
    objects,
    isList,
  }: { readonly kind: string; readonly objects: readonly object[]; readonly isList: boolean },
  table: () => string,
): void {
  process.stdout.write(
    isData(format) ? dataOf(format, objects, isList ? `${kind}List` : undefined) : table(),
  );
}

/** Whether a format is for programs. */
export function isData(format: OutputFormat): format is "json" | "yaml" {
  return format === "json" || format === "yaml";
}

function dataOf(format: "json" | "yaml", objects: readonly object[], list: string | undefined): string {
  if (format === "yaml") return objects.length === 0 ? "" : writeYaml(objects);
  const [first] = objects;
  const whole = list === undefined ? first : { apiVersion: "troth/v1", kind: list, items: objects };
  return `${JSON.stringify(whole, null, 2)}\n`;
}

/** Aligned columns under capital headings. A cell is one line, whatever is in it. */
export function tableOf(headings: readonly string[], rows: readonly (readonly string[])[]): string {
  const cells = [headings, ...rows.map((row) => row.map(printable))];
  const widths = headings.map((_, column) => Math.max(...cells.map((row) => widthOf(row[column] ?? ""))));
  const line = (row: readonly string[]): string =>
    `${row
      .map((cell, column) => cell + " ".repeat(Math.max(0, (widths[column] ?? 0) - widthOf(cell))))
      .join("   ")
      .trimEnd()}\n`;
  return cells.map(line).join("");
}

/** `Key : value` lines with the colons in one column; a value of several lines goes on under itself. */
export function blockOf(pairs: readonly (readonly [string, string | readonly string[]])[]): string {
  const width = Math.max(0, ...pairs.map(([key]) => key.length));
  return pairs
    .map(([key, value]) => {
      const lines = typeof value === "string" ? [value] : value;
      const [first = "-", ...more] = lines.map(printable);
      const under = more.map((line) => `${" ".repeat(width)}   ${line}\n`);
      return `${key.padEnd(width)} : ${first === "" ? "-" : first}\n${under.join("")}`;
    })
    .join("");
}

/** How many columns a text takes in a terminal. */
function widthOf(text: string): number {
  let width = 0;
  for (const character of text) {
    if (/^[\p{Mn}\p{Me}\p{Cf}]$/u.test(character)) continue;
    width += isWide(character) ? 2 : 1;
  }
  return width;
}

function isWide(character: string): boolean {
  return /^[\p{Emoji_Presentation}\p{Script=Han}\p{Script=Hangul}\p{Script=Hiragana}\p{Script=Katakana}\u3000-\u303F\uFF01-\uFF60\uFFE0-\uFFE6]$/u.test(
    character,
  );
}

/** "34 s", "12 min", "3 h", "2 d". */
export function durationOf(seconds: number): string {
  const whole = Math.max(0, Math.round(seconds));
  if (whole < 120) return `${whole} s`;
  if (whole < 7_200) return `${Math.round(whole / 60)} min`;
  return whole < 172_800 ? `${Math.round(whole / 3_600)} h` : `${Math.round(whole / 86_400)} d`;
}

/** A moment as ISO 8601 in UTC, to the second; beyond what a date can hold, its seconds. */
export function momentOf(seconds: number): string {
  if (Math.abs(seconds) >= 8.64e12) return `${seconds} s after 1970`;
  return new Date(seconds * 1000).toISOString().replace(/\.[0-9]+Z$/, "Z");
}
