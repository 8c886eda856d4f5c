import { fail, ok, type Result } from "./result.ts";

/** JSON as the trust log knows it: no fractions, so that every implementation writes the same digits. */
export type Json = null | boolean | number | string | readonly Json[] | { readonly [key: string]: Json };

/** A JSON object of the trust log. */
export type JsonObject = { readonly [key: string]: Json };

const depthMax = 32;

/**
 * The one spelling of a value: RFC 8785 (keys in UTF-16 order, no white space), restricted to safe integers and
 * well-formed text. Throws a RangeError on anything else, since only our own values come here.
 */
export function canonicalJson(value: Json): string {
  return write(value, 0);
}

/** Reads a text that must be its own canonical spelling; so no key stands twice and no two texts mean the same. */
export function parseCanonicalJson(text: string): Result<Json, "not-canonical-json"> {
  try {
    const value: Json = JSON.parse(text);
    return canonicalJson(value) === text
      ? ok(value)
      : fail("not-canonical-json", "another spelling is canonical");
  } catch (error) {
    return fail("not-canonical-json", error instanceof Error ? error.message : String(error));
  }
}

/** Whether a JSON value is an object (not null, not an array). */
export function isJsonObject(value: Json | undefined): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function write(value: Json, depth: number): string {
  if (depth > depthMax) throw new RangeError(`nested deeper than ${depthMax}`);
  if (value === null || typeof value === "boolean") return String(value);
  if (typeof value === "number") {
    if (!Number.isSafeInteger(value) || Object.is(value, -0))
      throw new RangeError(`not a safe integer: ${value}`);
    return String(value);
  }
  if (typeof value === "string") {
    if (!value.isWellFormed()) throw new RangeError("text with a lone surrogate");
    return JSON.stringify(value);
  }
  if (isArray(value)) return `[${value.map((item) => write(item, depth + 1)).join(",")}]`;
  const members = Object.entries(value).sort(([left], [right]) => (left < right ? -1 : 1));
  return `{${members.map(([key, item]) => `${write(key, depth)}:${write(item, depth + 1)}`).join(",")}}`;
}

function isArray(value: Json): value is readonly Json[] {
  return Array.isArray(value);
}
