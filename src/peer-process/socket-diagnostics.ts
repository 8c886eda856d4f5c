import { type ChildProcessByStdio, spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { isIPv4, isIPv6, Socket } from "node:net";
import type { Readable, Writable } from "node:stream";
import type { ConnectionEnd, ConnectionRow, SoughtConnection } from "./connection-row.ts";
import { socketStatistics } from "./system-program.ts";

/** Sought at a time; for more, one look through the table costs less. */
const soughtMax = 16;
const answerMillisMax = 1_000;
const answerBytesMax = 64 * 1024;
const shell = "/bin/sh";
/** An empty line after each answer. Starting `ss` from here costs a copy of this process's page tables each time. */
const script = 'while IFS= read -r filter; do "$0" -tneH "$filter" 2>/dev/null; echo; done';

/**
 * Asks the kernel's socket diagnostics for single connections by way of `ss`, which passes over those that are over: some
 * milliseconds however long the table of connections is, in a process of its own that ends with this one.
 */
export class SocketDiagnostics implements Disposable {
  #shell: ChildProcessByStdio<Writable, Readable, null> | undefined;
  #asking: Promise<unknown> = Promise.resolve();

  /** The rows of those that are found, by their places; of none where `ss` is missing, fails or is slow. */
  find(sought: readonly SoughtConnection[]): Promise<ReadonlyMap<number, ConnectionRow>> {
    const rows = this.#asking.then(() => this.#find(sought));
    this.#asking = rows;
    return rows;
  }

  [Symbol.dispose](): void {
    this.#shell?.stdin.destroy();
    this.#shell?.kill();
    this.#shell = undefined;
  }

  async #find(sought: readonly SoughtConnection[]): Promise<ReadonlyMap<number, ConnectionRow>> {
    const found = new Map<number, ConnectionRow>();
    const filters = sought.map(filterFor);
    if (filters.length === 0 || filters.length > soughtMax || filters.includes(undefined)) return found;
    const answer = await this.#ask(filters.join(" or "));
    for (const line of answer?.split("\n") ?? []) {
      // What follows is of the process's own naming.
      const fields = line.replace(/ cgroup:.*$/, "").split(/\s+/);
      const [near, far] = [fields[3], fields[4]].map((end) =>
        end?.replace("[::ffff:", "[").replace(/[[\]]/g, ""),
      );
      const place = sought.findIndex((one) => spelled(one.near) === near && spelled(one.far) === far);
      const inode = numberIn(fields, "ino");
      if (place !== -1 && inode > 0) found.set(place, { uid: numberIn(fields, "uid"), inode });
    }
    return found;
  }

  /** What `ss` prints for a filter; undefined where it prints nothing in time. */
  #ask(filter: string): Promise<string | undefined> {
    const running = this.#start();
    if (running === undefined) return Promise.resolve(undefined);
    return new Promise((resolve) => {
      let text = "";
      const finish = (answer?: string): void => {
        clearTimeout(timer);
        running.stdout.removeAllListeners("data");
        running.off("exit", giveUp);
        // An answer that comes later must not be taken for that to the next question.
        if (answer === undefined) this[Symbol.dispose]();
        resolve(answer);
      };
      const giveUp = (): void => finish();
      const timer = setTimeout(giveUp, answerMillisMax);
      running.once("exit", giveUp);
      running.stdout.on("data", (chunk: Buffer) => {
        text += chunk.toString("latin1");
        if (text === "\n" || text.endsWith("\n\n")) finish(text);
        else if (text.length > answerBytesMax) giveUp();
      });
      running.stdin.write(`${filter}\n`);
    });
  }

  #start(): ChildProcessByStdio<Writable, Readable, null> | undefined {
    if (this.#shell !== undefined && this.#shell.exitCode === null) return this.#shell;
    const program = socketStatistics();
    if (program === undefined || !existsSync(shell)) return undefined;
    const started = spawn(shell, ["-c", script, program], { env: {}, stdio: ["pipe", "pipe", "ignore"] });
    const forget = (): void => {
      if (this.#shell === started) this.#shell = undefined;
    };
    started.on("error", forget).on("exit", forget);
    // The shell ends when its input does, as when this process has ended.
    started.stdin.on("error", forget);
    started.unref();
    for (const stream of [started.stdin, started.stdout]) if (stream instanceof Socket) stream.unref();
    this.#shell = started;
    return started;
  }
}

/** Addresses come from the kernel; whatever else they were would be read by a shell's child, not by the shell. */
function filterFor({ near, far }: SoughtConnection): string | undefined {
  const [source, destination] = [near, far].map((end) => {
    const address = plainAddress(end);
    if (isIPv4(address)) return `${address}:${end.port}`;
    return isIPv6(address) && !address.includes("%") ? `[${address}]:${end.port}` : undefined;
  });
  return source === undefined || destination === undefined
    ? undefined
    : `( src ${source} and dst ${destination} )`;
}

function spelled(end: ConnectionEnd): string {
  return `${plainAddress(end)}:${end.port}`;
}

function plainAddress({ address }: ConnectionEnd): string {
  return address.replace(/^::ffff:(?=[0-9.]+$)/i, "");
}

/** `uid` is left out where it is 0. */
function numberIn(fields: readonly string[], name: string): number {
  const field = fields.find((one) => one.startsWith(`${name}:`)) ?? "";
  return Number(/^[a-z]+:([0-9]+)$/.exec(field)?.[1] ?? 0);
}
