import { serviceNameOfAuthority } from "../identity/index.ts";
import { matchPrefix, type TrustState } from "../trust-log/index.ts";

/** Whose proxy is asked, and what it knows of the log. */
interface AskedContext {
  readonly service: string;
  readonly view: { readonly follower: { readonly size: number; readonly state: TrustState } };
}

/**
 * What the requests of one connection ask for, as rules name it: the prefix that the log has their authority in, if
 * this proxy's service holds it; whether the instance serves that is for {@link PeerDecider} to ask. An authority that
 * is no name of the mesh asks for the service itself; one in another spelling than ours is not taken for either, since
 * the application might read it as a name.
 */
export class AskedDestination {
  readonly #context: AskedContext;
  /** The last authority that was looked up, with what it asks for, at this size of the log. */
  #host = "";
  #destination: string | undefined;
  #size = -1;

  constructor(context: AskedContext) {
    this.#context = context;
    this.#destination = context.service;
  }

  /** What an authority (with or without port) asks for; undefined where that is nothing of this service's. */
  of(host: string): string | undefined {
    const { size } = this.#context.view.follower;
    if (host === this.#host && size === this.#size) return this.#destination;
    this.#host = host;
    this.#size = size;
    this.#destination = this.#lookUp(host.replace(/:[0-9]*$/, ""));
    return this.#destination;
  }

  #lookUp(host: string): string | undefined {
    const { service, view } = this.#context;
    if (!/\.mesh\.*$/i.test(host)) return service;
    const name = serviceNameOfAuthority(host);
    if (name === undefined) return undefined;
    if (name === service) return service;
    const match = matchPrefix(view.follower.state, name);
    return match?.holder === service ? match.prefix : undefined;
  }
}
