import { textOf } from "../base/bytes.ts";
import { isJsonObject, type JsonObject, parseCanonicalJson } from "../base/canonical-json.ts";

const bodyBytesMax = 16_384;

/** What an instance of a prefix's holder has signed about that, as far as it can be told without the log. */
export interface HandedOn {
  readonly instance: string;
  /** The body of the entry. */
  readonly body: JsonObject;
}

/** Reads it on its way to the log: canonical JSON that names an instance; undefined for whatever is none. */
export function readHandedOn(bytes: Uint8Array): HandedOn | undefined {
  const parsed = bytes.byteLength <= bodyBytesMax ? parseCanonicalJson(textOf(bytes) ?? "") : undefined;
  if (parsed?.ok !== true || !isJsonObject(parsed.value)) return undefined;
  const { instance } = parsed.value;
  return typeof instance === "string" ? { instance, body: parsed.value } : undefined;
}
