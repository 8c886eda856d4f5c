import type { ForwardingFailure } from "../forwarding/index.ts";
import type { TcpLimits } from "./tcp-limits.ts";

/** A TCP connection to the application that can be broken at once. */
export interface Breakable {
  fail(failure: ForwardingFailure, detail: string): void;
}

/** Who decides for one connection of a peer, which may carry many TCP connections. */
export interface TunnelDecider {
  /** The peer's instance. */
  readonly instance: string;
  /** Decides on TCP connections by what is in force now; a denial is recorded, with how many connections it cuts. */
  decideOpenTcp(openCount: number): "allow" | "deny";
}

/**
 * The open TCP connections to the application, by who decides on them: all of a peer are judged again when the rules
 * may have changed, and cut where they would not be opened now.
 */
export class OpenTunnels {
  readonly #limits: TcpLimits;
  readonly #onFault: (fault: unknown) => void;
  readonly #byDecider = new Map<TunnelDecider, Set<Breakable>>();
  readonly #byInstance = new Map<string, number>();
  #size = 0;

  constructor(limits: TcpLimits, onFault: (fault: unknown) => void) {
    this.#limits = limits;
    this.#onFault = onFault;
  }

  /** How many there are. */
  get size(): number {
    return this.#size;
  }

  /** Takes one up, unless there are too many of this peer or of all. */
  add(decider: TunnelDecider, tunnel: Breakable): boolean {
    const { connectionsMax, connectionsPerInstanceMax } = this.#limits;
    const ofInstance = this.#byInstance.get(decider.instance) ?? 0;
    if (this.#size >= connectionsMax || ofInstance >= connectionsPerInstanceMax) return false;
    const tunnels = this.#byDecider.get(decider) ?? new Set();
    this.#byDecider.set(decider, tunnels.add(tunnel));
    this.#byInstance.set(decider.instance, ofInstance + 1);
    this.#size += 1;
    return true;
  }

  /** Forgets one that is over; of no effect where it was never taken up. */
  remove(decider: TunnelDecider, tunnel: Breakable): void {
    const tunnels = this.#byDecider.get(decider);
    if (tunnels?.delete(tunnel) !== true) return;
    if (tunnels.size === 0) this.#byDecider.delete(decider);
    const left = (this.#byInstance.get(decider.instance) ?? 1) - 1;
    if (left > 0) this.#byInstance.set(decider.instance, left);
    else this.#byInstance.delete(decider.instance);
    this.#size -= 1;
  }

  /** Cuts what would not be opened now; says how many that were. */
  decideAgain(): number {
    let cut = 0;
    for (const [decider, tunnels] of this.#byDecider) {
      if (decider.decideOpenTcp(tunnels.size) === "allow") continue;
      for (const tunnel of tunnels) {
        this.#cut(tunnel);
        cut += 1;
      }
    }
    return cut;
  }

  /** A fault over one must not leave the others open. */
  #cut(tunnel: Breakable): void {
    try {
      tunnel.fail("no-longer-allowed", "");
    } catch (fault) {
      this.#onFault(fault);
    }
  }
}
