import { messageOf } from "./mesh-error.ts";
import { fail, ok, type Result } from "./result.ts";

/** JSON as {@link parseStrictJson} reads it: integers that a number cannot hold are kept as they are. */
export type StrictJson = null | boolean | number | bigint | string | readonly StrictJson[] | StrictJsonObject;

/** The members of an object, each name once; a map, since any name may stand in somebody else's JSON. */
export interface StrictJsonObject extends ReadonlyMap<string, StrictJson> {}

/** Why a text is not read as JSON. */
export type StrictJsonRefusal = "malformed-json" | "duplicate-key" | "too-deep";

const depthMax = 32;

/**
 * Reads JSON (RFC 8259) that two readers cannot understand differently: no name stands twice in an object, where
 * `JSON.parse` would take the last one, no integer loses digits, and no text has a lone surrogate. Never throws.
 */
export function parseStrictJson(text: string): Result<StrictJson, StrictJsonRefusal> {
  try {
    const reader = new StrictReader(text);
    const value = reader.value(0);
    reader.end();
    return ok(value);
  } catch (error) {
    return fail(error instanceof StrictJsonError ? error.reason : "malformed-json", messageOf(error));
  }
}

/** Whether a value is an object. */
export function isStrictObject(value: StrictJson | undefined): value is StrictJsonObject {
  return value instanceof Map;
}

/** Whether a value is a list. */
export function isStrictArray(value: StrictJson | undefined): value is readonly StrictJson[] {
  return Array.isArray(value);
}

class StrictJsonError extends Error {
  readonly reason: StrictJsonRefusal;

  constructor(reason: StrictJsonRefusal, message: string) {
    super(message);
    this.reason = reason;
  }
}

const space = /[ \t\n\r]*/y;
// Up to its end; `JSON.parse` judges what is in it.
const stringToken = /"[^"\\]*(?:\\.[^"\\]*)*"/y;
const otherToken = /[-+.0-9A-Za-z]+/y;
const integer = /^-?(?:0|[1-9][0-9]*)$/;

class StrictReader {
  readonly #text: string;
  #at = 0;

  constructor(text: string) {
    this.#text = text;
  }

  value(depth: number): StrictJson {
    if (depth > depthMax) throw new StrictJsonError("too-deep", `nested deeper than ${depthMax}`);
    if (this.#take("{")) return this.#object(depth + 1);
    if (this.#take("[")) return this.#array(depth + 1);
    if (this.#text[this.#at] === '"') return this.#string();
    return this.#plain();
  }

  end(): void {
    this.#match(space);
    if (this.#at < this.#text.length) throw this.#malformed();
  }

  #object(depth: number): StrictJsonObject {
    const members = new Map<string, StrictJson>();
    if (this.#take("}")) return members;
    do {
      this.#match(space);
      const name = this.#string();
      if (members.has(name)) throw new StrictJsonError("duplicate-key", name.slice(0, 80));
      if (!this.#take(":")) throw this.#malformed();
      members.set(name, this.value(depth));
    } while (this.#take(","));
    if (!this.#take("}")) throw this.#malformed();
    return members;
  }

  #array(depth: number): readonly StrictJson[] {
    const items: StrictJson[] = [];
    if (this.#take("]")) return items;
    do items.push(this.value(depth));
    while (this.#take(","));
    if (!this.#take("]")) throw this.#malformed();
    return items;
  }

  #string(): string {
    const token = this.#match(stringToken);
    const value: unknown = token === "" ? undefined : JSON.parse(token);
    if (typeof value !== "string" || !value.isWellFormed()) throw this.#malformed();
    return value;
  }

  /** A number or a word; `JSON.parse` knows which are. */
  #plain(): StrictJson {
    const token = this.#match(otherToken);
    const value: unknown = token === "" ? undefined : JSON.parse(token);
    if (value === null || typeof value === "boolean") return value;
    if (typeof value !== "number" || !Number.isFinite(value)) throw this.#malformed();
    return integer.test(token) && !Number.isSafeInteger(value) ? BigInt(token) : value;
  }

  /** Takes one character, if it is the next one after any white space. */
  #take(character: string): boolean {
    this.#match(space);
    if (this.#text[this.#at] !== character) return false;
    this.#at += 1;
    return true;
  }

  #match(pattern: RegExp): string {
    pattern.lastIndex = this.#at;
    const [found = ""] = pattern.exec(this.#text) ?? [];
    this.#at += found.length;
    return found;
  }

  #malformed(): StrictJsonError {
    return new StrictJsonError("malformed-json", `unexpected at character ${this.#at}`);
  }
}
