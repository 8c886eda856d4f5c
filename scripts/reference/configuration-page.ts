import { z } from "zod";
import { dialectVersion, manifestSchemas, readOnlyKinds } from "../../src/configuration/index.ts";
import { type Page, pageOf, tableOf } from "./page.ts";

type JsonSchema = z.core.JSONSchema.JSONSchema;

/** Every kind of object that a file can hold, with its fields. */
export function configurationPage(): Page {
  const sections = Object.entries(manifestSchemas).map(([kind, schema]) => {
    const { properties = {} } = z.toJSONSchema(schema, { unrepresentable: "any", io: "input" });
    const rows = ["metadata", "spec"].flatMap((part) => rowsOf(part, asSchema(properties[part])));
    return `## ${kind}\n\n${tableOf(["field", "", "meaning"], rows)}`;
  });
  return pageOf({
    file: "configuration.md",
    title: "Configuration",
    intro:
      `Objects of \`apiVersion: ${dialectVersion}\` that \`troth apply\` takes. Read-only kinds, for \`troth get\`: ` +
      `${readOnlyKinds.join(", ")}. With examples: [configuration](../guides/configuration.md).`,
    sections,
  });
}

/** A row for each field below, by its path. */
function rowsOf(path: string, schema: JsonSchema): string[][] {
  return Object.entries(schema.properties ?? {}).flatMap(([name, value]) => {
    const field = asSchema(value);
    const isNeeded = schema.required?.includes(name) === true;
    const below = `${path}.${name}`;
    const row = [`\`${below}\``, isNeeded ? "required" : "", field.description ?? ""];
    const items = Array.isArray(field.items) ? undefined : field.items;
    const inner = items === undefined ? [] : rowsOf(`${below}[]`, asSchema(items));
    return [row, ...rowsOf(below, field), ...inner];
  });
}

function asSchema(value: JsonSchema | boolean | undefined): JsonSchema {
  return typeof value === "object" ? value : {};
}
