import { fail, ok, type Result } from "../../base/result.ts";
import type { Endpoint } from "../../protocol/index.ts";
import type { SvidInUse } from "../../transport/index.ts";
import type { PeerRefusal } from "../check-peer.ts";
import type { ProxyContext } from "../proxy-context.ts";
import { checkEndpoint, type DialRefusal, dialPeer } from "../routing/index.ts";
import type { RouterLimits } from "./router-limits.ts";

/** Instances that are remembered, whether they were found or not. */
const destinationsMax = 10_000;

/** Why an instance is not where it is said to be, as far as can be told. */
export type DestinationRefusal = PeerRefusal | DialRefusal | "too-many-looks";

interface Looked {
  readonly result: Result<void, DestinationRefusal>;
  readonly untilMillis: number;
}

/**
 * Knows which instances are where the list of endpoints has them. The list is hearsay: whoever could put another address
 * on it would reach whatever this router reaches. So the router looks for itself, as any caller would, by mutual TLS.
 */
export class Destinations {
  readonly #context: ProxyContext;
  readonly #svid: () => SvidInUse;
  readonly #limits: RouterLimits;
  readonly #looked = new Map<string, Looked>();
  readonly #looking = new Map<string, Promise<Result<void, DestinationRefusal>>>();

  constructor(context: ProxyContext, svid: () => SvidInUse, limits: RouterLimits) {
    this.#context = context;
    this.#svid = svid;
    this.#limits = limits;
  }

  /** Whether this very instance is at its address now, or was a moment ago. */
  find(endpoint: Endpoint): Result<void, DestinationRefusal> | Promise<Result<void, DestinationRefusal>> {
    const key = `${endpoint.instance} ${endpoint.address}`;
    const looked = this.#looked.get(key);
    if (looked !== undefined && looked.untilMillis > this.#context.clock.monotonicMillis())
      return looked.result;
    const looking = this.#looking.get(key);
    if (looking !== undefined) return looking;
    if (this.#looking.size >= this.#limits.looksMax)
      return fail("too-many-looks", `${this.#limits.looksMax} other instances are being looked for`);
    const begun = this.#look(endpoint).then((result) => {
      this.#remember(key, result);
      return result;
    });
    this.#looking.set(key, begun);
    return begun.finally(() => this.#looking.delete(key));
  }

  async #look(endpoint: Endpoint): Promise<Result<void, DestinationRefusal>> {
    const signal = AbortSignal.timeout(this.#limits.lookMillis);
    const dialed = await dialPeer(endpoint.address, this.#svid(), { signal });
    if (!dialed.ok) return dialed;
    const socket = dialed.value;
    const checked = await checkEndpoint(this.#context, socket, endpoint);
    socket.destroy();
    if (checked.ok) return ok(undefined);
    const { reason, detail } = checked;
    this.#context.refused.note({ direction: "outbound", reason, detail, peer: endpoint.address });
    return checked;
  }

  #remember(key: string, result: Result<void, DestinationRefusal>): void {
    const { foundMillis, missedMillis } = this.#limits;
    if (this.#looked.size >= destinationsMax) this.#looked.clear();
    const untilMillis = this.#context.clock.monotonicMillis() + (result.ok ? foundMillis : missedMillis);
    this.#looked.set(key, { result, untilMillis });
  }
}
