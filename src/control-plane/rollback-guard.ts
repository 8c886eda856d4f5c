import { sameBytes } from "../base/bytes.ts";
import type { Log } from "../base/log.ts";
import { checkCheckpoint, type NoteVerifier } from "../trust-log/index.ts";
import type { FollowerRegistry } from "./follower-registry.ts";
import type { LogWriter } from "./log-writer.ts";

/** How long after a start nothing is ordered unless every node has shown the newest tree that it keeps. */
const claimsMillisMax = 3_000;

/** What the guard needs. */
export interface RollbackGuardOptions {
  readonly writer: LogWriter;
  readonly logKey: NoteVerifier;
  readonly registry: Pick<FollowerRegistry, "raise">;
  readonly log: Log;
  /** The checkpoint beside the published tiles, if there is one: the first to know better than a disk that went back. */
  readonly published?: Uint8Array | undefined;
}

/** Alarms of the guard are kept apart from those of nodes and strangers, who must not push them out; no node has this name. */
const alarmSource = "/log";

/**
 * Keeps a control plane whose disk went back from signing a second tree of a size that it has signed before. A disk
 * cannot tell that it is an older copy of itself; followers can, and what they show is signed by the log's own key, so
 * that nobody else can stop the log with it. After a start, therefore, nothing is ordered until every node that the log
 * names has shown its newest checkpoint, or for a while; and once a larger tree was shown, nothing is ordered at all.
 */
export class RollbackGuard implements Disposable {
  readonly #options: RollbackGuardOptions;
  readonly #heard = new Set<string>();
  readonly #timer: NodeJS.Timeout;
  #isSettled = false;

  constructor(options: RollbackGuardOptions) {
    this.#options = options;
    this.#timer = setTimeout(() => this.#settle(), claimsMillisMax);
    if (options.published !== undefined)
      this.#judge(options.published, { whoShows: "the published tiles show", copy: "the tiles" });
    this.#settleIfAllHeard();
  }

  /** Whether what the disk says of the log may be published: it is known, or was waited for, and nobody knows better. */
  get isTrusted(): boolean {
    return this.#isSettled && !this.#options.writer.isHalted;
  }

  /** Takes what a node shows as the newest checkpoint that it keeps; empty where there is none. */
  hear(node: string, note: Uint8Array): void {
    this.#judge(note, { whoShows: `${node} shows`, copy: `the agent's folder of ${node}` });
    this.#heard.add(node);
    this.#settleIfAllHeard();
  }

  /** Takes what a caller shows whom the log does not name: an agent that joined after the disk's copy was made. */
  hearUnknown(note: Uint8Array): void {
    const whoShows = "an agent that this log does not know shows";
    this.#judge(note, { whoShows, copy: "the folder of a node's agent" });
  }

  [Symbol.dispose](): void {
    clearTimeout(this.#timer);
    if (!this.#isSettled) this.#options.writer.halt("closed before the nodes had shown what they have");
  }

  #judge(note: Uint8Array, { whoShows, copy }: { readonly whoShows: string; readonly copy: string }): void {
    if (note.byteLength === 0) return;
    const { writer, logKey, registry, log } = this.#options;
    const shown = checkCheckpoint(note, logKey);
    // Of an earlier generation, which is over, or forged.
    if (!shown.ok) return;
    const ownSize = writer.newest?.size ?? 0;
    if (shown.value.size > ownSize) {
      const detail = `the control plane's log went back from ${shown.value.size} entries, which ${whoShows}, to ${ownSize}; it orders nothing any more: stop it and run: troth log recover --from FOLDER, with ${copy}`;
      registry.raise(alarmSource, "log-rolled-back", detail);
      // Nodes come back every second.
      if (writer.isHalted) return;
      writer.halt(detail);
      log.error("the trust log on disk went back; nothing is ordered", {
        from: shown.value.size,
        to: ownSize,
        whoShows,
        remedy: "stop the control plane and run: troth log recover --from FOLDER",
      });
    } else if (!sameBytes(writer.tree.root(shown.value.size), shown.value.root)) {
      const detail = `${whoShows} another tree of ${shown.value.size} entries under the log's own key: whoever has that key has signed two histories; see troth log recover --size`;
      registry.raise(alarmSource, "log-forked", detail);
      log.error("the trust log was forked", { size: shown.value.size, whoShows });
    }
  }

  #settleIfAllHeard(): void {
    for (const [node] of this.#options.writer.state.nodes.entries()) if (!this.#heard.has(node)) return;
    this.#settle();
  }

  #settle(): void {
    if (this.#isSettled) return;
    clearTimeout(this.#timer);
    this.#isSettled = true;
    const { writer, log } = this.#options;
    const missing = [...writer.state.nodes.entries()].filter(([node]) => !this.#heard.has(node)).length;
    if (missing > 0) log.warn("ordering though not every node has shown its newest checkpoint", { missing });
    writer.begin();
  }
}
