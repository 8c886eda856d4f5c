import { describe, expect, it } from "vitest";
import { bytesOf } from "../base/bytes.ts";
import { formatProblem } from "./problem.ts";
import { type ReadManifests, readManifests } from "./read-manifests.ts";

function service(spec: string): string {
  return `apiVersion: troth/v1\nkind: Service\nmetadata:\n  name: /shop/web\nspec:${spec}\n`;
}

function policy(rule: string): string {
  return `apiVersion: troth/v1\nkind: AccessPolicy\nmetadata:\n  name: /shop/web\nspec:\n  rules:\n    - ${rule}\n`;
}

function traffic(spec: string): string {
  return `apiVersion: troth/v1\nkind: TrafficPolicy\nmetadata:\n  name: /shop/web\nspec: ${spec}\n`;
}

function read(text: string | Uint8Array): ReadManifests {
  return readManifests([{ name: "shop.yaml", bytes: typeof text === "string" ? bytesOf(text) : text }]);
}

function problemsIn(text: string | Uint8Array): string[] {
  return read(text).problems.map((problem) => formatProblem(problem).replace(/^shop\.yaml:/, ""));
}

const word = "at most 63 of A-Z a-z 0-9 . _ / -, a letter or digit at both ends";
const kinds =
  '"Service", "AccessPolicy", "TrafficPolicy", "WorkloadEntry", "RequestTokenPolicy", "PrefixGrant" or "Federation"';
const serviceFields = "nodes, dataClass, team, environment, labels";

describe("a file without problems", () => {
  it("gives its objects with what was left out", () => {
    const { manifests, problems } = read(`${service(" {}")}---\n${policy("{from: /a, effect: allow}")}`);

    expect(problems).toEqual([]);
    expect(manifests).toEqual([
      {
        apiVersion: "troth/v1",
        kind: "Service",
        metadata: { name: "/shop/web" },
        spec: { nodes: ["*"], dataClass: "internal", team: "", environment: "", labels: {} },
      },
      {
        apiVersion: "troth/v1",
        kind: "AccessPolicy",
        metadata: { name: "/shop/web" },
        spec: { rules: [{ from: "/a", effect: "allow", methods: [], paths: [] }] },
      },
    ]);
  });

  it.each([
    ["a byte order mark", `\uFEFF${service(" {}")}`],
    ["Windows line ends", service("\n  team: a").replaceAll("\n", "\r\n")],
    ["JSON", JSON.stringify({ apiVersion: "troth/v1", kind: "Service", metadata: { name: "/a" }, spec: {} })],
    ["words that YAML 1.1 took for truth values", service("\n  team: yes\n  environment: no")],
    ["comments and empty documents", `# first\n---\n---\n${service(" {}")}---\n`],
  ])("may have %s", (_, text) => {
    expect(problemsIn(text)).toEqual([]);
    expect(read(text).manifests).toHaveLength(1);
  });

  it("counts a status and passes over it, whatever is in it", () => {
    expect(read(`${service(" {}")}status: {treeSize: 7}\n`)).toMatchObject({
      problems: [],
      ignoredStatuses: 1,
    });
  });
});

describe("a problem", () => {
  it.each([
    [
      "a misspelt word",
      policy("{from: /shop/load, effect: alow}"),
      '7:34: spec.rules[0].effect: expected "allow" or "deny", got "alow" (did you mean "allow"?)',
    ],
    [
      "another word",
      service("\n  dataClass: secret"),
      '6:14: spec.dataClass: expected "public", "internal", "confidential" or "restricted", got "secret"',
    ],
    [
      "a misspelt field",
      service("\n  dataclass: public"),
      '6:3: spec.dataclass: unknown field (did you mean "dataClass"?)',
    ],
    [
      "an unknown field",
      service("\n  replicas: 3"),
      `6:3: spec.replicas: unknown field; known here: ${serviceFields}`,
    ],
    [
      "an unknown field in a rule",
      policy("{from: /a, effect: allow, path: [/]}"),
      '7:33: spec.rules[0].path: unknown field (did you mean "paths"?)',
    ],
    [
      "an unknown part",
      `${service(" {}")}extra: 1\n`,
      "6:1: extra: unknown field; known here: apiVersion, kind, metadata, spec",
    ],
    ["a name written twice", service("\n  team: a\n  team: b"), "7:3: spec.team: written twice; keep one"],
    [
      "an object written twice",
      `${service(" {}")}---\n${service(" {}")}`,
      "10:9: metadata.name: Service /shop/web is written twice; the first is at shop.yaml:4",
    ],
    [
      "a second rule for a caller",
      policy("{from: /a, effect: allow}\n    - {from: /a, effect: deny}"),
      "8:14: spec.rules[1].from: second rule for /a, after spec.rules[0]; a caller has one",
    ],
    [
      "a number for a text",
      service("\n  team: 42"),
      `6:9: spec.team: expected a team: ${word}, got the number 42 (put it in quotes: "42")`,
    ],
    [
      "a truth value for a text",
      service("\n  labels: {a: true}"),
      `6:15: spec.labels.a: expected a value: ${word}, got true (put it in quotes: "true")`,
    ],
    ["a text for a list", service("\n  nodes: box2"), '6:10: spec.nodes: expected a list, got "box2"'],
    [
      "an empty list of nodes",
      service("\n  nodes: []"),
      '6:10: spec.nodes: expected at least one node, or "*" for any',
    ],
    [
      "a node's name in capitals",
      service("\n  nodes: [Box2]"),
      '6:11: spec.nodes[0]: expected a node\'s name such as box2, or "*", got "Box2"',
    ],
    [
      "a bad label",
      service("\n  labels: {-a: b}"),
      `6:12: spec.labels["-a"]: expected a label: ${word}, got "-a"`,
    ],
    [
      "too many labels",
      service(`\n  labels: {${Array.from({ length: 17 }, (_, place) => `a${place}: b`).join(", ")}}`),
      "6:11: spec.labels: expected at most 16 labels",
    ],
    [
      "a method in small letters",
      policy("{from: /a, effect: allow, methods: [get]}"),
      '7:43: spec.rules[0].methods[0]: expected an HTTP method in capitals such as GET, got "get"',
    ],
    [
      "a path without a slash",
      policy("{from: /a, effect: allow, paths: [orders]}"),
      '7:41: spec.rules[0].paths[0]: expected a path that begins with /, as requests are decided on: without spaces, ?, // and /../, got "orders"',
    ],
    [
      "a misspelt field of a traffic policy",
      traffic("{timeoutmillis: 5}"),
      '5:8: spec.timeoutmillis: unknown field (did you mean "timeoutMillis"?)',
    ],
    [
      "a misspelt field within retries",
      traffic("{retries: {retriesmax: 1}}"),
      '5:18: spec.retries.retriesmax: unknown field (did you mean "retriesMax"?)',
    ],
    [
      "a misspelt field within a route",
      traffic("{routes: [{mirror: {too: /a, to: /b}}]}"),
      '5:27: spec.routes[0].mirror.too: unknown field (did you mean "to"?)',
    ],
    [
      "a misspelt condition",
      traffic("{retries: {on: [connect-fail]}}"),
      '5:23: spec.retries.on[0]: expected "502", "503", "504", "connect-failed", "reset" or "timeout", got "connect-fail" (did you mean "connect-failed"?)',
    ],
    [
      "a status without quotes",
      traffic("{retries: {on: [503]}}"),
      '5:23: spec.retries.on[0]: expected "502", "503", "504", "connect-failed", "reset" or "timeout", got the number 503 (put it in quotes: "503")',
    ],
    [
      "a timeout as text",
      traffic("{timeoutMillis: 5s}"),
      '5:23: spec.timeoutMillis: expected a whole number from 0 to 3600000, got "5s"',
    ],
    [
      "a share of more than all",
      traffic("{routes: [{fault: {percent: 101, status: 503}}]}"),
      "5:35: spec.routes[0].fault.percent: expected a whole number from 1 to 100",
    ],
    [
      "a fault that does nothing",
      traffic("{routes: [{fault: {percent: 1}}]}"),
      "5:25: spec.routes[0].fault: expected delayMillis or status, or both",
    ],
    [
      "a route that no request comes to",
      traffic("{routes: [{timeoutMillis: 1}, {paths: [/a], timeoutMillis: 2}]}"),
      "5:37: spec.routes[1]: never counts: every request fits spec.routes[0]",
    ],
    [
      "a service that would be its own mirror",
      traffic("{routes: [{mirror: {to: /shop/web}}]}"),
      "5:31: spec.routes[0].mirror.to: expected another service than the one itself",
    ],
    [
      "a timeout of requests over TCP",
      traffic("{protocol: tcp, timeoutMillis: 5}"),
      '5:38: spec.timeoutMillis: has no meaning with "protocol: tcp", which has no requests',
    ],
    ["a missing part", service(" {}").replace("spec: {}", ""), "1:1: spec: missing; expected an object"],
    ["an empty part", service(""), "5:6: spec: expected an object, got nothing"],
    [
      "a missing name",
      service(" {}").replace("name: /shop/web", "{}"),
      "4:3: metadata.name: missing; expected a service name such as /shop/payments",
    ],
    [
      "a bad name",
      service(" {}").replace("/shop/web", "shop web"),
      '4:9: metadata.name: expected a service name such as /shop/payments, got "shop web"',
    ],
    [
      "a reserved name",
      service(" {}").replace("/shop/web", "/troth/x"),
      '4:9: metadata.name: expected another name: /troth is reserved for the mesh\'s own processes, got "/troth/x"',
    ],
    [
      "another version",
      service(" {}").replace("v1", "v2"),
      '1:13: apiVersion: expected "troth/v1", got "troth/v2"',
    ],
    [
      "no version",
      service(" {}").replace("apiVersion: troth/v1\n", ""),
      '1:1: apiVersion: missing; expected "troth/v1"',
    ],
    [
      "a misspelt kind",
      service(" {}").replace("Service", "Servce"),
      `2:7: kind: expected ${kinds}, got "Servce" (did you mean "Service"?)`,
    ],
    ["no kind", "apiVersion: troth/v1\n", `1:1: kind: missing; expected ${kinds}`],
    [
      "a kind that cannot be applied",
      service(" {}").replace("Service", "Instance"),
      "2:7: kind: Instance can be read with troth get and not be applied; Service, AccessPolicy, TrafficPolicy, WorkloadEntry, RequestTokenPolicy, PrefixGrant and Federation can",
    ],
    ["a list", "- 1\n", "1:1: expected an object with apiVersion, kind, metadata and spec, got a list"],
    ["a tab", service("\n\tteam: a"), "6:1: a tab cannot indent; use spaces"],
    [
      "a second colon",
      service("\n  team: a: b"),
      '6:9: a second ": " on one line; put the value in quotes, or on a line of its own',
    ],
    [
      "a bracket that is not closed",
      service("\n  nodes: [a, b"),
      "7:1: not YAML: flow sequence in block collection must be sufficiently indented and end with a ]",
    ],
    ["a quote that is not closed", service("\n  team: 'a"), "7:1: not YAML: missing closing 'quote"],
    [
      "a reserved character",
      service("\n  team: @a"),
      "6:9: a value cannot start with reserved character @; put it in quotes",
    ],
    [
      "an anchor",
      service("\n  team: &x a"),
      "6:12: spec.team: anchors are not part of the dialect; remove it",
    ],
    [
      "an alias",
      service("\n  team: *x"),
      "6:9: spec.team: aliases are not part of the dialect; write it out",
    ],
    ["a tag", service("\n  team: !!str a"), "6:15: spec.team: tags are not part of the dialect; remove it"],
    [
      "a directive",
      `%YAML 1.1\n---\n${service(" {}")}`,
      "1:1: directives are not part of the dialect; remove this line",
    ],
    [
      "a number as a name",
      "1: 2\n",
      "1:1: expected a plain text as name, got the number 1; put it in quotes",
    ],
    ["a list as a name", "? [a]\n: 1\n", "1:3: expected a plain text as name, got a list or an object"],
    [
      "a name that means something in JavaScript",
      service("\n  labels: {__proto__: a}"),
      "6:12: spec.labels.__proto__: expected another name",
    ],
    ["many brackets", "[".repeat(100_000), "1:33: nested deeper than 32"],
    ["many dashes", "- ".repeat(100_000), "1:65: nested deeper than 32"],
    [
      "bytes that are not UTF-8",
      new Uint8Array(Buffer.from(service("\n  team: grüße"), "latin1")),
      "6:11: not UTF-8; save the file in that encoding",
    ],
    ["a huge file", "#".repeat(300_000), "1:1: larger than 262144 bytes; split it"],
    [
      "a column behind letters of several bytes",
      "apiVersion: troth/v1\nkind: Service\nmetadata: {name: /a}\nspec: {labels: {a: 'é🙂'}, teem: x}\n",
      `4:20: spec.labels.a: expected a value: ${word}, got "é🙂"`,
      '4:27: spec.teem: unknown field (did you mean "team"?)',
    ],
  ] as readonly (readonly [string, string | Uint8Array, ...string[]])[])(
    "of %s is named with its place",
    (_, text, ...problems) => {
      expect(problemsIn(text)).toEqual(problems);
    },
  );

  it("is deep nesting by indentation", () => {
    const text = Array.from({ length: 200 }, (_, depth) => `${" ".repeat(depth)}k:`).join("\n");

    expect(problemsIn(text)).toEqual([expect.stringMatching(/^34:34: k\.k.*: nested deeper than 32$/)]);
  });

  it("is an alias bomb, before anything is expanded", () => {
    const lines = Array.from(
      { length: 30 },
      (_, level) => `l${level}: &l${level} [${level === 0 ? "x" : `*l${level - 1},*l${level - 1}`}]`,
    );

    expect(problemsIn(lines.join("\n")).at(0)).toBe(
      "1:9: l0: anchors are not part of the dialect; remove it",
    );
  });

  it("does not hide others, in this object and in the next", () => {
    const text = `${service("\n  nodes: []\n  foo: 1")}---\nkind: Foo\n---\n${policy("from: 1")}`;

    expect(problemsIn(text)).toEqual([
      '6:10: spec.nodes: expected at least one node, or "*" for any',
      `7:3: spec.foo: unknown field; known here: ${serviceFields}`,
      '9:1: apiVersion: missing; expected "troth/v1"',
      `9:7: kind: expected ${kinds}, got "Foo"`,
      '17:7: spec.rules[0].effect: missing; expected "allow" or "deny"',
      '17:13: spec.rules[0].from: expected a service name such as /shop/payments, or a prefix and /*, or /*, or a SPIFFE ID of a federated trust domain, got the number 1 (put it in quotes: "1")',
    ]);
  });

  it("is told at most a hundred times", () => {
    expect(problemsIn("a: 1\n---\n".repeat(1000))).toHaveLength(100);
  });

  it("keeps thousands of names from taking the square of their number", () => {
    const names = Array.from({ length: 15_000 }, (_, place) => `k${place}: 1`).join("\n");

    expect(problemsIn(names)).toHaveLength(2);
  });
});
