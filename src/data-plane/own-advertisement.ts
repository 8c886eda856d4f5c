import { createPrivateKey } from "node:crypto";
import type { Log } from "../base/log.ts";
import type { Advertisement } from "../protocol/index.ts";
import type { LogView, SvidInUse } from "../transport/index.ts";
import { holdsPrefix } from "../trust-log/index.ts";
import { advertisedPrefixesMax, signAdvertisement } from "./routing/index.ts";

/** What a proxy says of itself depends on. */
export interface OwnAdvertisementParts {
  readonly service: string;
  readonly instance: string;
  /** What its operator wants it to serve besides its service's own name. */
  readonly prefixes: readonly string[];
  /** Whether it says so without a grant, as a liar would; counts in a test domain alone. */
  readonly dangerUngranted: boolean;
  readonly view: LogView;
  readonly log: Log;
}

/** What a proxy says of itself now: whatever of its prefixes the log lets its service have, under its SVID's signature. */
export class OwnAdvertisement {
  readonly #parts: OwnAdvertisementParts;
  #sequence = 0;
  #signed: Advertisement | undefined;
  #saidOf = "";
  /** Prefixes that are wanted and not granted, as told last. */
  #missing = "";

  constructor(parts: OwnAdvertisementParts) {
    this.#parts = parts;
  }

  /** Its prefixes, and whether the log lets it serve each. */
  get prefixes(): readonly { readonly prefix: string; readonly isGranted: boolean }[] {
    const { service, prefixes, view } = this.#parts;
    const { state } = view.follower;
    return prefixes.map((prefix) => ({ prefix, isGranted: holdsPrefix(state, service, prefix) }));
  }

  /** The advertisement of an address (empty while it serves nowhere); the same one while nothing in it has changed. */
  at(address: string, audience: string, svid: SvidInUse): Advertisement | undefined {
    const { view, instance } = this.#parts;
    const log = view.follower.state.genesis?.genesis;
    if (address === "" || log === undefined) return undefined;
    const prefixes = this.#granted();
    const saidOf = [address, audience, svid.sha256, ...prefixes].join(" ");
    if (saidOf === this.#saidOf && this.#signed !== undefined) return this.#signed;
    this.#saidOf = saidOf;
    this.#sequence += 1;
    const size = view.follower.size;
    const said = { log, instance, address, audience, prefixes, sequence: this.#sequence, size };
    this.#signed = signAdvertisement(said, createPrivateKey(svid.privateKeyPem));
    return this.#signed;
  }

  #granted(): string[] {
    const all = this.prefixes;
    const missing = all.filter(({ isGranted }) => !isGranted).map(({ prefix }) => prefix);
    if (missing.join(" ") !== this.#missing) {
      this.#missing = missing.join(" ");
      const { log, service } = this.#parts;
      if (missing.length === 0) log.info("all prefixes are granted", { service });
      else log.warn("not advertised: the trust log does not grant it", { service, prefixes: this.#missing });
    }
    const { dangerUngranted, view } = this.#parts;
    const isLiar = dangerUngranted && view.follower.state.genesis?.isTestDomain === true;
    const granted = all.filter(({ isGranted }) => isGranted || isLiar).map(({ prefix }) => prefix);
    return granted.slice(0, advertisedPrefixesMax);
  }
}
