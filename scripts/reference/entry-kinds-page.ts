import { z } from "zod";
import { defaultGrants, type EntryKind, entryBodies, entryVersion } from "../../src/trust-log/index.ts";
import { type Page, pageOf, tableOf } from "./page.ts";

/** Every kind of entry of the trust log, with its fields and who may write it at first. */
export function entryKindsPage(): Page {
  const kinds = Object.keys(entryBodies).filter((kind): kind is EntryKind => kind in entryBodies);
  return pageOf({
    file: "entry-kinds.md",
    title: "Kinds of entries",
    intro:
      `The body of each kind of entry of the trust log in version ${entryVersion}, and who may write it in a domain that ` +
      "was just founded. How an entry is signed and what makes it effective: [trust log](../specs/trust-log.md).",
    sections: kinds.map((kind) => `## ${kind}\n\n${authorOf(kind)}\n\n${fieldsOf(kind)}`),
  });
}

function authorOf(kind: EntryKind): string {
  if (kind === "genesis") return "Entry 0, signed by every operator that it names.";
  const grant = defaultGrants[kind];
  if (grant === undefined) throw new Error(`nobody may write ${kind}`);
  const { role, signatures, approvals } = grant;
  const more = approvals > 0 ? ` and ${approvals} of approvers` : "";
  return `Takes ${signatures} signature${signatures === 1 ? "" : "s"} of the role ${role}${more}.`;
}

function fieldsOf(kind: EntryKind): string {
  const schema = z.toJSONSchema(entryBodies[kind], { unrepresentable: "any" });
  const rows = Object.entries(schema.properties ?? {}).map(([name, field]) => [
    `\`${name}\``,
    typeof field === "boolean" ? "" : typeOf(field),
  ]);
  return tableOf(["field", "type"], rows);
}

type JsonSchema = z.core.JSONSchema.JSONSchema;

function typeOf(schema: JsonSchema): string {
  if (schema.description !== undefined) return schema.description;
  if (schema.enum !== undefined) return schema.enum.map((one) => `\`${String(one)}\``).join(", ");
  if (schema.const !== undefined) return schema.const === "" ? "empty" : `\`${String(schema.const)}\``;
  if (schema.anyOf !== undefined)
    return schema.anyOf.map((one) => (typeof one === "boolean" ? "" : typeOf(one))).join(" or ");
  switch (schema.type) {
    case "array":
      return `list of ${schema.minItems ?? 0} to ${schema.maxItems ?? "any number"}: ${inner(schema.items)}`;
    case "object":
      return objectOf(schema);
    case "integer":
      return `whole number${rangeOf(schema)}`;
    case "string":
      return stringOf(schema);
    default:
      return String(schema.type ?? "any");
  }
}

function inner(items: JsonSchema["items"]): string {
  return typeof items === "object" && !Array.isArray(items) ? typeOf(items) : "any";
}

function objectOf(schema: JsonSchema): string {
  const names = Object.keys(schema.properties ?? {});
  if (names.length > 0) return `object: ${names.map((name) => `\`${name}\``).join(", ")}`;
  const values = schema.additionalProperties;
  return `map to ${typeof values === "object" ? typeOf(values) : "anything"}`;
}

function stringOf({ pattern, maxLength }: JsonSchema): string {
  const length = maxLength === undefined ? "" : ` of at most ${maxLength} characters`;
  return `text${length}${pattern === undefined ? "" : `, \`${pattern}\``}`;
}

function rangeOf({ minimum, maximum }: JsonSchema): string {
  if (maximum === undefined || maximum >= Number.MAX_SAFE_INTEGER)
    return minimum === undefined ? "" : ` from ${minimum}`;
  return ` from ${minimum ?? "any"} to ${maximum}`;
}
