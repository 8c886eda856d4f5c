/** The largest table of the comparison; texts that need a larger one are shown as replaced. */
const cellsMax = 4_000_000;

/** A line of a comparison: in both texts, only in the old one, or only in the new one. */
export interface ComparedLine {
  readonly mark: " " | "-" | "+";
  readonly text: string;
}

/** What turns the old text into the new one, line by line, with as few changed lines as can be. */
export function compareLines(oldText: string, newText: string): ComparedLine[] {
  const before = linesOf(oldText);
  const after = linesOf(newText);
  let start = 0;
  while (start < before.length && start < after.length && before[start] === after[start]) start += 1;
  let end = 0;
  while (
    end < before.length - start &&
    end < after.length - start &&
    before.at(-1 - end) === after.at(-1 - end)
  )
    end += 1;
  const kept = (lines: readonly string[]): ComparedLine[] => lines.map((text) => ({ mark: " ", text }));
  return [
    ...kept(before.slice(0, start)),
    ...compareMiddle(before.slice(start, before.length - end), after.slice(start, after.length - end)),
    ...kept(before.slice(before.length - end)),
  ];
}

/** By the longest common subsequence. */
function compareMiddle(before: readonly string[], after: readonly string[]): ComparedLine[] {
  const width = after.length + 1;
  const isTooLarge = (before.length + 1) * width > cellsMax;
  const common = new Uint32Array(isTooLarge ? 0 : (before.length + 1) * width);
  const at = (row: number, column: number): number => common[row * width + column] ?? 0;
  if (!isTooLarge)
    for (let row = before.length - 1; row >= 0; row -= 1)
      for (let column = after.length - 1; column >= 0; column -= 1)
        common[row * width + column] =
          before[row] === after[column]
            ? at(row + 1, column + 1) + 1
            : Math.max(at(row + 1, column), at(row, column + 1));
  const lines: ComparedLine[] = [];
  let row = 0;
  let column = 0;
  while (row < before.length || column < after.length) {
    const old = before[row];
    const fresh = after[column];
    if (!isTooLarge && old !== undefined && old === fresh) {
      lines.push({ mark: " ", text: old });
      row += 1;
      column += 1;
    } else if (old !== undefined && (fresh === undefined || at(row + 1, column) >= at(row, column + 1))) {
      lines.push({ mark: "-", text: old });
      row += 1;
    } else {
      lines.push({ mark: "+", text: fresh ?? "" });
      column += 1;
    }
  }
  return lines;
}

function linesOf(text: string): string[] {
  const lines = text.split("\n");
  if (lines.at(-1) === "") lines.pop();
  return lines;
}
