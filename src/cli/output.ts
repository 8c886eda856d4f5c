import { CliError, exitCode } from "./exit-codes.ts";

/** How an answer is printed. */
export type OutputFormat = "table" | "json";

/** Reads `-o`. */
export function parseOutputFormat(text: string): OutputFormat {
  if (text === "table" || text === "json") return text;
  throw new CliError(exitCode.usage, `-o takes table or json, not "${text}"`);
}

/** Prints an answer: stable JSON with its kind, or a table for people. */
export function printAnswer(format: OutputFormat, kind: string, answer: object, table: () => string): void {
  const text =
    format === "json" ? `${JSON.stringify({ apiVersion: "troth/v1", kind, ...answer }, null, 2)}\n` : table();
  process.stdout.write(text);
}

/** Aligned columns under capital headings. */
export function tableOf(headings: readonly string[], rows: readonly (readonly string[])[]): string {
  const widths = headings.map((heading, column) =>
    Math.max(heading.length, ...rows.map((row) => row[column]?.length ?? 0)),
  );
  const line = (cells: readonly string[]): string =>
    `${cells
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join("   ")
      .trimEnd()}\n`;
  return [headings, ...rows].map(line).join("");
}

/** "34 s", "12 min", "3 h", "2 d". */
export function durationOf(seconds: number): string {
  const whole = Math.max(0, Math.round(seconds));
  if (whole < 120) return `${whole} s`;
  if (whole < 7_200) return `${Math.round(whole / 60)} min`;
  return whole < 172_800 ? `${Math.round(whole / 3_600)} h` : `${Math.round(whole / 86_400)} d`;
}
