import type { Log } from "../base/log.ts";
import type { LogFollower } from "../trust-log/index.ts";

/** What the trust log says of the node that an agent is for. */
export class OwnNode {
  readonly #node: string;
  readonly #log: Log;
  #told = "";

  constructor(node: string, log: Log) {
    this.#node = node;
    this.#log = log;
  }

  /** Why its sidecars can have no identities, for people; undefined where they can, or nothing is known yet. */
  missing({ state, hasCaughtUp }: LogFollower): string | undefined {
    if (!hasCaughtUp) return undefined;
    if (!state.nodes.has(this.#node))
      return `${this.#node} is no node of the mesh (any more): its identities are void; join again with a new token`;
    return state.holds.has(`node:${this.#node}`)
      ? `${this.#node} is held: it has no identities until an operator lifts that`
      : undefined;
  }

  /** Says in the process's log what has changed. */
  note(follower: LogFollower): void {
    const why = this.missing(follower) ?? "";
    if (why === this.#told) return;
    this.#told = why;
    if (why === "") this.#log.info("this node may have identities again");
    else this.#log.error("this node may have no identities", { why });
  }
}
