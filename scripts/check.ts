import { spawnSync } from "node:child_process";

const steps: readonly (readonly [string, readonly string[]])[] = [
  ["format", ["node_modules/@biomejs/biome/bin/biome", "ci", "--log-level=warn", "."]],
  [
    "lint",
    [
      "node_modules/oxlint/bin/oxlint",
      "--type-aware",
      "--deny-warnings",
      "src",
      "test",
      "scripts",
      "bin",
      "bench",
    ],
  ],
  ["types", ["node_modules/typescript/bin/tsc", "-p", "."]],
  ["reference", ["scripts/reference.ts", "--check"]],
];

// @bufbuild/buf's own launcher needs its install script; the platform's package carries the binary.
const buf = `node_modules/@bufbuild/buf-${process.platform}-${process.arch}/bin/buf`;

/** Runs what a machine judges well: formatting, lint, types, and whether the reference is current. Each step's own output says what is wrong. */
for (const [name, args] of steps) run(name, process.execPath, args);
// What the previous version says must be understood, and it must understand what is said to it.
run("protocol", buf, ["breaking", "--against", "test/peers/previous-version/mesh.binpb"]);

function run(name: string, command: string, args: readonly string[]): void {
  const { status } = spawnSync(command, args, { stdio: "inherit" });
  if (status === 0) process.stdout.write(`${name}: ok\n`);
  else {
    process.stdout.write(`${name}: failed\n`);
    process.exitCode = 1;
  }
}
