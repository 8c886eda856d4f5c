import type { TcpLimits } from "./tcp-limits.ts";

/** Counts the TCP connections that callers have to the application, so that none uses up the others' share. */
export class TcpShares {
  readonly #limits: Pick<TcpLimits, "connectionsMax" | "connectionsPerInstanceMax">;
  readonly #byInstance = new Map<string, number>();
  #size = 0;

  constructor(limits: Pick<TcpLimits, "connectionsMax" | "connectionsPerInstanceMax">) {
    this.#limits = limits;
  }

  /** How many there are. */
  get size(): number {
    return this.#size;
  }

  /** Takes one up, unless there are too many of this calling instance or of all. */
  add(instance: string): boolean {
    const { connectionsMax, connectionsPerInstanceMax } = this.#limits;
    const ofInstance = this.#byInstance.get(instance) ?? 0;
    if (this.#size >= connectionsMax || ofInstance >= connectionsPerInstanceMax) return false;
    this.#byInstance.set(instance, ofInstance + 1);
    this.#size += 1;
    return true;
  }

  /** Lets go of one that was taken up. */
  remove(instance: string): void {
    const left = (this.#byInstance.get(instance) ?? 1) - 1;
    if (left > 0) this.#byInstance.set(instance, left);
    else this.#byInstance.delete(instance);
    this.#size -= 1;
  }
}
