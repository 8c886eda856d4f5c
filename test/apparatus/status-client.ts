import type { MeshDirectory } from "../../src/cli/mesh-directory.ts";
import { OperatorClient } from "../../src/cli/operator-client.ts";
import type { GetStatusResponse } from "../../src/protocol/index.ts";

const answerMillisMax = 5_000;
const reopenMillisMin = 500;

/** Asks for the status again and again over one connection: a command for each time would be most of the load. */
export class StatusClient implements Disposable {
  readonly #directory: MeshDirectory;
  #client: OperatorClient | undefined;
  #openedMillis = Number.NEGATIVE_INFINITY;

  constructor(directory: MeshDirectory) {
    this.#directory = directory;
  }

  /** Undefined while the control plane is not there. */
  async ask(): Promise<GetStatusResponse | undefined> {
    try {
      const client = this.#client ?? (await this.#open());
      return await client?.admin.getStatus({}, { timeoutMs: answerMillisMax });
    } catch {
      this[Symbol.dispose]();
      return undefined;
    }
  }

  [Symbol.dispose](): void {
    this.#client?.[Symbol.dispose]();
    this.#client = undefined;
  }

  async #open(): Promise<OperatorClient | undefined> {
    const now = performance.now();
    if (now - this.#openedMillis < reopenMillisMin) return undefined;
    this.#openedMillis = now;
    this.#client = await OperatorClient.open(this.#directory);
    return this.#client;
  }
}
