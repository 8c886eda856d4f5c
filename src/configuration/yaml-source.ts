import {
  type Document,
  isAlias,
  isMap,
  isScalar,
  isSeq,
  Lexer,
  LineCounter,
  type Pair,
  parseAllDocuments,
  type YAMLError,
} from "yaml";
import { textOf } from "../base/bytes.ts";
import { formatPath, type Problem, shown } from "./problem.ts";

/** The largest configuration file, in bytes. */
export const fileBytesMax = 256 * 1024;

/** How deep lists and mappings may stand in each other. */
const depthMax = 32;

/** What the lexer adds that is not in the text: begin of a document, of a value, end of a flow. */
const lexerMarks: ReadonlySet<string> = new Set(["\u0002", "\u0018", "\u001F"]);

/** A file's name, for messages, and what is in it. */
export interface SourceText {
  readonly name: string;
  readonly bytes: Uint8Array;
}

/** One YAML document as plain data, and where in the file each part of it stands. */
export interface SourceDocument {
  readonly value: unknown;
  /** The problem of a part: at its name, or at its value. The nearest part that exists stands for one that does not. */
  readonly problemAt: (path: readonly PropertyKey[], side: "name" | "value", message: string) => Problem;
}

/**
 * Reads the YAML 1.2 that the dialect takes: mappings with texts as names, lists, and plain values. Anchors, aliases,
 * tags and directives are refused, so that a small file is small and means what it shows. Documents with a problem are
 * left out; the problems say what is wrong.
 */
export function readYaml(
  { name: file, bytes }: SourceText,
  report: (problem: Problem) => void,
): SourceDocument[] {
  const at = (line: number, column: number, message: string): void =>
    report({ file, line, column, path: "", message });
  if (bytes.byteLength > fileBytesMax) {
    at(1, 1, `larger than ${fileBytesMax} bytes; split it`);
    return [];
  }
  const decoded = textOf(bytes);
  if (decoded === undefined) {
    const { line, column } = firstBadByte(bytes);
    at(line, column, "not UTF-8; save the file in that encoding");
    return [];
  }
  const source = new YamlSource(file, decoded.startsWith("\uFEFF") ? decoded.slice(1) : decoded);
  return source.read(report);
}

class YamlSource {
  readonly #file: string;
  readonly #text: string;
  readonly #lines = new LineCounter();

  constructor(file: string, text: string) {
    this.#file = file;
    this.#text = text;
  }

  read(report: (problem: Problem) => void): SourceDocument[] {
    const refused = this.#refusedBeforeParsing();
    if (refused !== undefined) {
      report(refused);
      return [];
    }
    const documents = parseAllDocuments(this.#text, {
      lineCounter: this.#lines,
      prettyErrors: false,
      // Checked below: the parser's own check takes the square of the number of names.
      uniqueKeys: false,
      logLevel: "silent",
      version: "1.2",
    });
    if (!Array.isArray(documents)) return [];
    return documents.flatMap((document) => this.#readDocument(document, report) ?? []);
  }

  /** What must not get to the parser, which takes long and much stack for deeply nested text. */
  #refusedBeforeParsing(): Problem | undefined {
    let offset = 0;
    let flowDepth = 0;
    let indicators = 0;
    let before = "";
    this.#lines.addNewLine(0);
    for (const lexeme of new Lexer().lex(this.#text)) {
      if (lexeme === "[" || lexeme === "{") flowDepth += 1;
      if (lexeme === "]" || lexeme === "}") flowDepth -= 1;
      if (lexeme === "-" || lexeme === "?") indicators += 1;
      else if (lexeme.trim() !== "" || lexeme.includes("\n")) indicators = 0;
      if (flowDepth > depthMax || indicators > depthMax)
        return this.#problem(offset, "", `nested deeper than ${depthMax}`);
      if (lexeme.startsWith("%") && before !== "\u001F")
        return this.#problem(offset, "", "directives are not part of the dialect; remove this line");
      if (!lexerMarks.has(lexeme)) {
        for (let end = lexeme.indexOf("\n"); end >= 0; end = lexeme.indexOf("\n", end + 1))
          this.#lines.addNewLine(offset + end + 1);
        offset += lexeme.length;
      }
      before = lexeme;
    }
    this.#lines.lineStarts.length = 0;
    return undefined;
  }

  #readDocument(document: Document, report: (problem: Problem) => void): SourceDocument | undefined {
    const [error] = document.errors;
    if (error !== undefined) {
      // What follows the first error is mostly its consequence.
      report(this.#problem(error.pos[0], "", syntaxMessage(error)));
      return undefined;
    }
    if (document.contents === null || (isScalar(document.contents) && document.contents.value === null))
      return undefined;
    const reader = new NodeReader((offset, path, message) =>
      report(this.#problem(offset, formatPath(path), message)),
    );
    const value = reader.read(document.contents, [], 0);
    if (reader.hasProblems) return undefined;
    return {
      value,
      problemAt: (path, side, message) =>
        this.#problem(reader.offsetOf(path, side), formatPath(path), message),
    };
  }

  #problem(offset: number, path: string, message: string): Problem {
    const { line, col } = this.#lines.linePos(offset);
    // The parser counts UTF-16 units; people and editors count characters.
    const before = this.#text.slice(offset - Math.max(0, col - 1), offset);
    return {
      file: this.#file,
      line: Math.max(1, line),
      column: Array.from(before).length + 1,
      path,
      message,
    };
  }
}

/** Turns nodes into plain data and remembers where each stood. */
class NodeReader {
  readonly #refuse: (offset: number, path: readonly PropertyKey[], message: string) => void;
  readonly #offsets = new Map<string, { readonly name: number; readonly value: number }>();
  hasProblems = false;

  constructor(refuse: (offset: number, path: readonly PropertyKey[], message: string) => void) {
    this.#refuse = (offset, path, message) => {
      this.hasProblems = true;
      refuse(offset, path, message);
    };
  }

  offsetOf(path: readonly PropertyKey[], side: "name" | "value"): number {
    for (let length = path.length; length >= 0; length -= 1) {
      const known = this.#offsets.get(formatPath(path.slice(0, length)));
      if (known !== undefined) return length === path.length ? known[side] : known.value;
    }
    return 0;
  }

  read(node: unknown, path: readonly PropertyKey[], nameOffset: number): unknown {
    const offset = offsetOfNode(node) ?? nameOffset;
    this.#offsets.set(formatPath(path), { name: nameOffset, value: offset });
    if (path.length > depthMax) return this.#refuse(offset, path, `nested deeper than ${depthMax}`);
    if (isAlias(node)) return this.#refuse(offset, path, "aliases are not part of the dialect; write it out");
    if (!isScalar(node) && !isMap(node) && !isSeq(node)) return null;
    if (node.anchor !== undefined)
      return this.#refuse(offset, path, "anchors are not part of the dialect; remove it");
    if (node.tag !== undefined)
      return this.#refuse(offset, path, "tags are not part of the dialect; remove it");
    if (isScalar(node)) return node.value;
    if (isSeq(node)) return node.items.map((item, place) => this.read(item, [...path, place], offset));
    return this.#readMap(node.items, path, offset);
  }

  #readMap(pairs: readonly Pair[], path: readonly PropertyKey[], mapOffset: number): unknown {
    const members = new Map<string, unknown>();
    for (const { key, value } of pairs) {
      const offset = offsetOfNode(key) ?? mapOffset;
      const name = isScalar(key) ? key.value : undefined;
      if (
        typeof name !== "string" ||
        (isScalar(key) && (key.anchor !== undefined || key.tag !== undefined))
      ) {
        const got = isScalar(key) ? `${shown(name)}; put it in quotes` : "a list or an object";
        this.#refuse(offset, path, `expected a plain text as name, got ${got}`);
      } else if (name === "__proto__") this.#refuse(offset, [...path, name], "expected another name");
      else if (members.has(name)) this.#refuse(offset, [...path, name], "written twice; keep one");
      else members.set(name, this.read(value, [...path, name], offset));
    }
    return Object.fromEntries(members);
  }
}

function offsetOfNode(node: unknown): number | undefined {
  if (!isScalar(node) && !isMap(node) && !isSeq(node) && !isAlias(node)) return undefined;
  return node.range?.[0];
}

function syntaxMessage({ code, message }: YAMLError): string {
  switch (code) {
    case "TAB_AS_INDENT":
      return "a tab cannot indent; use spaces";
    case "BLOCK_AS_IMPLICIT_KEY":
      return 'a second ": " on one line; put the value in quotes, or on a line of its own';
    case "BAD_SCALAR_START":
      return `${message.replace("Plain value", "a value")}; put it in quotes`;
    default:
      return `not YAML: ${message.charAt(0).toLowerCase()}${message.slice(1)}`;
  }
}

function firstBadByte(bytes: Uint8Array): { line: number; column: number } {
  let line = 1;
  for (let start = 0; start < bytes.byteLength; line += 1) {
    const found = bytes.indexOf(0x0a, start);
    const end = found < 0 ? bytes.byteLength : found;
    const part = bytes.subarray(start, end);
    if (textOf(part) === undefined) {
      const lenient = Array.from(new TextDecoder("utf-8", { ignoreBOM: true }).decode(part));
      return { line, column: lenient.indexOf("\uFFFD") + 1 };
    }
    start = end + 1;
  }
  return { line, column: 1 };
}
