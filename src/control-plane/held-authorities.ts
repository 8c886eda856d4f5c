import type { KeyObject } from "node:crypto";
import { base64Of, hexOf } from "../base/bytes.ts";
import type { Clock, RandomBytes } from "../base/clock.ts";
import type { Log } from "../base/log.ts";
import { messageOf } from "../base/mesh-error.ts";
import { fail, ok, type Result } from "../base/result.ts";
import {
  exportPrivateKey,
  exportPublicKey,
  generateP256,
  parseCertificate,
  sha256,
} from "../crypto/index.ts";
import {
  type CertificateAuthority,
  createIntermediate,
  createRoot,
  openAuthority,
  requestIntermediate,
  type TrustDomain,
} from "../identity/index.ts";
import type { KeyStore } from "../storage/index.ts";
import { certificateAuthoritiesOf, type KnownAuthority } from "../trust-log/index.ts";
import { checkForeignIntermediate, type ForeignIntermediateRefusal } from "./check-foreign-intermediate.ts";
import { authoritiesToSign, isFreshAuthority } from "./choose-authority.ts";
import { importKeptKey, keyFault } from "./log-keys.ts";
import type { AppendRefusal, LogWriter } from "./log-writer.ts";

/** Further than this from the last epoch, the clock is not believed, and no authority is made by it. */
const clockDoubtSecondsMax = 60;
/** After a failure, an intermediate that is due is not tried again sooner. */
const retryMillis = 30_000;
/** The keys of authorities that a domain is founded with. */
const foundingKeys = ["ca-root", "ca-intermediate"] as const;

/** What holding authorities takes. */
export interface HeldAuthoritiesOptions {
  readonly trustDomain: TrustDomain;
  readonly keyStore: KeyStore;
  readonly writer: LogWriter;
  readonly intermediateLifetimeSeconds: number;
  readonly clock: Clock;
  readonly randomBytes: RandomBytes;
  readonly log: Log;
  /** Told why the intermediate in use could not be replaced although it is due. */
  readonly notRenewed?: (detail: string) => void;
}

/** Why the control plane makes no authority. */
export type PreparationRefusal = AppendRefusal | ForeignIntermediateRefusal | "no-root-key";

/**
 * The authorities that sign here: their certificates are in the trust log, their keys in the key store. Which of them
 * signs follows from the log and the time (choose-authority.ts); an intermediate that nears its end is replaced without
 * a hand on it, since that takes no trust in anything new.
 */
export class HeldAuthorities {
  readonly #options: HeldAuthoritiesOptions;
  /** By the certificate's SHA-256; null where its key is not here. */
  readonly #opened = new Map<string, CertificateAuthority | null>();
  readonly #founding = new Map<string, KeyObject>();
  #latest: CertificateAuthority | undefined;
  #renewal: Promise<void> | undefined;
  #failedMillis = Number.NEGATIVE_INFINITY;

  private constructor(options: HeldAuthoritiesOptions) {
    this.#options = options;
  }

  /** Looks for the keys; throws `ERR_CONTROL_PLANE_KEY` where none of an authority that could issue is there. */
  static async open(options: HeldAuthoritiesOptions): Promise<HeldAuthorities> {
    const held = new HeldAuthorities(options);
    for (const name of foundingKeys) await held.#loadFounding(name);
    for (const one of certificateAuthoritiesOf(options.writer.state)) await held.#open(one);
    if (held.opened.length > 0) return held;
    throw keyFault("ca-intermediate", "is missing");
  }

  /** The intermediate that issues now, a new one where that is due; undefined where there is none that may. */
  async issuing(): Promise<CertificateAuthority | undefined> {
    const found = await this.#first("intermediate");
    if (found !== undefined && isFreshAuthority(found.known, this.#options.clock.nowSeconds()))
      this.#latest = found.authority;
    else {
      await this.#renew();
      this.#latest = (await this.#first("intermediate"))?.authority;
    }
    return this.#latest;
  }

  /** What {@link issuing} answered last. */
  get latest(): CertificateAuthority | undefined {
    return this.#latest;
  }

  /** Renews the intermediate in time also where nobody asks for certificates, until the returned function is called. */
  keepRenewed(): () => void {
    const { writer, log } = this.#options;
    const look = (): void => {
      this.issuing().catch((error: unknown) => {
        log.error("the authorities could not be read", { error: messageOf(error) });
      });
    };
    return writer.onCheckpoint(look);
  }

  /** Those whose keys have been asked for; all that the log had at the start are among them. */
  get opened(): readonly CertificateAuthority[] {
    return [...this.#opened.values()].filter((authority) => authority !== null);
  }

  /** The certificates (SHA-256, hex) whose keys are here, and of the one that issues. */
  async held(): Promise<{ readonly ids: readonly string[]; readonly issuing: string | undefined }> {
    const ids: string[] = [];
    for (const one of certificateAuthoritiesOf(this.#options.writer.state))
      if ((await this.#open(one)) !== undefined) ids.push(one.id);
    return { ids, issuing: (await this.#first("intermediate"))?.known.id };
  }

  /** Makes an intermediate under the root that signs now, and enters it into the log; it signs once it is activated. */
  async prepareIntermediate(): Promise<
    Result<{ readonly certificate: Uint8Array; readonly size: number }, PreparationRefusal>
  > {
    const root = await this.#first("root");
    if (root === undefined)
      return fail(
        "no-root-key",
        "this control plane holds no key of a trusted root: have the root sign a request (troth ca prepare --csr FILE), or prepare and trust a root of its own (--kind root)",
      );
    const { clock, randomBytes, intermediateLifetimeSeconds: lifetimeSeconds } = this.#options;
    const privateKey = await this.#newKey();
    const { certificate } = createIntermediate(
      root.authority,
      { privateKey, lifetimeSeconds },
      { clock, randomBytes },
    );
    return this.#enter(certificate.der);
  }

  /** Makes a root; it counts for nothing before an operator has put its certificate (DER) into the log. */
  async prepareRoot(): Promise<Uint8Array> {
    const { trustDomain, clock, randomBytes } = this.#options;
    const privateKey = await this.#newKey();
    return createRoot({ trustDomain, privateKey }, { clock, randomBytes }).certificate.der;
  }

  /** Makes a key for an intermediate under a root that is elsewhere: the request that the root is to sign (PKCS#10, DER). */
  async prepareRequest(): Promise<Uint8Array> {
    const { trustDomain, randomBytes } = this.#options;
    return requestIntermediate({ trustDomain, privateKey: await this.#newKey() }, randomBytes);
  }

  /** Enters the intermediate that a root elsewhere made of a request; its root has to be trusted already. */
  async takeIntermediate(
    certificate: Uint8Array,
  ): Promise<Result<{ readonly certificate: Uint8Array; readonly size: number }, PreparationRefusal>> {
    const { trustDomain, keyStore, writer, clock, randomBytes } = this.#options;
    const parsed = parseCertificate(certificate);
    if (!parsed.ok) return fail("unfit-certificate", `${parsed.reason} ${parsed.detail}`);
    const name = authorityKeyName(parsed.value.publicKeyInfo);
    const key = await keyStore.load(name);
    if (key === undefined)
      return fail("not-prepared-here", "its key is not here: it takes the request of troth ca prepare --csr");
    const checked = checkForeignIntermediate(
      { trustDomain, certificate: parsed.value, privateKey: importKeptKey(name, key) },
      writer.state,
      { clock, randomBytes },
    );
    return checked.ok ? this.#enter(certificate) : checked;
  }

  async #enter(
    certificate: Uint8Array,
  ): Promise<Result<{ readonly certificate: Uint8Array; readonly size: number }, PreparationRefusal>> {
    const body = { certificate: base64Of(certificate) };
    const written = await this.#options.writer.write([{ role: "issuer", kind: "ca.issue", body }]);
    return written.ok ? ok({ certificate, size: written.value }) : written;
  }

  async #newKey(): Promise<KeyObject> {
    const { privateKey } = generateP256();
    await this.#options.keyStore.save(
      authorityKeyName(exportPublicKey(privateKey)),
      exportPrivateKey(privateKey),
    );
    return privateKey;
  }

  /** The first of those that may sign whose key is here. */
  async #first(
    kind: KnownAuthority["kind"],
  ): Promise<{ readonly known: KnownAuthority; readonly authority: CertificateAuthority } | undefined> {
    const { writer, clock } = this.#options;
    for (const known of authoritiesToSign(writer.state, kind, clock.nowSeconds())) {
      const authority = await this.#open(known);
      if (authority !== undefined) return { known, authority };
    }
    return undefined;
  }

  async #open({ id, certificate }: KnownAuthority): Promise<CertificateAuthority | undefined> {
    const known = this.#opened.get(id);
    if (known !== undefined) return known ?? undefined;
    const { trustDomain, keyStore } = this.#options;
    const name = authorityKeyName(certificate.publicKeyInfo);
    const bytes = await keyStore.load(name);
    const key =
      bytes === undefined ? this.#founding.get(hexOf(certificate.publicKeyInfo)) : importKeptKey(name, bytes);
    const authority = key === undefined ? null : openAuthority(trustDomain, certificate.der, key);
    this.#opened.set(id, authority);
    return authority ?? undefined;
  }

  async #loadFounding(name: (typeof foundingKeys)[number]): Promise<void> {
    const { keyStore, log } = this.#options;
    try {
      const bytes = await keyStore.load(name);
      if (bytes === undefined) return;
      const key = importKeptKey(name, bytes);
      this.#founding.set(hexOf(exportPublicKey(key)), key);
    } catch (error) {
      // Nothing is signed with the root before the next intermediate.
      if (name !== "ca-root") throw error;
      log.error("no key of the founding root", { error: messageOf(error) });
    }
  }

  /** Replaces the intermediate that is due; several who ask at once wait for the same one. */
  async #renew(): Promise<void> {
    const { clock, writer } = this.#options;
    const isSoonAgain = clock.monotonicMillis() - this.#failedMillis < retryMillis;
    // What a wrong clock would make might begin in the future, or have the one in use pass for old.
    const epochSeconds = writer.state.genesis?.epochTimeSeconds ?? 0;
    const isDoubtful = Math.abs(clock.nowSeconds() - epochSeconds) > clockDoubtSecondsMax;
    if (isSoonAgain || isDoubtful) return;
    this.#renewal ??= this.#renewNow().finally(() => {
      this.#renewal = undefined;
    });
    await this.#renewal;
  }

  async #renewNow(): Promise<void> {
    const { log, clock, notRenewed } = this.#options;
    const failed = (detail: string): void => {
      this.#failedMillis = clock.monotonicMillis();
      log.error("the intermediate is due and was not replaced", { detail });
      notRenewed?.(detail);
    };
    try {
      const made = await this.prepareIntermediate();
      if (made.ok)
        log.info("a new intermediate signs from now on", { id: hexOf(sha256(made.value.certificate)) });
      else failed(`${made.reason}: ${made.detail}`);
    } catch (error) {
      failed(messageOf(error));
    }
  }
}

/** The name in the key store of an authority's key. */
export function authorityKeyName(publicKeyInfo: Uint8Array): string {
  return `ca-${hexOf(sha256(publicKeyInfo)).slice(0, 40)}`;
}
