import { create } from "@bufbuild/protobuf";
import { hexOf } from "../../base/bytes.ts";
import { MeshError } from "../../base/mesh-error.ts";
import { softwareVersion } from "../../base/software-version.ts";
import { generateEd25519, sha256 } from "../../crypto/index.ts";
import { type FollowerStatus, FollowerStatusSchema } from "../../protocol/index.ts";
import { DueRenewals, type IssuedChain, type SvidInUse, SvidKeeper } from "../../transport/index.ts";
import { entryRevision, verifierKeyOf } from "../../trust-log/index.ts";
import type { AgentPort } from "./agent-port.ts";
import type { WorkloadEntry } from "./entitled-workloads.ts";

const callTimeoutMillis = 10_000;

/** An instance of a service whose key the agent holds for the callers of one entry. */
export class WorkloadIdentity implements Disposable {
  readonly instance: string;
  readonly entry: WorkloadEntry;
  /** By pid and start, the processes that have it, with how many calls of each. */
  readonly holders = new Map<string, number>();
  readonly #agent: AgentPort;
  readonly #auditKey: string;
  readonly #closing = new AbortController();
  readonly #leave: () => void;
  #keeper: SvidKeeper | undefined;
  #renewals: DueRenewals | undefined;
  /** Whether the log has shown the instance, so that its absence says that it was taken away. */
  #wasRegistered = false;

  /** Throws where the agent has no place for another instance. */
  constructor(agent: AgentPort, entry: WorkloadEntry, changed: () => void) {
    this.#agent = agent;
    this.entry = entry;
    this.instance = uuidOf(agent.randomBytes(16));
    const leave = agent.arrive(this.instance);
    if (leave === false) throw new MeshError("ERR_NODE_AGENT_FULL", "too many instances on this node");
    this.#leave = leave;
    const { clock, random, log } = agent;
    this.#auditKey = verifierKeyOf({
      name: `${agent.trustDomain()}/audit/${this.instance}`,
      ...generateEd25519(),
    });
    const rotated = (): void => {
      this.report();
      changed();
    };
    const opening = SvidKeeper.open({
      request: (certificateRequest, generation) => this.#issue(certificateRequest, generation),
      rotated,
      clock,
      random,
      log,
      signal: this.#closing.signal,
    });
    opening.then(
      (keeper) => {
        if (this.#closing.signal.aborted) {
          keeper[Symbol.dispose]();
          return;
        }
        this.#keeper = keeper;
        this.#renewals = new DueRenewals(keeper, clock);
        rotated();
      },
      () => {
        // Closed before the first one came; it asks again and again until then.
      },
    );
  }

  /** The SVID in use; undefined before the first, and while the log does not name it or its time is over. */
  get svid(): SvidInUse | undefined {
    const svid = this.#keeper?.current;
    if (svid === undefined || svid.notAfterSeconds <= this.#agent.clock.nowSeconds()) return undefined;
    return this.#state.certificates.has(svid.sha256) ? svid : undefined;
  }

  /** Whether people have taken this instance's identity for ever. */
  get isRevoked(): boolean {
    return this.#state.revocations.has(`instance:${this.instance}`);
  }

  /** Whether the log has forgotten the instance, so that another has to take its place. */
  get isGone(): boolean {
    return this.#wasRegistered && !this.#state.instances.has(this.instance);
  }

  /** Whether the log knows the instance. */
  get isRegistered(): boolean {
    return this.#state.instances.has(this.instance);
  }

  /** The log has changed: a certificate that it does not name any more, or wants replaced, is. */
  stepped(): void {
    this.#wasRegistered ||= this.isRegistered;
    if (this.#keeper === undefined || !this.isRegistered) return;
    this.#renewals?.stepped(this.#state);
    this.report();
  }

  /** Tells the control plane how far the instance is. */
  report(): void {
    const svid = this.#keeper?.current;
    if (svid === undefined) return;
    this.#agent.report([this.#status(svid)]);
  }

  [Symbol.dispose](): void {
    this.#closing.abort();
    this.#keeper?.[Symbol.dispose]();
    this.#leave();
  }

  get #state(): ReturnType<AgentPort["view"]>["follower"]["state"] {
    return this.#agent.view().follower.state;
  }

  /** Resolves once the agent's own view of the log names the certificate. */
  async #issue(certificateRequest: Uint8Array, generation: number): Promise<IssuedChain> {
    const upstream = this.#agent.upstream();
    if (upstream === undefined) throw new MeshError("ERR_NODE_AGENT_ALONE", "the control plane is not there");
    const issued = await upstream.issueSvid(
      {
        instance: this.instance,
        service: this.entry.service,
        certificateRequest,
        auditKey: this.#auditKey,
        generation,
      },
      { timeoutMs: callTimeoutMillis, signal: this.#closing.signal },
    );
    const certificate = hexOf(sha256(issued.chain[0] ?? new Uint8Array(0)));
    const isNamed = (): boolean => this.#state.certificates.has(certificate);
    if (!(await this.#agent.view().waitUntil(isNamed, callTimeoutMillis)))
      throw new MeshError("ERR_NODE_AGENT_UNNAMED", "the log does not show the issuance");
    this.#wasRegistered = true;
    return issued;
  }

  #status(svid: SvidInUse): FollowerStatus {
    const view = this.#agent.view();
    return create(FollowerStatusSchema, {
      instance: this.instance,
      service: this.entry.service,
      size: BigInt(view.follower.size),
      stalenessSeconds: view.stalenessSeconds,
      certificateNotAfterSeconds: BigInt(svid.notAfterSeconds),
      softwareVersion,
      entryRevision,
      role: "workload",
    });
  }
}

/** A UUID of version 4 (RFC 9562, section 5.4). */
function uuidOf(bytes: Uint8Array): string {
  const random = Uint8Array.from(bytes);
  random[6] = ((random[6] ?? 0) & 0x0f) | 0x40;
  random[8] = ((random[8] ?? 0) & 0x3f) | 0x80;
  const hex = hexOf(random);
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join("-");
}
