import type { Log } from "../base/log.ts";
import type { LogView } from "../transport/index.ts";

/** What the trust log says of the node that an agent is of. */
export class OwnNode {
  readonly #node: string;
  readonly #view: () => LogView;
  readonly #log: Log;
  #told = "";

  constructor(node: string, view: () => LogView, log: Log) {
    this.#node = node;
    this.#view = view;
    this.#log = log;
  }

  /** Why the node's instances can have no identities; undefined where they may, and before anything is known. */
  get whyNoIdentities(): string | undefined {
    const { state, hasCaughtUp } = this.#view().follower;
    if (!hasCaughtUp) return undefined;
    if (!state.nodes.has(this.#node))
      return `${this.#node} is no node of the mesh (any more): its identities are void; join again with a new token`;
    return state.holds.has(`node:${this.#node}`)
      ? `${this.#node} is held: it has no identities until an operator lifts that`
      : undefined;
  }

  /** The log has changed: says in this process's log what has become of the node, once. */
  stepped(): void {
    const why = this.whyNoIdentities ?? "";
    if (why === this.#told) return;
    this.#told = why;
    if (why === "") this.#log.info("this node may have identities again");
    else this.#log.error("this node may have no identities", { why });
  }
}
