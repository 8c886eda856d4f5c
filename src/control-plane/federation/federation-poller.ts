import type { Clock } from "../../base/clock.ts";
import type { Log } from "../../base/log.ts";
import { messageOf } from "../../base/mesh-error.ts";
import { fail, ok, type Result } from "../../base/result.ts";
import {
  parseSpiffeBundle,
  parseSpiffeId,
  parseTrustDomain,
  type SpiffeBundle,
  type TrustDomain,
  trustDomainOf,
  writeSpiffeBundle,
} from "../../identity/index.ts";
import { type FederationRow, revisionOf } from "../../trust-log/index.ts";
import type { FollowerRegistry } from "../follower-registry.ts";
import type { LogWriter } from "../log-writer.ts";
import { trustBundleOf } from "./domain-bundle.ts";
import { type EndpointCheck, fetchBundle } from "./fetch-bundle.ts";

/** Between two looks at an endpoint, whatever it hints at; SPIFFE's usual where it hints at nothing. */
const pollSecondsMin = 60;
const pollSecondsMax = 3_600;
const pollSecondsDefault = 300;
/** Intervals are longer or shorter by so much, so that not everybody asks at once. */
const jitterShare = 0.1;
/** A machine that sleeps stops its timers. */
const lookMillisMax = 30_000;

/** How things stand with a federated trust domain, as `troth federation list` shows it; times count from now. */
export interface FederationStanding {
  readonly trustDomain: string;
  /** Undefined before the first success since this process began. */
  readonly lastSuccessSecondsAgo: number | undefined;
  /** Why the last attempt failed; empty where it did not. */
  readonly lastError: string;
  readonly nextPollSeconds: number;
}

interface Polled {
  row: FederationRow;
  lastSuccessMillis: number | undefined;
  lastError: string;
  intervalSeconds: number;
  nextMillis: number;
  /** The highest that was seen; undefined where none was said. */
  sequence: bigint | undefined;
  running: Promise<void> | undefined;
  readonly ended: AbortController;
}

/** What polling takes. */
export interface FederationPollerOptions {
  readonly writer: LogWriter;
  readonly registry: Pick<FollowerRegistry, "raise" | "olderThan">;
  readonly clock: Clock;
  /** At least 0 and below 1. */
  readonly random: () => number;
  readonly log: Log;
  /** CAs that endpoints of the profile https_web may have, besides the public web's (PEM). */
  readonly extraAuthorities?: string;
}

/**
 * Asks the bundle endpoints of federated trust domains, each as often as it wants within bounds, and has what is new
 * written into the log. A failure waits for the next interval. An end of the federation ends the asking at once.
 */
export class FederationPoller implements Disposable {
  readonly #options: FederationPollerOptions;
  readonly #unsubscribe: () => void;
  readonly #polled = new Map<string, Polled>();
  #timer: NodeJS.Timeout | undefined;
  #isClosed = false;

  constructor(options: FederationPollerOptions) {
    this.#options = options;
    this.#unsubscribe = options.writer.onCheckpoint(() => this.#stepped());
    this.#stepped();
  }

  /** How things stand with each federated trust domain. */
  standings(): FederationStanding[] {
    const now = this.#options.clock.monotonicMillis();
    return [...this.#polled].map(([trustDomain, { lastSuccessMillis, lastError, nextMillis }]) => ({
      trustDomain,
      lastSuccessSecondsAgo: lastSuccessMillis === undefined ? undefined : (now - lastSuccessMillis) / 1000,
      lastError,
      nextPollSeconds: Math.max(0, (nextMillis - now) / 1000),
    }));
  }

  /** Asks one endpoint now; resolves with how that went. */
  async refresh(trustDomain: string): Promise<FederationStanding | undefined> {
    const polled = this.#polled.get(trustDomain);
    if (polled === undefined) return undefined;
    await this.#poll(trustDomain, polled);
    return this.standings().find((standing) => standing.trustDomain === trustDomain);
  }

  [Symbol.dispose](): void {
    this.#isClosed = true;
    this.#unsubscribe();
    clearTimeout(this.#timer);
    for (const { ended } of this.#polled.values()) ended.abort();
  }

  /** Takes note of whom the log federates with now. */
  #stepped(): void {
    const { federation } = this.#options.writer.state;
    for (const [trustDomain, polled] of this.#polled) {
      const row = federation.get(trustDomain);
      if (row !== undefined && isSamePlace(row, polled.row)) polled.row = row;
      else {
        polled.ended.abort();
        this.#polled.delete(trustDomain);
      }
    }
    for (const [trustDomain, row] of federation.entries())
      if (!this.#polled.has(trustDomain)) this.#polled.set(trustDomain, this.#begin(row));
    this.#look();
  }

  #begin(row: FederationRow): Polled {
    return {
      row,
      lastSuccessMillis: undefined,
      lastError: "",
      intervalSeconds: pollSecondsDefault,
      nextMillis: this.#options.clock.monotonicMillis(),
      sequence: undefined,
      running: undefined,
      ended: new AbortController(),
    };
  }

  #look(): void {
    clearTimeout(this.#timer);
    if (this.#isClosed) return;
    const now = this.#options.clock.monotonicMillis();
    let waitMillis = lookMillisMax;
    for (const [trustDomain, polled] of this.#polled) {
      if (polled.nextMillis <= now) void this.#poll(trustDomain, polled);
      waitMillis = Math.min(waitMillis, Math.max(0, polled.nextMillis - now));
    }
    if (this.#polled.size > 0) this.#timer = setTimeout(() => this.#look(), waitMillis);
  }

  /** One attempt; whoever asks for another meanwhile gets this one. */
  #poll(trustDomain: string, polled: Polled): Promise<void> {
    polled.running ??= this.#attempt(trustDomain, polled).finally(() => {
      polled.running = undefined;
    });
    return polled.running;
  }

  async #attempt(trustDomain: string, polled: Polled): Promise<void> {
    const { clock, random, log } = this.#options;
    // Before anything can fail: a failure waits as long as a success.
    const jitter = 1 + jitterShare * (2 * random() - 1);
    polled.nextMillis = clock.monotonicMillis() + polled.intervalSeconds * 1000 * jitter;
    const taken = await this.#take(trustDomain, polled).catch((error: unknown) =>
      fail("not-written", messageOf(error)),
    );
    if (polled.ended.signal.aborted) return;
    if (taken.ok) {
      polled.lastSuccessMillis = clock.monotonicMillis();
      polled.lastError = "";
      const hint = taken.value.refreshHintSeconds ?? pollSecondsDefault;
      polled.intervalSeconds = Math.min(pollSecondsMax, Math.max(pollSecondsMin, hint));
      polled.nextMillis = clock.monotonicMillis() + polled.intervalSeconds * 1000 * jitter;
      return;
    }
    polled.lastError = `${taken.reason}: ${taken.detail}`;
    log.warn("no bundle of a federated trust domain", {
      trustDomain,
      reason: taken.reason,
      detail: taken.detail,
    });
  }

  /** Fetches a bundle and has it written where it says something else than the log does. */
  async #take(trustDomain: string, polled: Polled): Promise<Result<SpiffeBundle, string>> {
    const { registry, clock } = this.#options;
    const name = parseTrustDomain(trustDomain);
    if (!name.ok) return name;
    const check = this.#checkOf(polled.row);
    if (!check.ok) return check;
    const { url } = polled.row;
    const { signal } = polled.ended;
    const place = { trustDomain: name.value, url, check: check.value, signal };
    const fetched = await fetchBundle({ ...place, nowSeconds: clock.nowSeconds() });
    if (!fetched.ok) {
      if (fetched.reason === "endpoint-not-trusted" && !signal.aborted)
        registry.raise("/federation", "federation-refused", `${trustDomain}: ${fetched.detail}`);
      return fetched;
    }
    const known = knownBundle(name.value, polled.row);
    const last = highest(polled.sequence, known?.sequence);
    const { sequence } = fetched.value;
    if (sequence !== undefined && last !== undefined && sequence < last) {
      const detail = `${trustDomain}: its bundle went back from sequence ${last} to ${sequence}`;
      registry.raise("/federation", "federation-rollback", detail);
      return fail("sequence-went-back", `from ${last} to ${sequence}`);
    }
    const written = await this.#writeUnlessKnown(fetched.value, known);
    if (written.ok) polled.sequence = sequence;
    return written;
  }

  /** The same keys under another sequence are not worth an entry. */
  async #writeUnlessKnown(
    bundle: SpiffeBundle,
    known: SpiffeBundle | undefined,
  ): Promise<Result<SpiffeBundle, string>> {
    if (known !== undefined && keysOf(bundle) === keysOf(known)) return ok(bundle);
    const { writer, registry } = this.#options;
    const kind = "federation.bundle";
    if (registry.olderThan(revisionOf(kind), writer.state).length > 0)
      return fail("older-followers", "some proxies or agents know no federation; upgrade them first");
    const body = { trustDomain: bundle.trustDomain, bundle: writeSpiffeBundle(bundle) };
    const written = await writer.write([{ role: "issuer", kind, body }]);
    return written.ok ? ok(bundle) : written;
  }

  #checkOf({ profile, endpointSpiffeId }: FederationRow): Result<EndpointCheck, "bad-endpoint-id"> {
    const { extraAuthorities, writer } = this.#options;
    if (profile === "https_web")
      return ok({ profile, ...(extraAuthorities === undefined ? {} : { extraAuthorities }) });
    const spiffeId = parseSpiffeId(endpointSpiffeId ?? "");
    if (!spiffeId.ok) return fail("bad-endpoint-id", endpointSpiffeId);
    const bundle = trustBundleOf(writer.state, trustDomainOf(spiffeId.value));
    return ok({ profile, spiffeId: spiffeId.value, bundle });
  }
}

/** Whether an endpoint is where it was and proves itself as it did. */
function isSamePlace(row: FederationRow, before: FederationRow): boolean {
  return (
    row.url === before.url &&
    row.profile === before.profile &&
    row.endpointSpiffeId === before.endpointSpiffeId
  );
}

function knownBundle(trustDomain: TrustDomain, { bundle: text }: FederationRow): SpiffeBundle | undefined {
  const bundle = text === undefined ? undefined : parseSpiffeBundle(trustDomain, text);
  return bundle?.ok === true ? bundle.value : undefined;
}

function keysOf(bundle: SpiffeBundle): string {
  return writeSpiffeBundle({ ...bundle, sequence: undefined, refreshHintSeconds: undefined });
}

function highest(left: bigint | undefined, right: bigint | undefined): bigint | undefined {
  if (left === undefined || right === undefined) return left ?? right;
  return left > right ? left : right;
}
