import { type ChildProcessWithoutNullStreams, spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { buildGoPeer } from "./go-peer.ts";

/** Something for go-spiffe to judge; bundles are SPIFFE bundles (JSON) by trust domain, chains DER. */
export type GoSpiffeJob =
  | { readonly kind: "id"; readonly text: string }
  | { readonly kind: "bundle"; readonly bundles: Readonly<Record<string, string>> }
  | {
      readonly kind: "jwt";
      readonly text: string;
      readonly audience: string;
      readonly bundles: Readonly<Record<string, string>>;
    }
  | { readonly kind: "wit"; readonly text: string; readonly bundles: Readonly<Record<string, string>> }
  | {
      readonly kind: "x509";
      readonly chain: readonly Uint8Array[];
      readonly bundles: Readonly<Record<string, string>>;
    };

/** go-spiffe as a judge: the program in `test/peers/spiffe-rules`, running. */
export class GoSpiffe implements AsyncDisposable {
  readonly #process: ChildProcessWithoutNullStreams;
  readonly #waiting: ((line: string) => void)[] = [];
  readonly #ended: Promise<void>;

  private constructor(program: string) {
    this.#process = spawn(program);
    this.#process.stderr.resume();
    this.#ended = new Promise((resolve) => this.#process.once("close", () => resolve()));
    createInterface({ input: this.#process.stdout }).on("line", (line) => this.#waiting.shift()?.(line));
  }

  /** Builds it into a folder and starts it. */
  static async open(folder: string): Promise<GoSpiffe> {
    return new GoSpiffe(await buildGoPeer("spiffe-rules", folder));
  }

  /** What is wrong with it, in go-spiffe's words; empty where nothing is. */
  async errorIn(job: GoSpiffeJob): Promise<string> {
    const chain = "chain" in job ? job.chain.map((der) => Buffer.from(der).toString("base64")) : undefined;
    const line = await new Promise<string>((resolve, reject) => {
      this.#waiting.push(resolve);
      void this.#ended.then(() => reject(new Error("the Go program has ended")));
      this.#process.stdin.write(`${JSON.stringify({ ...job, chain })}\n`);
    });
    const { error }: { readonly error: string } = JSON.parse(line);
    return error;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#process.stdin.end();
    await this.#ended;
  }
}
