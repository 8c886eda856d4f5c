import { type ChildProcessWithoutNullStreams, spawn } from "node:child_process";
import { createInterface } from "node:readline";

/** A program that is running and answers each line of JSON with one, in order. */
export class LineProgram implements AsyncDisposable {
  readonly #process: ChildProcessWithoutNullStreams;
  readonly #waiting: ((line: string) => void)[] = [];
  readonly #ended: Promise<void>;

  constructor(program: string) {
    this.#process = spawn(program);
    this.#process.stderr.resume();
    this.#ended = new Promise((resolve) => this.#process.once("close", () => resolve()));
    createInterface({ input: this.#process.stdout }).on("line", (line) => this.#waiting.shift()?.(line));
  }

  /** The answer to a question, believed to be what the caller expects. */
  async ask<Answer>(question: object): Promise<Answer> {
    const line = await new Promise<string>((resolve, reject) => {
      this.#waiting.push(resolve);
      void this.#ended.then(() => reject(new Error("the program has ended")));
      this.#process.stdin.write(`${JSON.stringify(question)}\n`);
    });
    const answer: Answer = JSON.parse(line);
    return answer;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#process.stdin.end();
    await this.#ended;
  }
}
