import { isJsonObject, type Json } from "./canonical-json.ts";
import { fail, ok, type Result } from "./result.ts";

/** Why a text is not JSON that all readers understand alike. */
export type UniqueJsonRefusal = "malformed-json" | "duplicate-member" | "too-deep";

/** How deep arrays and objects may be nested. */
export const jsonDepthMax = 16;

/**
 * Reads JSON (RFC 8259) in which no object has two members of one name and no text a lone surrogate, so that two
 * readers cannot understand it differently (RFC 8725, section 3.10). Numbers may have fractions, unlike those of the
 * trust log. Takes time that grows with the text alone; never throws.
 */
export function parseUniqueJson(text: string): Result<Json, UniqueJsonRefusal> {
  let value: Json;
  try {
    value = JSON.parse(text);
  } catch {
    return fail("malformed-json");
  }
  return scanMembers(text) ?? ok(value);
}

/** As {@link parseUniqueJson}, of an object alone. */
export function parseUniqueJsonObject(
  text: string,
): Result<{ readonly [key: string]: Json }, UniqueJsonRefusal> {
  const parsed = parseUniqueJson(text);
  if (!parsed.ok) return parsed;
  return isJsonObject(parsed.value) ? ok(parsed.value) : fail("malformed-json", "expected an object");
}

const token = /"(?:[^"\\]|\\.)*"|[{}[\]:,]/gs;

/** What is wrong with the members of a text that is JSON; undefined where nothing is. */
function scanMembers(text: string): ReturnType<typeof fail<UniqueJsonRefusal>> | undefined {
  // The names in each object that is open; undefined for an array.
  const open: (Set<string> | undefined)[] = [];
  let isName = false;
  for (const [found] of text.matchAll(token)) {
    if (found === "{" || found === "[") {
      if (open.length >= jsonDepthMax) return fail("too-deep", `nested deeper than ${jsonDepthMax}`);
      open.push(found === "{" ? new Set() : undefined);
      isName = found === "{";
    } else if (found === "}" || found === "]") {
      open.pop();
      isName = false;
    } else if (found === ",") isName = open.at(-1) !== undefined;
    else if (found === ":") isName = false;
    else {
      const decoded = String(JSON.parse(found));
      if (!decoded.isWellFormed()) return fail("malformed-json", "text with a lone surrogate");
      const names = isName ? open.at(-1) : undefined;
      if (names?.has(decoded) === true) return fail("duplicate-member", decoded.slice(0, 64));
      names?.add(decoded);
    }
  }
  return undefined;
}
