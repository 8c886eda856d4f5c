import { chmod, chown, mkdir, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { freePort } from "../../../src/cli/free-port.ts";
import { type CheckedLine, checkOf, startShell } from "../../apparatus/check-report.ts";
import { canSeeProcesses, processesMarked, signal } from "../../apparatus/marked-processes.ts";
import type { RunningCommand } from "../../apparatus/running-command.ts";
import { repository, startTroth, troth } from "../../apparatus/running-mesh.ts";
import { temporaryFolder } from "../../contracts/temporary-folder.ts";
import { type Claim, failed, ok, skipped } from "../claim.ts";

const readyMillisMax = 60_000;
const stopMillisMax = 20_000;
const silenceMillis = 6_500;
const mendedMillisMax = 45_000;
const pollMillis = 500;

/** Something broken for real, and the check that has to name it. */
interface Breakage {
  readonly what: string;
  readonly anchor: string;
  readonly break: () => Promise<unknown>;
  /** What of the remedy is no command: done here, as the remedy says. */
  readonly act?: (line: CheckedLine) => Promise<unknown>;
  readonly args?: readonly string[];
}

/** The remedy is taken from the JSON and run as it stands there; the check has to be green again afterwards. */
export const claim: Claim = {
  text: "each thing that is broken is named by troth check, and the remedy that it gives, followed to the letter, mends it",
  limitSeconds: 600,
  run: async (context) => {
    if (!canSeeProcesses()) return skipped("finding the processes takes procfs");
    await using stack = new AsyncDisposableStack();
    const { path: folder } = stack.use(await temporaryFolder());
    const path = join(folder, "mesh");
    const bench = new Bench(path);
    stack.use(bench);
    const mended: string[] = [];
    for (const breakage of breakages(bench)) {
      context.note(breakage.what);
      const why = await bench.tryOut(breakage);
      if (why !== undefined) return failed(`${breakage.what}: ${why}; mended before: ${mended.join(", ")}`);
      mended.push(breakage.what);
    }
    return ok(`${mended.length} broken and mended by their remedies: ${mended.join(", ")}`);
  },
};

function breakages(bench: Bench): Breakage[] {
  const { path } = bench;
  const key = join(path, "operator", "keys", "operator");
  const runsAsRoot = process.geteuid?.() === 0;
  return [
    {
      what: "a file where the directory should be",
      anchor: "directory-writable",
      args: ["--pre"],
      break: () => writeFile(path, "a file"),
    },
    { what: "no mesh", anchor: "mesh-directory", break: () => Promise.resolve() },
    { what: "a key that others can read", anchor: "key-modes", break: () => chmod(key, 0o644) },
    {
      what: "an open key folder",
      anchor: "key-modes",
      break: () => chmod(join(path, "agent", "keys"), 0o755),
    },
    ...(runsAsRoot
      ? [{ what: "a key of another user", anchor: "key-modes", break: () => chown(key, 65_534, 65_534) }]
      : []),
    {
      what: "a control plane that hangs",
      anchor: "control-plane-answers",
      break: () => bench.stop("control-plane"),
    },
    {
      what: "an agent that hangs",
      anchor: "agent-connected",
      break: async () => {
        await bench.stop("node-agent");
        await sleep(silenceMillis);
      },
    },
    {
      what: "a Workload API whose socket was removed",
      anchor: "workload-api",
      break: () => rm(join(path, "run", "workload.sock")),
    },
    {
      what: "a service that nobody runs",
      anchor: "service-served",
      break: () => bench.register("/proof/callee"),
    },
    { what: "a sidecar that hangs", anchor: "proxy-ready", break: () => bench.stop("sidecar") },
    {
      what: "a published copy that was changed",
      anchor: "log-verifies",
      // Of a mesh that has ended: a running one publishes anew with every entry.
      break: async () => {
        await bench.end();
        await writeFile(join(path, "control-plane", "tiles", "checkpoint"), "not a checkpoint\n");
      },
      act: async () => {
        await bench.end();
        await rm(join(path, "control-plane", "tiles"), { recursive: true });
        await bench.shell(`troth up --dir ${path}`);
      },
    },
    { what: "a mesh that was ended", anchor: "control-plane-answers", break: () => bench.end() },
    {
      what: "a damaged domain.json",
      anchor: "mesh-directory",
      break: async () => {
        await bench.end();
        await writeFile(join(path, "domain.json"), '{"trustDomain":');
      },
    },
  ];
}

/** A mesh to break, and everything that was started for it. */
class Bench implements AsyncDisposable {
  readonly path: string;
  readonly #commands: RunningCommand[] = [];

  constructor(path: string) {
    this.path = path;
  }

  /** Breaks one thing and follows the remedy; what went wrong, or undefined. */
  async tryOut({ anchor, args = [], act, ...breakage }: Breakage): Promise<string | undefined> {
    await breakage.break();
    const line = await this.#named(anchor, args);
    if (line === undefined) return `troth check does not name it (${anchor})`;
    if (act !== undefined) await act(line);
    else if (line.command === undefined) return `its remedy is no command: ${line.remedy}`;
    else await this.shell(await this.#filledIn(line.command));
    const deadline = performance.now() + mendedMillisMax;
    for (;;) {
      const { lines } = await checkOf(this.path, ...args);
      const left = lines.find(({ hint, result }) => hint === line.hint && result === line.result);
      const bad = left ?? lines.find(({ result }) => result === "error");
      if (bad === undefined) return undefined;
      if (performance.now() > deadline)
        return `after "${line.command ?? line.remedy}": ${bad.description}: ${bad.error}`;
      await sleep(pollMillis);
    }
  }

  /** Runs a line of shell; one that goes on running is left to run once it says that it is ready. */
  async shell(line: string): Promise<void> {
    const command = startShell(line);
    this.#commands.push(command);
    if (line.includes("troth up")) await command.untilLine(/^ready/, readyMillisMax);
    else if (!line.includes("troth run")) await command.ended(stopMillisMax);
  }

  /** Freezes a process of the mesh, as one that hangs. */
  async stop(what: string): Promise<void> {
    const pid = this.#processes(what)[0];
    if (pid === undefined) throw new Error(`there is no ${what}`);
    signal(pid, "SIGSTOP");
    await Promise.resolve();
  }

  /** Ends `troth up`, as with Ctrl-C. */
  async end(): Promise<void> {
    for (const command of this.#commands) {
      if (!processesMarked(command.mark).some(({ command: words }) => words.includes("up"))) continue;
      command.kill("SIGTERM");
      await command.ended(stopMillisMax);
    }
  }

  /** Makes a service known, that somebody may call, and lets it end. */
  async register(service: string): Promise<void> {
    await using running = startTroth(this.path, ["run", "--service", service, "--", "true"]);
    await running.ended(readyMillisMax);
    await using other = startTroth(this.path, ["run", "--service", "/proof/caller", "--", "true"]);
    await other.ended(readyMillisMax);
    await troth(this.path, "allow", "/proof/caller", service);
    await sleep(silenceMillis);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const command of this.#commands.toReversed()) await command[Symbol.asyncDispose]();
  }

  async #named(anchor: string, args: readonly string[]): Promise<CheckedLine | undefined> {
    const { lines } = await checkOf(this.path, ...args);
    return lines.find(({ hint, result }) => hint?.endsWith(`#${anchor}`) === true && result !== "success");
  }

  /** What a remedy leaves open: which command, and, here alone, a port that no other mesh of this machine has. */
  async #filledIn(command: string): Promise<string> {
    const app = `${process.execPath} ${join(repository, "test", "apparatus", "small-app.ts")}`;
    const isFirst = command.startsWith("troth up") && this.#commands.length <= 1;
    if (isFirst) await mkdir(this.path, { recursive: true });
    return isFirst ? `${command} --listen 127.0.0.1:${await freePort()}` : command.replace("COMMAND", app);
  }

  #processes(what: string): number[] {
    return this.#commands
      .flatMap(({ mark }) => processesMarked(mark))
      .filter(({ command }) => command[2] === what)
      .map(({ pid }) => pid);
  }
}
