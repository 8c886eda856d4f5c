import { readFileSync } from "node:fs";
import { join } from "node:path";
import {
  createFileRegistry,
  type DescField,
  type DescMessage,
  fromBinary,
  fromJson,
  type JsonObject,
  type JsonValue,
  ScalarType,
  toBinary,
  toJson,
} from "@bufbuild/protobuf";
import { FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt";
import { describe, expect, it } from "vitest";
import { file_troth_v1_mesh as today } from "./generated/troth/v1/mesh_pb.js";

const image = readFileSync(
  join(import.meta.dirname, "..", "..", "test", "peers", "previous-version", "mesh.binpb"),
);
const previous = createFileRegistry(fromBinary(FileDescriptorSetSchema, image));
const pairs = [...previous].flatMap((before) => {
  if (before.kind !== "message") return [];
  const now = today.messages.find(({ typeName }) => typeName === before.typeName);
  return [{ name: before.typeName, before, now }];
});

/** A message with every field set, and of each oneof the member at `choice`. */
function filled({ fields }: DescMessage, choice: number): JsonObject {
  return Object.fromEntries(
    fields.flatMap((field) => {
      const members = field.oneof?.fields ?? [field];
      return members[choice % members.length] === field ? [[field.jsonName, valueOf(field, choice)]] : [];
    }),
  );
}

function valueOf(field: DescField, choice: number): JsonValue {
  const one = field.message === undefined ? scalarOf(field) : filled(field.message, choice);
  return field.fieldKind === "list" ? [one, one] : one;
}

function scalarOf({ scalar, number }: DescField): JsonValue {
  switch (scalar) {
    case ScalarType.STRING:
      return `text ${number}`;
    case ScalarType.BYTES:
      return Buffer.from(`bytes ${number}`).toString("base64");
    case ScalarType.BOOL:
      return true;
    case ScalarType.UINT64:
    case ScalarType.INT64:
      return String(1_000_000_000_000 + number);
    case ScalarType.DOUBLE:
      return number + 0.5;
    default:
      return 1_000 + number;
  }
}

describe.each(pairs)("$name of the previous version", ({ before, now }) => {
  const choices = Array.from(
    { length: Math.max(1, ...before.oneofs.map(({ fields }) => fields.length)) },
    (_, choice) => choice,
  );

  it.each(choices)("is understood today, every field of it (%i)", (choice) => {
    if (now === undefined) throw new Error("it is no more");
    const said = filled(before, choice);
    const bytes = toBinary(before, fromJson(before, said));

    expect(toJson(now, fromBinary(now, bytes))).toEqual(said);
  });

  it.each(choices)("is what the previous version makes of today's (%i)", (choice) => {
    if (now === undefined) throw new Error("it is no more");
    const said = filled(now, choice);
    const bytes = toBinary(now, fromJson(now, said));
    const understood = toJson(before, fromBinary(before, bytes));

    expect(understood).toEqual(filled(before, choice));
    expect(said).toMatchObject(filled(before, choice));
  });
});

it("has all calls that the previous version makes, of the same kind and messages", () => {
  const callsOf = (services: Iterable<{ readonly kind: string }>): string[] =>
    [...services].flatMap((service) =>
      "methods" in service && Array.isArray(service.methods)
        ? service.methods.map((method: (typeof today.services)[number]["methods"][number]) =>
            [method.parent.name, method.name, method.methodKind, method.input.name, method.output.name].join(
              " ",
            ),
          )
        : [],
    );

  expect(callsOf(today.services)).toEqual(expect.arrayContaining(callsOf(previous)));
  expect(pairs.length).toBeGreaterThan(20);
  expect(callsOf(previous).length).toBeGreaterThan(10);
});
