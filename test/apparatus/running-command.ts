import { type ChildProcess, spawn } from "node:child_process";
import { constants } from "node:os";
import { killMarked, markVariable, newMark, untilGone } from "./marked-processes.ts";

const outputCharactersMax = 4_000_000;
const stopMillisMax = 15_000;
const goneMillisMax = 5_000;

/** Tests and benchmarks play the application: they call its sidecar themselves. */
const asTheApplication = { TROTH_OUTBOUND_CLIENTS: "any" };

/** What is started. */
export interface CommandOptions {
  readonly cwd?: string;
  readonly env?: Readonly<Record<string, string>>;
  /** In a process group of its own, as a shell starts a foreground job. */
  readonly ownGroup?: boolean;
}

/** How a command ended and what it said. */
export interface Ended {
  /** In the shell's convention: 128 and the signal's number. */
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
  readonly millis: number;
}

/** A real process, with what it prints; disposing of it leaves nothing of it and of what it started. */
export class RunningCommand implements AsyncDisposable {
  readonly mark: string = newMark();
  readonly #child: ChildProcess;
  readonly #startedMillis = performance.now();
  readonly #exited: Promise<number>;
  readonly #looking = new Set<() => void>();
  #stdout = "";
  #stderr = "";

  constructor(file: string, args: readonly string[], options: CommandOptions = {}) {
    this.#child = spawn(file, args, {
      cwd: options.cwd,
      env: { ...plainEnvironment(), ...asTheApplication, ...options.env, [markVariable]: this.mark },
      stdio: ["ignore", "pipe", "pipe"],
      detached: options.ownGroup ?? false,
    });
    this.#child.stdout?.on("data", (chunk: Buffer) => {
      this.#stdout = (this.#stdout + chunk.toString("utf8")).slice(-outputCharactersMax);
      for (const look of this.#looking) look();
    });
    this.#child.stderr?.on("data", (chunk: Buffer) => {
      this.#stderr = (this.#stderr + chunk.toString("utf8")).slice(-outputCharactersMax);
    });
    this.#exited = new Promise((resolve) => {
      this.#child.once("error", (error) => {
        this.#stderr += `${error.message}\n`;
        resolve(127);
      });
      // After "close", all that it printed has arrived; a grandchild that holds the pipe must not hold this up.
      this.#child.once("exit", (code, name) =>
        setTimeout(resolve, 20, code ?? 128 + (name === null ? 0 : constants.signals[name])),
      );
    });
  }

  get pid(): number {
    return this.#child.pid ?? 0;
  }

  get stdout(): string {
    return this.#stdout;
  }

  get stderr(): string {
    return this.#stderr;
  }

  /** Since it was started. */
  get millis(): number {
    return performance.now() - this.#startedMillis;
  }

  /** Waits for a line on standard output; throws what the command said instead when it ends or the time is up. */
  async untilLine(pattern: RegExp, timeoutMillis: number): Promise<string> {
    const find = (): string | undefined => this.#stdout.split("\n").find((line) => pattern.test(line));
    const found = await within(
      timeoutMillis,
      Promise.race([
        new Promise<void>((resolve) => {
          const look = (): void => {
            if (find() === undefined) return;
            this.#looking.delete(look);
            resolve();
          };
          this.#looking.add(look);
          look();
        }),
        this.#exited,
      ]),
    );
    const line = find();
    if (line !== undefined) return line;
    const how = found === "too late" ? `did not print ${pattern} within ${timeoutMillis} ms` : "ended";
    throw new Error(`${this.#child.spawnargs.join(" ")} ${how}: ${this.tail()}`);
  }

  /** Waits for the end; throws when the time is up. */
  async ended(timeoutMillis: number): Promise<Ended> {
    const code = await within(timeoutMillis, this.#exited);
    if (code === "too late")
      throw new Error(
        `${this.#child.spawnargs.join(" ")} did not end within ${timeoutMillis} ms: ${this.tail()}`,
      );
    return { code, stdout: this.#stdout, stderr: this.#stderr, millis: this.millis };
  }

  /** To the process alone, or to its whole group. */
  kill(name: NodeJS.Signals, whom: "process" | "group" = "process"): void {
    process.kill(whom === "group" ? -this.pid : this.pid, name);
  }

  /** The end of what it said. */
  tail(): string {
    const said = `${this.#stderr}\n${this.#stdout}`.trim();
    return said.length > 600 ? `…${said.slice(-600)}` : said;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#child.exitCode === null && this.#child.signalCode === null) {
      this.#child.kill("SIGTERM");
      await within(stopMillisMax, this.#exited);
    }
    if ((await untilGone(this.mark, 0)).length > 0) {
      await untilGone(this.mark, goneMillisMax);
      killMarked(this.mark);
    }
  }
}

/** Runs a command to its end. */
export async function runCommand(
  file: string,
  args: readonly string[],
  options: CommandOptions & { readonly timeoutMillis: number },
): Promise<Ended> {
  await using command = new RunningCommand(file, args, options);
  return await command.ended(options.timeoutMillis);
}

/** The environment of this process without what npm, Node.js or an earlier mesh put there. */
export function plainEnvironment(): Record<string, string> {
  const isOurs = /^(npm_|NODE_(OPTIONS|ENV|PATH|COMPILE_CACHE|CHANNEL_)|TROTH_|DEMO_|LOAD_|PORT$|INIT_CWD$)/;
  const kept = Object.entries(process.env).filter(
    (pair): pair is [string, string] => pair[1] !== undefined && !isOurs.test(pair[0]),
  );
  return Object.fromEntries(kept);
}

async function within<Value>(timeoutMillis: number, promise: Promise<Value>): Promise<Value | "too late"> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<"too late">((resolve) => {
    timer = setTimeout(resolve, timeoutMillis, "too late" as const);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}
