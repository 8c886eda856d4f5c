import type { z } from "zod";
import { MeshError } from "../base/mesh-error.ts";
import { isManifestKind, type Manifest, manifestSchemas, readOnlyKinds } from "./dialect.ts";
import { dialectVersion } from "./dialect-text.ts";
import { nearestWord } from "./nearest-word.ts";
import { type Problem, shown } from "./problem.ts";
import { contradictionsIn } from "./traffic-policy.ts";
import { readYaml, type SourceDocument, type SourceText } from "./yaml-source.ts";

/** How many problems are told at once, and how many objects may be read at once. */
const problemsMax = 100;
const objectsMax = 2048;

/** What the files say: their objects in order, everything that is wrong with them, and what was passed over. */
export interface ReadManifests {
  readonly manifests: readonly Manifest[];
  readonly problems: readonly Problem[];
  /** How many objects came with a `status`, which is output and has no effect. */
  readonly ignoredStatuses: number;
  /** Says what is wrong with a part of an object that was read, where that shows only beside something else. */
  readonly problemAt: (manifest: Manifest, path: readonly PropertyKey[], message: string) => Problem;
}

/** Reads all objects of all files. Where there is a problem, nothing of what was read is to be used. */
export function readManifests(sources: readonly SourceText[]): ReadManifests {
  const problems: Problem[] = [];
  const report = (problem: Problem): void => {
    if (problems.length < problemsMax) problems.push(problem);
  };
  const places = new Map<string, Problem>();
  const manifests: Manifest[] = [];
  const documents = new Map<Manifest, SourceDocument>();
  let ignoredStatuses = 0;
  for (const source of sources)
    for (const document of readYaml(source, report)) {
      const read = readManifest(document, report);
      if (read === undefined) continue;
      const { kind, metadata } = read.manifest;
      const key = `${kind} ${metadata.name}`;
      const first = places.get(key);
      const here = document.problemAt(["metadata", "name"], "value", "");
      if (first !== undefined) {
        const message = `${kind} ${metadata.name} is written twice; the first is at ${first.file}:${first.line}`;
        report({ ...here, message });
      } else if (manifests.length >= objectsMax)
        report({ ...here, message: `more than ${objectsMax} objects at once; apply the files in parts` });
      else {
        places.set(key, here);
        manifests.push(read.manifest);
        documents.set(read.manifest, document);
        if (read.hasStatus) ignoredStatuses += 1;
      }
    }
  return {
    manifests,
    problems: problems.sort(byPlace),
    ignoredStatuses,
    problemAt: (manifest, path, message) => {
      const document = documents.get(manifest);
      if (document === undefined) throw new MeshError("ERR_CONFIGURATION_MANIFEST", "not one of those read");
      return document.problemAt(path, "value", message);
    },
  };
}

function byPlace(left: Problem, right: Problem): number {
  return left.file === right.file ? left.line - right.line || left.column - right.column : 0;
}

type Report = (problem: Problem) => void;

function readManifest(
  document: SourceDocument,
  report: Report,
): { readonly manifest: Manifest; readonly hasStatus: boolean } | undefined {
  const { value, problemAt } = document;
  if (!isObject(value)) {
    report(
      problemAt(
        [],
        "value",
        `expected an object with apiVersion, kind, metadata and spec, got ${shown(value)}`,
      ),
    );
    return undefined;
  }
  const { status, ...rest } = value;
  const { kind } = rest;
  if (typeof kind !== "string" || !isManifestKind(kind)) {
    if (rest["apiVersion"] !== dialectVersion)
      report(problemAt(["apiVersion"], "value", wrongVersion(rest["apiVersion"])));
    report(problemAt(["kind"], "value", wrongKind(kind)));
    return undefined;
  }
  const parsed = manifestSchemas[kind].safeParse(rest);
  if (!parsed.success) {
    for (const issue of parsed.error.issues)
      for (const problem of problemsOf(issue, document, manifestSchemas[kind])) report(problem);
    return undefined;
  }
  const wrong = contradictions(parsed.data, document);
  if (wrong.length === 0) return { manifest: parsed.data, hasStatus: status !== undefined };
  for (const problem of wrong) report(problem);
  return undefined;
}

/** What is well-formed and cannot be meant. */
function contradictions(manifest: Manifest, document: SourceDocument): Problem[] {
  if (manifest.kind !== "TrafficPolicy") return repeatedCaller(manifest, document);
  return contradictionsIn(manifest).map(([path, message]) => document.problemAt(path, "value", message));
}

/** One pair of services has one rule, so a second one for it would silently win or lose. */
function repeatedCaller(manifest: Manifest, { problemAt }: SourceDocument): Problem[] {
  if (manifest.kind !== "AccessPolicy") return [];
  const first = new Map<string, number>();
  return manifest.spec.rules.flatMap(({ from }, place) => {
    const before = first.get(from);
    first.set(from, before ?? place);
    return before === undefined
      ? []
      : [
          problemAt(
            ["spec", "rules", place, "from"],
            "value",
            `second rule for ${from}, after spec.rules[${before}]; a caller has one`,
          ),
        ];
  });
}

/** What is wrong with a document by one issue of its schema, at its place. */
export function problemsOf(issue: z.core.$ZodIssue, document: SourceDocument, schema: z.ZodType): Problem[] {
  const { path } = issue;
  const { problemAt } = document;
  if (issue.code === "unrecognized_keys")
    return issue.keys.map((key) =>
      problemAt([...path, key], "name", unknownField(key, knownFields(schema, path))),
    );
  const got = valueAt(document.value, path);
  if (issue.code === "invalid_key") {
    const message = issue.issues[0]?.message ?? "expected another name";
    return [problemAt(path, "name", `${message}, got ${shown(path.at(-1))}`)];
  }
  if (issue.code === "invalid_value") {
    if (path.length === 1 && path[0] === "apiVersion") return [problemAt(path, "value", wrongVersion(got))];
    return [problemAt(path, "value", wrongWord(got, issue.values.map(String)))];
  }
  const isTypical = issue.message.startsWith("expected ");
  const expected = isTypical
    ? issue.message
    : `expected ${issue.code === "invalid_type" ? article(issue.expected) : "something else"}`;
  // What a message says of the whole is not made clearer by repeating the whole.
  const isCount = issue.code === "too_small" || issue.code === "too_big" || (isObject(got) && isTypical);
  if (isCount) return [problemAt(path, "value", expected)];
  return [
    problemAt(
      path,
      "value",
      got === undefined ? `missing; ${expected}` : `${expected}, got ${shown(got)}${quoteHint(issue, got)}`,
    ),
  ];
}

function quoteHint(issue: z.core.$ZodIssue, got: unknown): string {
  const isText = issue.code === "invalid_type" && issue.expected === "string";
  return isText && (typeof got === "number" || typeof got === "boolean")
    ? ` (put it in quotes: "${got}")`
    : "";
}

function wrongVersion(got: unknown): string {
  const expected = `expected ${shown(dialectVersion)}`;
  return got === undefined ? `missing; ${expected}` : `${expected}, got ${shown(got)}`;
}

function wrongKind(got: unknown): string {
  const kinds = Object.keys(manifestSchemas);
  if (got === "Gateway") return "Gateway is read by troth gateway --file, and not applied";
  if (typeof got === "string" && readOnlyKinds.some((kind) => kind === got))
    return `${got} can be read with troth get and not be applied; ${kinds.slice(0, -1).join(", ")} and ${kinds.at(-1)} can`;
  return wrongWord(got, kinds);
}

function wrongWord(got: unknown, words: readonly string[]): string {
  const quoted = words.map((word) => JSON.stringify(word));
  const last = quoted.at(-1) ?? "";
  const expected = `expected ${quoted.length > 1 ? `${quoted.slice(0, -1).join(", ")} or ${last}` : last}`;
  if (got === undefined) return `missing; ${expected}`;
  const nearest = typeof got === "string" ? nearestWord(got, words) : undefined;
  const isBare = typeof got === "number" && words.includes(String(got));
  const meant = nearest === undefined ? "" : ` (did you mean ${JSON.stringify(nearest)}?)`;
  const hint = isBare ? ` (put it in quotes: "${got}")` : meant;
  return `${expected}, got ${shown(got)}${hint}`;
}

function unknownField(name: string, known: readonly string[]): string {
  const nearest = nearestWord(name, known);
  return nearest === undefined
    ? `unknown field; known here: ${known.join(", ")}`
    : `unknown field (did you mean ${JSON.stringify(nearest)}?)`;
}

/** The names that an object at a path may have. */
function knownFields(whole: z.ZodType, path: readonly PropertyKey[]): readonly string[] {
  let schema: unknown = whole;
  for (const part of path) schema = innerSchema(schema, part);
  return isObject(schema) && isObject(schema["shape"]) ? Object.keys(schema["shape"]) : [];
}

function innerSchema(schema: unknown, part: PropertyKey): unknown {
  if (!isObject(schema)) return undefined;
  if (typeof part === "number") return bareSchema(schema["element"]);
  return isObject(schema["shape"]) ? bareSchema(schema["shape"][String(part)]) : undefined;
}

/** What is within the wrappers that say what is left out, and what then. */
function bareSchema(schema: unknown): unknown {
  const definition = isObject(schema) ? schema["def"] : undefined;
  return isObject(definition) && "innerType" in definition ? bareSchema(definition["innerType"]) : schema;
}

function valueAt(value: unknown, path: readonly PropertyKey[]): unknown {
  return path.reduce<unknown>((inner, part) => {
    if (Array.isArray(inner)) return inner[Number(part)];
    return isObject(inner) ? inner[String(part)] : undefined;
  }, value);
}

function article(type: string): string {
  if (type === "array") return "a list";
  if (type === "object" || type === "record") return "an object";
  return type === "string" ? "text" : `a ${type}`;
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
