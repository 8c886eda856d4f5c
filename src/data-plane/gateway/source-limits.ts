import type { SourceLimitSettings } from "./gateway-settings.ts";

/** How many connections and requests each client address has now; addresses as `sourceOf` names them. */
export class SourceLimits {
  #settings: SourceLimitSettings;
  readonly #connections = new Map<string, number>();
  readonly #requests = new Map<string, number>();

  constructor(settings: SourceLimitSettings) {
    this.#settings = settings;
  }

  /** Holds whoever comes from now on to other numbers. */
  use(settings: SourceLimitSettings): void {
    this.#settings = settings;
  }

  /** Counts a connection; false, and uncounted, where it is one too many. */
  addConnection(source: string): boolean {
    return add(this.#connections, source, this.#settings.connectionsPerAddressMax);
  }

  /** The end of a connection that was counted. */
  removeConnection(source: string): void {
    remove(this.#connections, source);
  }

  /** Counts a request; false, and uncounted, where it is one too many. */
  addRequest(source: string): boolean {
    return add(this.#requests, source, this.#settings.requestsPerAddressMax);
  }

  /** The end of a request that was counted. */
  removeRequest(source: string): void {
    remove(this.#requests, source);
  }
}

function add(counts: Map<string, number>, source: string, max: number): boolean {
  const count = counts.get(source) ?? 0;
  if (count >= max) return false;
  counts.set(source, count + 1);
  return true;
}

function remove(counts: Map<string, number>, source: string): void {
  const left = (counts.get(source) ?? 1) - 1;
  if (left > 0) counts.set(source, left);
  else counts.delete(source);
}
