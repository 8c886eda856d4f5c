import { randomUUID } from "node:crypto";
import { create } from "@bufbuild/protobuf";
import { hexOf } from "../../src/base/bytes.ts";
import { exportPublicKey, generateP256, type KeyPair, sha256 } from "../../src/crypto/index.ts";
import { Tally } from "../../src/data-plane/proxy-metrics.ts";
import { Balancer, type Member } from "../../src/data-plane/routing/balancer.ts";
import { signAdvertisement } from "../../src/data-plane/routing/index.ts";
import { type PrefixInstance, PrefixRoutes } from "../../src/data-plane/routing/prefix-routes.ts";
import { type Endpoint, EndpointSchema } from "../../src/protocol/index.ts";
import { type InstanceRow, TrustState } from "../../src/trust-log/index.ts";
import { silentLog } from "../fakes/silent-log.ts";

/** A registered instance that can sign what it says. */
export interface Advertiser {
  readonly instance: string;
  readonly service: string;
  readonly address: string;
  readonly key: KeyPair;
}

const log = "genesis";

/** Shows whom it was given to choose between. */
export class SeenBalancer extends Balancer<PrefixInstance["link"]> {
  members: readonly Member<PrefixInstance["link"]>[] = [];

  override setMembers(members: readonly Member<PrefixInstance["link"]>[], hasZone: boolean): void {
    this.members = members;
    super.setMembers(members, hasZone);
  }
}

/** The route table of one proxy, in a trust domain with as many prefixes and instances as asked for. */
export class ManyPrefixes {
  readonly state: TrustState = new TrustState();
  readonly refused: Tally = new Tally();
  readonly alarms: string[] = [];
  readonly advertisers: Advertiser[] = [];
  /** In the order of the prefixes that were asked for. */
  readonly balancers: SeenBalancer[] = [];
  readonly routes: PrefixRoutes;
  readonly #instances = new Map<string, PrefixInstance>();
  #sequence = 0;

  /** Each instance is of a service of its own, among which the prefixes are shared out. */
  constructor(prefixes: number, instances: number) {
    const staleness = { degradeAfterSeconds: 1, refuseAfterSeconds: 1 };
    const both = { newHandshake: staleness, openConnection: staleness };
    this.state.domain.set("", {
      genesis: log,
      trustDomain: "example.org",
      isTestDomain: false,
      logKey: "",
      recoveredSizes: [],
      epochNumber: 0,
      epochTimeSeconds: 0,
      staleness: { public: both, internal: both, confidential: both, restricted: both },
    });
    for (let number = 0; number < instances; number += 1)
      this.advertisers.push(this.register(`/service/n${number}`));
    for (let number = 0; number < prefixes; number += 1) {
      const holder = this.advertisers[number % instances]?.service ?? "";
      const granted = { holder, depthMax: 2, mayDelegate: false, notAfterSeconds: 0 };
      this.state.prefixes.set(prefixNamed(number), { ...granted, index: 1, under: "", sequence: 0 });
    }
    const state = this.state;
    const clock = { monotonicMillis: () => performance.now(), nowSeconds: () => 0 };
    this.routes = new PrefixRoutes(
      {
        clock,
        log: silentLog,
        alarm: (reason, detail) => this.alarms.push(`${reason} ${detail}`),
        dangerBelieveAdvertisements: false,
        metrics: { refusedAdvertisements: this.refused },
        view: {
          follower: {
            size: 1,
            get state() {
              return state;
            },
          },
        },
      },
      {
        instanceOf: (instance) => this.#instances.get(instance),
        openBalancer: () => {
          const balancer = new SeenBalancer({
            clock,
            random: () => 0,
            zones: { same: 0, other: 0 },
            observer: { onEjected: () => {}, onReturned: () => {} },
          });
          this.balancers.push(balancer);
          return balancer;
        },
        hasZone: () => false,
      },
    );
  }

  /** An instance of a service of that name, in the log. */
  register(service: string): Advertiser {
    const advertiser = {
      instance: randomUUID(),
      service,
      address: `192.0.2.1:${10_000 + this.#instances.size}`,
      key: generateP256(),
    };
    const about = { dataClass: "internal", team: "", environment: "", labels: {} } as const;
    this.state.services.set(service, { nodes: ["*"], ...about });
    this.state.instances.set(advertiser.instance, instanceRowOf(service, advertiser.key));
    // What is chosen between is never asked here.
    const link: PrefixInstance["link"] = Object.create(null);
    this.#instances.set(advertiser.instance, {
      service,
      link,
      isNear: true,
      isDegraded: false,
      takesWork: true,
    });
    return advertiser;
  }

  /** From now on others are to be preferred to an instance. */
  degrade(instance: string): void {
    const known = this.#instances.get(instance);
    if (known !== undefined) this.#instances.set(instance, { ...known, isDegraded: true });
  }

  /** What an instance says that it serves, as the mesh passes it on. */
  endpointOf({ instance, service, address, key }: Advertiser, prefixes: readonly string[]): Endpoint {
    this.#sequence += 1;
    const said = { log, instance, address, audience: "", prefixes, sequence: this.#sequence, size: 1 };
    return create(EndpointSchema, {
      instance,
      service,
      address,
      advertisement: signAdvertisement(said, key.privateKey),
    });
  }

  /** What all entitled instances say: every one of them what it has been granted, so many at most. */
  granted(prefixesMax: number): Endpoint[] {
    const held = Map.groupBy(this.state.prefixes.entries(), ([, { holder }]) => holder);
    return this.advertisers.map((one) => {
      const prefixes = (held.get(one.service) ?? []).map(([prefix]) => prefix);
      return this.endpointOf(one, prefixes.slice(0, prefixesMax));
    });
  }
}

/** What the log has of an instance with such a key. */
export function instanceRowOf(service: string, key: KeyPair): InstanceRow {
  return {
    service,
    node: "node",
    auditKey: "",
    registeredAtSeconds: 0,
    isDraining: false,
    generation: 1,
    keySha256: hexOf(sha256(exportPublicKey(key.publicKey))),
  };
}

/** The name of a prefix by its number. */
export function prefixNamed(number: number): string {
  return `/region-${number % 16}/team-${number % 256}/product-${number}`;
}
