import { type Client, createClient } from "@connectrpc/connect";
import { hexOf } from "../base/bytes.ts";
import type { Clock } from "../base/clock.ts";
import type { Log } from "../base/log.ts";
import { MeshError } from "../base/mesh-error.ts";
import { sha256 } from "../crypto/index.ts";
import { type Alarm, type FollowerStatus, isSameStatus, Mesh, protocolVersion } from "../protocol/index.ts";
import { type IssuedChain, keepFollowing, type LogView, openRpcConnection } from "../transport/index.ts";
import type { RelayQuestion } from "./ask-token-issuer.ts";

/** How often it is looked whether there is something to report; each epoch is, so a report comes every 10 s at least. */
const reportIntervalMillis = 1_000;
const newsDelayMillis = 20;
/** For each instance of the mesh: so many may share this machine's processors. */
const delayPerInstanceMillis = 1;
const instancesDelayedForMax = 100;
const callTimeoutMillis = 10_000;
const alarmsMax = 64;
/** A request waits for the answer. */
const questionTimeoutMillis = 3_000;

/** What the link to the agent needs. */
export interface AgentLinkOptions {
  readonly socketPath: string;
  readonly instance: string;
  readonly view: LogView;
  readonly clock: Clock;
  readonly random: () => number;
  readonly log: Log;
  /** What this proxy reports of itself; undefined while there is nothing to report. */
  readonly status: () => FollowerStatus | undefined;
}

/** The proxy's side of the connection to its node agent, kept up through the agent's restarts. */
export class AgentLink implements AsyncDisposable {
  readonly #options: AgentLinkOptions;
  readonly #closing = new AbortController();
  readonly #following: Promise<void>;
  readonly #timer: NodeJS.Timeout;
  #client: Client<typeof Mesh> | undefined;
  #alarms: Alarm[] = [];
  /** What the agent at the other end was last told. */
  #told: FollowerStatus | undefined;
  #soon: NodeJS.Timeout | undefined;

  constructor(options: AgentLinkOptions) {
    this.#options = options;
    this.#following = keepFollowing((signal) => this.#followOnce(signal), {
      ...options,
      signal: this.#closing.signal,
    });
    this.#timer = setInterval(() => this.#reportNews(), reportIntervalMillis);
  }

  /**
   * Asks the control plane, through the agent, for a certificate, and waits until this proxy's own view of the trust
   * log names it; throws when none can be had now.
   */
  async issueSvid(request: {
    readonly service: string;
    readonly certificateRequest: Uint8Array;
    readonly auditKey: string;
    /** That it holds; 0 before the first. */
    readonly generation: number;
  }): Promise<IssuedChain> {
    if (this.#client === undefined)
      throw new MeshError("ERR_DATA_PLANE_AGENT", "the node agent is not there");
    const { instance, view } = this.#options;
    const issued = await this.#client.issueSvid({ ...request, instance }, { timeoutMs: callTimeoutMillis });
    const certificate = hexOf(sha256(issued.chain[0] ?? new Uint8Array(0)));
    const isNamed = (): boolean => view.follower.state.certificates.has(certificate);
    if (!(await view.waitUntil(isNamed, callTimeoutMillis)))
      throw new MeshError("ERR_DATA_PLANE_AGENT", "the agent's log does not show the issuance");
    return { chain: issued.chain, generation: issued.generation };
  }

  /** Has the issuer enter what this instance has signed about a prefix; the log's size with it, which the view then has. */
  async handOnPrefix(kind: string, body: Uint8Array): Promise<number> {
    if (this.#client === undefined)
      throw new MeshError("ERR_DATA_PLANE_AGENT", "the node agent is not there");
    const { size } = await this.#client.handOnPrefix({ kind, body }, { timeoutMs: callTimeoutMillis });
    const { view } = this.#options;
    await view.waitUntil(() => view.follower.size >= Number(size), callTimeoutMillis);
    return Number(size);
  }

  /** Asks the control plane, through the agent, for the revocation lists (DER); throws when none can be had now. */
  async readRevocationLists(): Promise<readonly Uint8Array[]> {
    if (this.#client === undefined)
      throw new MeshError("ERR_DATA_PLANE_AGENT", "the node agent is not there");
    return (await this.#client.readRevocationLists({}, { timeoutMs: callTimeoutMillis })).lists;
  }

  /** Hands a question to the issuer of request tokens on, unread by the agent; throws where no answer comes. */
  async askRequestTokenIssuer(
    request: Parameters<RelayQuestion>[0],
  ): Promise<Awaited<ReturnType<RelayQuestion>>> {
    if (this.#client === undefined)
      throw new MeshError("ERR_DATA_PLANE_AGENT", "the node agent is not there");
    return this.#client.askRequestTokenIssuer(request, { timeoutMs: questionTimeoutMillis });
  }

  /** Keeps an alarm for the next report. */
  alarm(alarm: Alarm): void {
    this.#alarms = [...this.#alarms, alarm].slice(-alarmsMax);
  }

  /**
   * Reports within a moment, together with whatever else comes until then. The moment is longer where there are many: all
   * get a step at once, and a receipt can wait until others have cut what the step revoked.
   */
  reportSoon(): void {
    this.#soon ??= setTimeout(() => {
      this.#soon = undefined;
      void this.report();
    }, newsDelayOf(this.#options.view.follower.state.instances.size));
  }

  /** Says how far this proxy is and where it serves, now rather than within a second. */
  async report(): Promise<void> {
    const status = this.#options.status();
    const client = this.#client;
    if (client === undefined || status === undefined) return;
    const alarms = this.#alarms;
    try {
      await client.report({ followers: [status], alarms }, { timeoutMs: callTimeoutMillis });
      if (this.#client === client) this.#told = status;
      this.#alarms = this.#alarms.filter((alarm) => !alarms.includes(alarm));
    } catch {
      // Tried again within a second; a lost agent is noticed by the stream.
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    clearInterval(this.#timer);
    clearTimeout(this.#soon);
    this.#closing.abort();
    await this.#following;
  }

  #reportNews(): void {
    const status = this.#options.status();
    if (status === undefined || (this.#alarms.length === 0 && isSameStatus(status, this.#told))) return;
    void this.report();
  }

  async #followOnce(signal: AbortSignal): Promise<void> {
    const { socketPath, instance, view, log } = this.#options;
    using connection = await openRpcConnection({ kind: "unix", path: socketPath });
    const client = createClient(Mesh, connection.transport);
    this.#client = client;
    this.#told = undefined;
    try {
      const request = { ...view.begin(), instance, protocolVersion };
      for await (const update of client.follow(request, { signal })) {
        const taken = await view.take(update);
        if (taken.ok) continue;
        // Nothing is believed because the agent says so; a lying one is left alone until it tells the truth.
        log.error("the agent's log was refused", { reason: taken.reason, detail: taken.detail });
        // Another relay would say the same, and away from this one nobody could call here.
        if (view.standstill !== undefined) {
          log.error("the trust log cannot be followed any more", { why: view.standstill });
          continue;
        }
        throw new MeshError("ERR_DATA_PLANE_AGENT", `${taken.reason}: ${taken.detail}`);
      }
    } finally {
      this.#client = undefined;
    }
  }
}

/** How long news waits in a mesh of so many instances, in milliseconds. */
export function newsDelayOf(instances: number): number {
  return newsDelayMillis + Math.min(instances, instancesDelayedForMax) * delayPerInstanceMillis;
}
