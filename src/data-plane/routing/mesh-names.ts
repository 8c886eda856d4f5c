import { create } from "@bufbuild/protobuf";
import { serviceNameOfAuthority } from "../../identity/index.ts";
import { type Endpoint, EndpointSchema } from "../../protocol/index.ts";
import { hostOfRemote, type TrustState } from "../../trust-log/index.ts";

/** Spellings of service names that are remembered. */
const namesMax = 1_000;

/** What the `Host` of a request names: a service of this trust domain, or one of a federated trust domain. */
export class MeshNames {
  /** Names by the `Host` that was understood as them. */
  readonly #names = new Map<string, string>();
  /** SPIFFE IDs of services of federated trust domains, by the `Host` that names them. */
  #remotes: ReadonlyMap<string, string> = new Map();
  #remotesDigest = "";

  /** The service's name or, of a federated trust domain, its SPIFFE ID; undefined for what is no name in a mesh. */
  of(host: string): string | undefined {
    const known = this.#names.get(host);
    if (known !== undefined) return known;
    const bare = host.replace(/:[0-9]+$/, "");
    const remote = this.#remotes.get(bare);
    if (remote !== undefined) return remote;
    const name = serviceNameOfAuthority(bare);
    if (this.#names.size >= namesMax) this.#names.clear();
    if (name !== undefined) this.#names.set(host, name);
    return name;
  }

  /** Takes note of the services of federated trust domains; gives whether they are others than before. */
  takeRemotes({ remotes }: TrustState): boolean {
    const digest = remotes.digest();
    if (digest === this.#remotesDigest) return false;
    this.#remotesDigest = digest;
    this.#remotes = new Map([...remotes.entries()].map(([id]) => [hostOfRemote(id), id]));
    return true;
  }
}

/** Where services of federated trust domains are; their instances are told apart by address alone. */
export function remoteEndpoints({ remotes }: TrustState): Endpoint[] {
  return [...remotes.entries()].flatMap(([id, { addresses }]) =>
    addresses.map((address) => create(EndpointSchema, { service: id, instance: id, address })),
  );
}
