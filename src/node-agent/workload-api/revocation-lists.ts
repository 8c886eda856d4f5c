import { Code, ConnectError } from "@connectrpc/connect";
import { messageOf } from "../../base/mesh-error.ts";
import type { AgentPort } from "./agent-port.ts";

const callTimeoutMillis = 5_000;
/** However little is revoked, lists are fetched anew after this long, since they say themselves until when they count. */
const renewMillis = 300_000;
const retryMillis = 5_000;

/** The revocation lists of the authorities (RFC 5280, section 5), fetched whenever the log revokes something. */
export class RevocationLists implements Disposable {
  newest: readonly Uint8Array[] = [];
  readonly #agent: AgentPort;
  readonly #changed: () => void;
  readonly #stop: () => void;
  #fetchedFor = "";
  #dueMillis = 0;
  #isFetching = false;

  constructor(agent: AgentPort, changed: () => void) {
    this.#agent = agent;
    this.#changed = changed;
    this.#stop = agent.onChange(() => void this.#fetchIfDue());
    void this.#fetchIfDue();
  }

  [Symbol.dispose](): void {
    this.#stop();
  }

  /** Whoever follows the log sees an epoch every some seconds, so that this needs no timer of its own. */
  async #fetchIfDue(): Promise<void> {
    const { clock, log } = this.#agent;
    const upstream = this.#agent.upstream();
    const about = this.#revoked();
    const isDue = about !== this.#fetchedFor || clock.monotonicMillis() >= this.#dueMillis;
    if (upstream === undefined || this.#isFetching || !isDue) return;
    this.#isFetching = true;
    this.#fetchedFor = about;
    this.#dueMillis = clock.monotonicMillis() + renewMillis;
    try {
      const { lists } = await upstream.readRevocationLists({}, { timeoutMs: callTimeoutMillis });
      this.newest = lists;
      this.#changed();
    } catch (error) {
      // A control plane that is older than revocation lists has none.
      if (ConnectError.from(error).code === Code.Unimplemented) return;
      log.warn("no revocation lists", { error: messageOf(error) });
      this.#dueMillis = clock.monotonicMillis() + retryMillis;
    } finally {
      this.#isFetching = false;
    }
    if (about !== this.#revoked()) void this.#fetchIfDue();
  }

  /** Differs whenever the lists do. */
  #revoked(): string {
    const { revokedCertificates, certificateAuthorities } = this.#agent.view().follower.state;
    return `${revokedCertificates.digest()} ${certificateAuthorities.digest()}`;
  }
}
