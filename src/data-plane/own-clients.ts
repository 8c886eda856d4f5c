import type { Socket } from "node:net";
import { messageOf } from "../base/mesh-error.ts";
import { endsOf, type Membership, type ProcessTree } from "../peer-process/index.ts";
import type { ProxyContext } from "./proxy-context.ts";

/** What the audit log, metrics and the refused client are told. */
export const notOwnClient = "not-own-application";

/** What becomes of a connection once it is known who made it; exactly one is called, and none where it is over by then. */
export interface JudgedClient {
  readonly serve: () => void;
  /** With why, for people. */
  readonly refuse: (detail: string) => void;
}

/**
 * Has the listeners of a sidecar serve its own application only: each connection is judged once, when it is accepted, and
 * no byte of it is read before. One that is not of the application's process tree is counted, recorded and alarmed.
 */
export class OwnClients {
  readonly #tree: ProcessTree;
  readonly #context: Pick<ProxyContext, "refused" | "log">;

  constructor(tree: ProcessTree, context: Pick<ProxyContext, "refused" | "log">) {
    this.#tree = tree;
    this.#context = context;
  }

  /** Judges a connection that was accepted paused. */
  judge(socket: Socket, { serve, refuse }: JudgedClient): void {
    const ends = endsOf(socket);
    // A client may be gone before anybody listens for that.
    socket.on("error", () => {});
    if (ends === undefined) return void socket.destroy();
    void this.#tree.judge(ends).then((membership) => {
      if (socket.destroyed) return;
      try {
        if (membership.ok) return serve();
        if (membership.reason === "connection-over") return void socket.destroy();
        this.#note(membership);
        refuse(detailOf(membership));
      } catch (fault) {
        this.#context.log.error("fault while serving", { error: messageOf(fault) });
        socket.destroy();
      }
    });
  }

  #note(membership: Membership & { readonly ok: false }): void {
    const { reason, stranger } = membership;
    const { uid, pid, executable } = stranger ?? {};
    const user = uid === undefined ? reason : `user ${uid}`;
    this.#context.refused.note({
      direction: "outbound",
      reason: notOwnClient,
      detail: `${reason}: ${detailOf(membership)}${pid === undefined ? "" : ` (process ${pid})`}`,
      peer: executable === undefined ? user : `${user}, ${executable}`,
    });
  }
}

function detailOf({ detail, reason }: Membership & { readonly ok: false }): string {
  return detail === "" ? reason : detail;
}
