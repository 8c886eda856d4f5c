import { setTimeout as sleep } from "node:timers/promises";
import { killMarked, processesMarked, signal, untilGone } from "./marked-processes.ts";
import type { RunningCommand } from "./running-command.ts";

const restartMillis = 100;
const stopMillisMax = 5_000;
/** The longest that a timer takes. */
const foreverMillis = 2_000_000_000;

/**
 * A command that is started again whenever it has ended, as systemd does it with `Restart=always`: what is left of the
 * unit is asked to end, and killed when it does not.
 */
export class RestartAlways implements AsyncDisposable {
  readonly name: string;
  readonly #start: () => RunningCommand;
  #command: RunningCommand;
  #isStopping = false;
  readonly #looping: Promise<void>;

  constructor(name: string, start: () => RunningCommand) {
    this.name = name;
    this.#start = start;
    this.#command = start();
    this.#looping = this.#loop();
  }

  /** The present one. */
  get command(): RunningCommand {
    return this.#command;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isStopping = true;
    await this.#command[Symbol.asyncDispose]();
    await this.#looping;
  }

  async #loop(): Promise<void> {
    for (;;) {
      const { mark } = this.#command;
      await this.#command.ended(foreverMillis);
      for (const { pid } of processesMarked(mark)) signal(pid, "SIGTERM");
      await untilGone(mark, stopMillisMax);
      killMarked(mark);
      await sleep(restartMillis);
      if (this.#isStopping) return;
      this.#command = this.#start();
    }
  }
}
