import type { KeyObject } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { sameBytes } from "../base/bytes.ts";
import type { Clock } from "../base/clock.ts";
import type { Log } from "../base/log.ts";
import { MeshError, messageOf } from "../base/mesh-error.ts";
import {
  buildCertificateRequest,
  exportPublicKey,
  generateP256,
  type KeyPair,
  parseCertificate,
  pemOfPrivateKey,
} from "../crypto/index.ts";
import { nextRotationSeconds } from "../identity/index.ts";
import { pemOfCertificate } from "./tls-identity.ts";

const retryMillisMin = 200;
const retryMillisMax = 5_000;
/** An application waits for the first one, so it is asked for more often. */
const firstRetryMillisMax = 1_000;
/** However short a certificate lives and however wrong the clock is, the next one is not asked for sooner. */
const rotationSecondsMin = 1;
/** How often the time is looked at: a machine that sleeps stops its timers, and its certificates go on ageing. */
const lookMillisMax = 5_000;

/** The SVID that new handshakes show, with its key, which never leaves this process. */
export interface SvidInUse {
  /** The leaf, DER. */
  readonly certificate: Uint8Array;
  readonly privateKey: KeyObject;
  readonly chainPem: string;
  readonly privateKeyPem: string;
  readonly serial: string;
  readonly sha256: string;
  /** Of the key that signed it, hexadecimal. */
  readonly authorityKeyId: string | undefined;
  readonly notBeforeSeconds: number;
  readonly notAfterSeconds: number;
}

/** A certificate that was issued, with the generation that its key is of. */
export interface IssuedChain {
  readonly chain: readonly Uint8Array[];
  /** How many keys the instance has had certificates for; 0 from a control plane that does not count. */
  readonly generation: number;
}

/**
 * Asks for a certificate for a request's key, as the holder of a generation (0: none yet); resolves once the proxy's
 * own view of the log has its issuance.
 */
export type RequestSvid = (certificateRequest: Uint8Array, generation: number) => Promise<IssuedChain>;

/** What a keeper needs. */
export interface SvidKeeperOptions {
  readonly request: RequestSvid;
  readonly rotated: (svid: SvidInUse) => void;
  readonly clock: Clock;
  /** At least 0 and below 1, for jitter. */
  readonly random: () => number;
  readonly log: Log;
  readonly signal: AbortSignal;
}

/** Obtains an instance's SVIDs and replaces each at about half of its life, with a new key every time. */
export class SvidKeeper implements Disposable {
  readonly #options: SvidKeeperOptions;
  readonly #lineage: Lineage;
  #current: SvidInUse;
  #timer: NodeJS.Timeout | undefined;
  /** When the next rotation is due, on whichever clock comes there first. */
  #dueSeconds = 0;
  #dueMillis = 0;
  #isRotating = false;
  /** When an attempt failed that is to be made again, on the monotonic clock. */
  #failedMillis: number | undefined;
  #isClosed = false;

  private constructor(options: SvidKeeperOptions, lineage: Lineage, first: SvidInUse) {
    this.#options = options;
    this.#lineage = lineage;
    this.#current = first;
    this.#plan();
  }

  /** Obtains the first SVID, waiting as long as it takes. */
  static async open(options: SvidKeeperOptions): Promise<SvidKeeper> {
    const { request, signal, log } = options;
    const lineage = new Lineage();
    for (let delay = retryMillisMin; !signal.aborted; delay = Math.min(delay * 2, firstRetryMillisMax)) {
      try {
        return new SvidKeeper(options, lineage, await lineage.obtain(request));
      } catch (error) {
        log.warn("no SVID yet", { error: messageOf(error) });
        await sleep(delay, undefined, { signal }).catch(() => {});
      }
    }
    throw new MeshError("ERR_TRANSPORT_CLOSED", "closed before the first SVID came");
  }

  /** The newest SVID. */
  get current(): SvidInUse {
    return this.#current;
  }

  /**
   * Obtains the next SVID now, because the present one no longer counts. Where that was refused a moment ago, it is
   * tried again a moment later.
   */
  renew(): void {
    const nowMillis = this.#options.clock.monotonicMillis();
    const isWaiting = nowMillis - (this.#failedMillis ?? nowMillis) >= firstRetryMillisMax;
    if (this.#isClosed || (this.#isRotating && !isWaiting)) return;
    clearTimeout(this.#timer);
    void this.#rotate(retryMillisMin);
  }

  /** Obtains the next SVID within so long, at a moment of its own, because many are to be replaced. */
  renewWithin(millisMax: number): void {
    if (this.#isRotating || this.#isClosed) return;
    const { clock, random } = this.#options;
    const dueMillis = clock.monotonicMillis() + millisMax * random();
    if (dueMillis >= this.#dueMillis) return;
    this.#dueMillis = dueMillis;
    clearTimeout(this.#timer);
    this.#look();
  }

  [Symbol.dispose](): void {
    this.#isClosed = true;
    clearTimeout(this.#timer);
  }

  /** Counts half of what is left of the certificate, which was backdated. */
  #plan(): void {
    const { clock, random } = this.#options;
    const nowSeconds = clock.nowSeconds();
    const { notBeforeSeconds, notAfterSeconds } = this.#current;
    const left = { notBeforeSeconds: Math.max(notBeforeSeconds, nowSeconds), notAfterSeconds };
    const waitSeconds = Math.max(rotationSecondsMin, nextRotationSeconds(left, random()) - nowSeconds);
    this.#dueSeconds = nowSeconds + waitSeconds;
    this.#dueMillis = clock.monotonicMillis() + waitSeconds * 1000;
    this.#look();
  }

  #look(): void {
    if (this.#isClosed) return;
    const { clock } = this.#options;
    const leftMillis = Math.min(
      (this.#dueSeconds - clock.nowSeconds()) * 1000,
      this.#dueMillis - clock.monotonicMillis(),
    );
    if (leftMillis <= 0) void this.#rotate(retryMillisMin);
    else this.#timer = setTimeout(() => this.#look(), Math.min(leftMillis, lookMillisMax));
  }

  async #rotate(retryMillis: number): Promise<void> {
    const { clock, log, request, rotated, random } = this.#options;
    this.#isRotating = true;
    this.#failedMillis = undefined;
    try {
      const next = await this.#lineage.obtain(request);
      if (this.#isClosed) return;
      this.#current = next;
      rotated(next);
      this.#isRotating = false;
      this.#plan();
      log.debug("svid rotated", { serial: next.serial });
    } catch (error) {
      if (this.#isClosed) return;
      const { notAfterSeconds } = this.#current;
      log.warn("svid not rotated", { error: messageOf(error), notAfterSeconds });
      this.#failedMillis = clock.monotonicMillis();
      const again = Math.min(retryMillis * 2, retryMillisMax);
      this.#timer = setTimeout(() => void this.#rotate(again), retryMillis * (0.5 + random()));
    }
  }
}

/**
 * An instance's line of keys. Who asks says which generation it holds, so that a copy of its key that asks too is
 * noticed; a key whose certificate did not arrive is asked for again, since an answer may only have been lost.
 */
class Lineage {
  #generation = 0;
  #next: KeyPair | undefined;

  async obtain(request: RequestSvid): Promise<SvidInUse> {
    this.#next ??= generateP256();
    const { privateKey, publicKey } = this.#next;
    const { chain, generation } = await request(buildCertificateRequest(privateKey), this.#generation);
    const [certificate] = chain;
    const leaf = certificate === undefined ? undefined : parseCertificate(certificate);
    if (certificate === undefined || leaf?.ok !== true)
      throw new MeshError("ERR_TRANSPORT_SVID", "what was issued is not a certificate");
    const { serial, sha256, authorityKeyId, notBeforeSeconds, notAfterSeconds, publicKeyInfo } = leaf.value;
    if (!sameBytes(publicKeyInfo, exportPublicKey(publicKey)))
      throw new MeshError("ERR_TRANSPORT_SVID", "what was issued is for another key");
    this.#generation = generation;
    this.#next = undefined;
    return {
      certificate,
      privateKey,
      chainPem: chain.map(pemOfCertificate).join(""),
      privateKeyPem: pemOfPrivateKey(privateKey),
      serial,
      sha256,
      authorityKeyId,
      notBeforeSeconds,
      notAfterSeconds,
    };
  }
}
