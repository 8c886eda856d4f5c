/** What is wrong with a configuration file, and where. Lines and columns count from 1; a column is a character. */
export interface Problem {
  readonly file: string;
  readonly line: number;
  readonly column: number;
  /** The place in the object, such as `spec.rules[0].effect`; empty where it is the file or the whole object. */
  readonly path: string;
  readonly message: string;
}

/** A problem as one line: `shop.yaml:12:9: spec.rules[0].effect: expected …`. */
export function formatProblem({ file, line, column, path, message }: Problem): string {
  return `${file}:${line}:${column}: ${path === "" ? "" : `${path}: `}${message}`;
}

/** A path into an object as people write it; two different paths are never written the same way. */
export function formatPath(path: readonly PropertyKey[]): string {
  return path.reduce<string>((text, part) => {
    if (typeof part === "number") return `${text}[${part}]`;
    const name = String(part);
    if (!/^[A-Za-z_][A-Za-z0-9_]*$/.test(name)) return `${text}[${shown(name)}]`;
    return text === "" ? name : `${text}.${name}`;
  }, "");
}

/** A value as a message names it; long texts are cut. */
export function shown(value: unknown): string {
  if (typeof value === "string")
    return JSON.stringify(value.length > textCharactersMax ? `${value.slice(0, textCharactersMax)}…` : value);
  if (typeof value === "number") return `the number ${value}`;
  if (typeof value === "boolean") return String(value);
  if (value === null || value === undefined) return "nothing";
  return Array.isArray(value) ? "a list" : "an object";
}

const textCharactersMax = 60;
