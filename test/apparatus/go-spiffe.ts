import { buildGoPeer } from "./go-peer.ts";
import { LineProgram } from "./line-program.ts";

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
  readonly #program: LineProgram;

  private constructor(program: string) {
    this.#program = new LineProgram(program);
  }

  /** Builds it into a folder and starts it. */
  static async open(folder: string): Promise<GoSpiffe> {
    return new GoSpiffe(await buildGoPeer("spiffe-rules", folder));
  }

  /** What is wrong with it, in go-spiffe's words; empty where nothing is. */
  async errorIn(job: GoSpiffeJob): Promise<string> {
    const chain = "chain" in job ? job.chain.map((der) => Buffer.from(der).toString("base64")) : undefined;
    const { error } = await this.#program.ask<{ readonly error: string }>({ ...job, chain });
    return error;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#program[Symbol.asyncDispose]();
  }
}
