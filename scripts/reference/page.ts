/** A page of docs/reference, made from the code that it describes. */
export interface Page {
  /** Below docs/reference. */
  readonly file: string;
  readonly text: string;
}

/** A Markdown page with its title, what it was made from, and its sections. */
export function pageOf(options: {
  readonly file: string;
  readonly title: string;
  readonly intro: string;
  readonly sections: readonly string[];
}): Page {
  const note = "*Made from the code by `npm run generate`; a check compares it.*";
  const { file, title, intro, sections } = options;
  return { file, text: `${[`# ${title}`, intro, note, ...sections].join("\n\n")}\n` };
}

/** A Markdown table. */
export function tableOf(headings: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]): string =>
    `| ${cells.map((cell) => cell.replaceAll("|", "\\|")).join(" | ")} |`;
  return [line(headings), `|${headings.map(() => "---|").join("")}`, ...rows.map(line)].join("\n");
}
