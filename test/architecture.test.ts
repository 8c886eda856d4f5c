import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative, sep } from "node:path";
import { expect, it } from "vitest";

/** The layers of src/, as ARCHITECTURE.md draws them: a folder may import itself, base/, and the folders named here. */
const mayImport: Readonly<Record<string, readonly string[]>> = {
  base: [],
  crypto: [],
  "trust-log": ["crypto"],
  identity: ["crypto"],
  "request-token": [],
  policy: [],
  audit: ["crypto", "trust-log"],
  configuration: ["trust-log"],
  protocol: [],
  storage: [],
  telemetry: [],
  "peer-process": [],
  transport: ["crypto", "trust-log", "identity", "protocol"],
  "data-plane": [
    "crypto",
    "trust-log",
    "identity",
    "request-token",
    "policy",
    "audit",
    "protocol",
    "peer-process",
    "transport",
    "telemetry",
  ],
  "node-agent": [
    "crypto",
    "trust-log",
    "identity",
    "request-token",
    "protocol",
    "peer-process",
    "transport",
    "storage",
    "telemetry",
  ],
  "control-plane": [
    "crypto",
    "trust-log",
    "identity",
    "request-token",
    "policy",
    "protocol",
    "transport",
    "storage",
    "telemetry",
  ],
  demo: [],
  cli: [
    "crypto",
    "trust-log",
    "identity",
    "request-token",
    "policy",
    "audit",
    "configuration",
    "protocol",
    "peer-process",
    "transport",
    "storage",
    "telemetry",
    "data-plane",
    "node-agent",
    "control-plane",
    "demo",
  ],
};
/** Folders that open sockets, files or processes; all others are pure. */
const touchesTheWorld = new Set([
  "storage",
  "telemetry",
  "peer-process",
  "transport",
  "data-plane",
  "node-agent",
  "control-plane",
  "demo",
  "cli",
]);
const worldModule =
  /^node:(child_process|cluster|dgram|dns|fs|http|http2|https|net|os|tls|worker_threads|timers)/;
/** Packages that only some folders may use, so that each stays behind its seam. */
const packageSeams: readonly { readonly name: RegExp; readonly folders: readonly string[] }[] = [
  {
    name: /^@connectrpc\//,
    folders: ["protocol", "transport", "control-plane", "node-agent", "data-plane", "cli"],
  },
  { name: /^@peculiar\//, folders: [] },
  { name: /^(commander|pino)$/, folders: ["cli"] },
  { name: /^prom-client$/, folders: ["telemetry", "data-plane", "control-plane", "node-agent"] },
  { name: /^@opentelemetry\//, folders: ["telemetry"] },
  { name: /^zod$/, folders: ["trust-log", "configuration", "cli"] },
  { name: /^yaml$/, folders: ["configuration"] },
];
const importPattern = /(?:from|import)\s*\(?\s*"(?<target>[^"]+)"/g;

const root = join(import.meta.dirname, "..", "src");
const files = readdirSync(root, { recursive: true, encoding: "utf8" }).filter(
  (file) => file.endsWith(".ts") && !file.includes("generated"),
);
// Tests are the outside of what they test: they may reach for sockets, other folders and the library that is the oracle.
const sources = files.filter((file) => !file.endsWith(".test.ts") && !file.endsWith("-for-tests.ts"));

it("has no import that the table of layers forbids", () => {
  const complaints = sources.flatMap((file) => importsOf(file).map((target) => complaintAbout(file, target)));

  expect(complaints.filter((complaint) => complaint !== undefined)).toEqual([]);
});

it("finds each kind of forbidden import", () => {
  const planted: readonly (readonly [string, string])[] = [
    ["policy/decide.ts", "../identity/index.ts"],
    ["data-plane/proxy.ts", "../control-plane/index.ts"],
    ["control-plane/api.ts", "../trust-log/fold.ts"],
    ["trust-log/fold.ts", "node:fs/promises"],
    ["identity/check.ts", "@connectrpc/connect"],
  ];

  expect(
    planted.map(([file, target]) => complaintAbout(file, target)).filter((text) => text === undefined),
  ).toEqual([]);
});

it("names every folder of src/ in the table of layers", () => {
  expect(new Set(files.map(folderOf))).toEqual(new Set(Object.keys(mayImport)));
});

it("has no folder that imports itself by way of another", () => {
  const reaches = (from: string, seen: ReadonlySet<string>): boolean =>
    (mayImport[from] ?? []).some((next) => seen.has(next) || reaches(next, new Set([...seen, next])));

  expect(Object.keys(mayImport).filter((folder) => reaches(folder, new Set([folder])))).toEqual([]);
});

it("has an entrance to every folder but base", () => {
  const closed = Object.keys(mayImport).filter(
    (folder) => !["base", "cli"].includes(folder) && !existsSync(join(root, folder, "index.ts")),
  );

  expect(closed).toEqual([]);
});

it("has no drawer: files are named for what is in them", () => {
  const drawers = files.filter((file) =>
    /(^|\/)(utils?|helpers?|common|misc|types|manager|handler)\.ts$/.test(file),
  );

  expect(drawers).toEqual([]);
});

function importsOf(file: string): string[] {
  return [...readFileSync(join(root, file), "utf8").matchAll(importPattern)].map(
    (match) => match.groups?.["target"] ?? "",
  );
}

function folderOf(path: string): string {
  return path.split(sep)[0] ?? "";
}

function complaintAbout(file: string, target: string): string | undefined {
  const from = folderOf(file);
  if (worldModule.test(target) && !touchesTheWorld.has(from))
    return `${file}: ${from} is pure and must not import ${target}`;
  const seam = packageSeams.find(({ name }) => name.test(target));
  if (seam !== undefined && !seam.folders.includes(from)) return `${file}: ${from} must not import ${target}`;
  if (!target.startsWith(".")) return undefined;

  const path = relative(root, join(root, dirname(file), target));
  const to = folderOf(path);
  if (to === from || to === "base") return undefined;
  if (!(mayImport[from] ?? []).includes(to)) return `${file}: ${from} must not import ${to}`;
  return path === join(to, "index.ts") ? undefined : `${file}: import ${to}/index.ts, not ${path}`;
}
