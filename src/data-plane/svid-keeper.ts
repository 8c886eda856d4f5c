import type { Clock } from "../base/clock.ts";
import type { Log } from "../base/log.ts";
import { MeshError, messageOf } from "../base/mesh-error.ts";
import { buildCertificateRequest, generateP256, parseCertificate, pemOfPrivateKey } from "../crypto/index.ts";
import { nextRotationSeconds } from "../identity/index.ts";
import { pemOfCertificate } from "../transport/index.ts";

const retryMillisMin = 200;
const retryMillisMax = 5_000;

/** The SVID that new handshakes show, with its key, which never leaves this process. */
export interface SvidInUse {
  readonly chainPem: string;
  readonly privateKeyPem: string;
  readonly serial: string;
  readonly sha256: string;
  readonly notBeforeSeconds: number;
  readonly notAfterSeconds: number;
}

/** Asks for a certificate for a request's key; resolves once the proxy's own view of the log has its issuance. */
export type RequestSvid = (certificateRequest: Uint8Array) => Promise<readonly Uint8Array[]>;

/** Obtains an instance's SVIDs and replaces each at about half of its life, with a new key every time. */
export class SvidKeeper implements Disposable {
  readonly #options: SvidKeeperOptions;
  #current: SvidInUse;
  #timer: NodeJS.Timeout | undefined;
  #isClosed = false;

  private constructor(options: SvidKeeperOptions, first: SvidInUse) {
    this.#options = options;
    this.#current = first;
    this.#schedule(this.#untilRotationMillis());
  }

  /** Obtains the first SVID, waiting as long as it takes. */
  static async open(options: SvidKeeperOptions): Promise<SvidKeeper> {
    for (let delay = retryMillisMin; ; delay = Math.min(delay * 2, retryMillisMax)) {
      if (options.signal.aborted)
        throw new MeshError("ERR_DATA_PLANE_CLOSED", "closed before the first SVID came");
      try {
        return new SvidKeeper(options, await obtain(options.request));
      } catch (error) {
        options.log.warn("no SVID yet", { error: messageOf(error) });
        await new Promise((resolve) => setTimeout(resolve, delay));
      }
    }
  }

  /** The newest SVID. */
  get current(): SvidInUse {
    return this.#current;
  }

  [Symbol.dispose](): void {
    this.#isClosed = true;
    clearTimeout(this.#timer);
  }

  #untilRotationMillis(): number {
    const { clock, random } = this.#options;
    return Math.max(0, (nextRotationSeconds(this.#current, random()) - clock.nowSeconds()) * 1000);
  }

  #schedule(millis: number, retryMillis = retryMillisMin): void {
    if (this.#isClosed) return;
    // A timer that long would fire at once; an SVID lives for a day at most, so this is for clocks that are far off.
    this.#timer = setTimeout(() => void this.#rotate(retryMillis), Math.min(millis, 86_400_000));
  }

  async #rotate(retryMillis: number): Promise<void> {
    const { log, request, rotated } = this.#options;
    try {
      this.#current = await obtain(request);
      if (this.#isClosed) return;
      rotated(this.#current);
      log.debug("svid rotated", { serial: this.#current.serial });
      this.#schedule(this.#untilRotationMillis());
    } catch (error) {
      log.warn("svid not rotated", {
        error: messageOf(error),
        notAfterSeconds: this.#current.notAfterSeconds,
      });
      this.#schedule(retryMillis, Math.min(retryMillis * 2, retryMillisMax));
    }
  }
}

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

async function obtain(request: RequestSvid): Promise<SvidInUse> {
  const { privateKey } = generateP256();
  const chain = await request(buildCertificateRequest(privateKey));
  const leaf = chain[0] === undefined ? undefined : parseCertificate(chain[0]);
  if (leaf?.ok !== true) throw new MeshError("ERR_DATA_PLANE_SVID", "what was issued is not a certificate");
  const { serial, sha256, notBeforeSeconds, notAfterSeconds } = leaf.value;
  return {
    chainPem: chain.map(pemOfCertificate).join(""),
    privateKeyPem: pemOfPrivateKey(privateKey),
    serial,
    sha256,
    notBeforeSeconds,
    notAfterSeconds,
  };
}
