import { createPrivateKey } from "node:crypto";
import type { Advertisement } from "../protocol/index.ts";
import type { LogView, SvidInUse } from "../transport/index.ts";
import { holdsPrefix } from "../trust-log/index.ts";
import type { ProxyOptions } from "./proxy-options.ts";
import { advertisedPrefixesMax, signAdvertisement } from "./routing/index.ts";

/** With `dangerBelieveAdvertisements` a proxy says what it is not granted as well, as a liar would, in a test domain. */
type OwnOptions = Pick<
  ProxyOptions,
  "service" | "instance" | "prefixes" | "dangerBelieveAdvertisements" | "log"
>;

/** What a proxy says of itself now: whatever of its prefixes the log lets its service have, under its SVID's signature. */
export class OwnAdvertisement {
  readonly #options: OwnOptions;
  readonly #view: LogView;
  #sequence = 0;
  #signed: Advertisement | undefined;
  #saidOf = "";
  /** Prefixes that are wanted and not granted, as told last. */
  #missing = "";

  constructor(options: OwnOptions, view: LogView) {
    this.#options = options;
    this.#view = view;
  }

  /** Its prefixes, and whether the log lets it serve each. */
  get prefixes(): readonly { readonly prefix: string; readonly isGranted: boolean }[] {
    const { service, prefixes = [] } = this.#options;
    const { state } = this.#view.follower;
    return prefixes.map((prefix) => ({ prefix, isGranted: holdsPrefix(state, service, prefix) }));
  }

  /** The advertisement of an address (empty while it serves nowhere); the same one while nothing in it has changed. */
  at(address: string, audience: string, svid: SvidInUse): Advertisement | undefined {
    const { instance } = this.#options;
    const { size, state } = this.#view.follower;
    const log = state.genesis?.genesis;
    if (address === "" || log === undefined) return undefined;
    const prefixes = this.#granted();
    const saidOf = [address, audience, svid.sha256, ...prefixes].join(" ");
    if (saidOf === this.#saidOf && this.#signed !== undefined) return this.#signed;
    this.#saidOf = saidOf;
    this.#sequence += 1;
    const said = { log, instance, address, audience, prefixes, sequence: this.#sequence, size };
    this.#signed = signAdvertisement(said, createPrivateKey(svid.privateKeyPem));
    return this.#signed;
  }

  #granted(): string[] {
    const all = this.prefixes;
    const missing = all.filter(({ isGranted }) => !isGranted).map(({ prefix }) => prefix);
    if (missing.join(" ") !== this.#missing) {
      this.#missing = missing.join(" ");
      const { log, service } = this.#options;
      if (missing.length === 0) log.info("all prefixes are granted", { service });
      else log.warn("not advertised: the trust log does not grant it", { service, prefixes: this.#missing });
    }
    const { genesis } = this.#view.follower.state;
    const isLiar = this.#options.dangerBelieveAdvertisements === true && genesis?.isTestDomain === true;
    const granted = all.filter(({ isGranted }) => isGranted || isLiar).map(({ prefix }) => prefix);
    return granted.slice(0, advertisedPrefixesMax);
  }
}
