import { base64Of, bytesOfBase64 } from "../base/bytes.ts";
import type { Clock } from "../base/clock.ts";
import type { Log } from "../base/log.ts";
import { messageOf } from "../base/mesh-error.ts";
import { fail, ok, type Result } from "../base/result.ts";
import { exportPrivateKey, exportPublicKey, generateP256 } from "../crypto/index.ts";
import { openTokenKey, type TokenKey, type TrustDomain, tokenKeyIdOf } from "../identity/index.ts";
import type { KeyStore } from "../storage/index.ts";
import {
  type EntryBody,
  type KnownTokenKey,
  publishedTokenKeys,
  type TokenUse,
  type TrustState,
} from "../trust-log/index.ts";
import { importKeptKey } from "./log-keys.ts";
import type { LogWriter } from "./log-writer.ts";

/** The uses of tokens; each has keys of its own. */
export const tokenUses: readonly TokenUse[] = ["jwt-svid", "wit-svid"];

/** How long a key signs tokens, in seconds, unless told otherwise: a year, since people take part in replacing it. */
export const tokenKeyLifetimeSecondsDefault = 365 * 86_400;

/** How long before the end of the key in use the next one is due, in seconds: 30 days. */
export const tokenKeyAheadSeconds = 30 * 86_400;

/**
 * How long the next key is in the bundle before it signs, in seconds: five times the interval at which federated trust
 * domains ask for the bundle (SPIFFE Federation, section 6.1).
 */
export const tokenKeyPublishedSecondsMin = 5 * 300;

/** Further than this from the last epoch, the clock is not believed, and no key is made by it. */
const clockDoubtSecondsMax = 60;
const retryMillis = 30_000;

/** What holding token keys takes. */
export interface HeldTokenKeysOptions {
  readonly trustDomain: TrustDomain;
  readonly keyStore: KeyStore;
  readonly writer: LogWriter;
  readonly clock: Clock;
  readonly log: Log;
  /** Told what people have to do, since a key nears its end and the control plane may not replace it. */
  readonly notRenewed?: (detail: string) => void;
}

/** Why no token can be signed now. */
export type SigningRefusal = "no-token-key" | "token-key-expired";

/**
 * The keys that sign tokens here: the log says which are known and which one of each use is active, the key store has
 * their private halves. The active one signs, and no other.
 */
export class HeldTokenKeys {
  readonly #options: HeldTokenKeysOptions;
  readonly #opened = new Map<string, TokenKey>();
  /** When this process first saw a key that has not signed yet, on the monotonic clock. */
  readonly #seenMillis = new Map<string, number>();
  #looking: Promise<void> | undefined;
  #lookedMillis = Number.NEGATIVE_INFINITY;

  constructor(options: HeldTokenKeysOptions) {
    this.#options = options;
  }

  /** The key that signs tokens of a use now. */
  async signing(use: TokenUse): Promise<Result<TokenKey, SigningRefusal>> {
    const { writer, clock } = this.#options;
    const active = activeKey(writer.state, use);
    if (active === undefined) return fail("no-token-key", remedy(use, "no key is active"));
    if (clock.nowSeconds() >= active.notAfterSeconds)
      return fail("token-key-expired", remedy(use, `the active key ${active.id} has expired`));
    const key = await this.#open(active);
    return key === undefined
      ? fail("no-token-key", remedy(use, `the active key ${active.id} is not in this key store`))
      : ok(key);
  }

  /** Makes a key; it counts for nothing before an operator has signed this body of `jwk.put`, and signs once activated. */
  async prepare(use: TokenUse): Promise<EntryBody<"jwk.put">> {
    return makeTokenKey(this.#options.keyStore, use, this.#options.clock.nowSeconds());
  }

  /** The keys (by `kid`) whose private halves are here, whether they sign or not. */
  async held(): Promise<readonly string[]> {
    const ids: string[] = [];
    for (const use of tokenUses)
      for (const key of publishedTokenKeys(this.#options.writer.state, use))
        if ((await this.#open(key)) !== undefined) ids.push(key.id);
    return ids;
  }

  /**
   * Replaces keys that near their end, where the trust log grants the control plane's own key both entries that this
   * takes; else says who has to. To be called now and then; looks once in half a minute.
   */
  async look(): Promise<void> {
    const { clock, log } = this.#options;
    if (clock.monotonicMillis() - this.#lookedMillis < retryMillis) return;
    this.#lookedMillis = clock.monotonicMillis();
    this.#looking ??= this.#lookAtAll()
      .catch((error: unknown) => log.error("keys for tokens not looked after", { error: messageOf(error) }))
      .finally(() => {
        this.#looking = undefined;
      });
    await this.#looking;
  }

  async #lookAtAll(): Promise<void> {
    const { writer, clock } = this.#options;
    const epochSeconds = writer.state.genesis?.epochTimeSeconds ?? 0;
    if (Math.abs(clock.nowSeconds() - epochSeconds) > clockDoubtSecondsMax) return;
    for (const use of tokenUses) await this.#lookAt(use, clock.nowSeconds());
  }

  async #lookAt(use: TokenUse, nowSeconds: number): Promise<void> {
    const { writer, clock, notRenewed } = this.#options;
    const active = activeKey(writer.state, use);
    // A domain that was founded before there were tokens gets its first keys from people.
    if (active === undefined || nowSeconds < active.notAfterSeconds - tokenKeyAheadSeconds) return;
    if (!mayRenew(writer.state)) {
      notRenewed?.(
        remedy(use, `the active key ${active.id} ends at ${active.notAfterSeconds} (seconds since 1970)`),
      );
      return;
    }
    const next = publishedTokenKeys(writer.state, use).find(
      ({ status, notAfterSeconds }) => status === "prepared" && notAfterSeconds > active.notAfterSeconds,
    );
    if (next === undefined) {
      await this.#write("jwk.put", await this.prepare(use));
      return;
    }
    const seenMillis = this.#seenMillis.get(next.id) ?? clock.monotonicMillis();
    this.#seenMillis.set(next.id, seenMillis);
    const isKnown = clock.monotonicMillis() - seenMillis >= tokenKeyPublishedSecondsMin * 1000;
    if (!isKnown && nowSeconds < active.notAfterSeconds) return;
    if ((await this.#open(next)) === undefined) return;
    await this.#write("ca.activate", { authority: next.id });
    this.#seenMillis.delete(next.id);
  }

  async #write(
    kind: "jwk.put" | "ca.activate",
    body: Readonly<Record<string, string | number>>,
  ): Promise<void> {
    const { writer, log, notRenewed } = this.#options;
    const written = await writer.write([{ role: "issuer", kind, body }]);
    if (written.ok) log.info("a key for tokens is replaced", { kind, ...body });
    else notRenewed?.(`${kind}: ${written.reason}: ${written.detail}`);
  }

  async #open({ id, notAfterSeconds }: KnownTokenKey): Promise<TokenKey | undefined> {
    const known = this.#opened.get(id);
    if (known !== undefined) return known;
    const { keyStore, trustDomain } = this.#options;
    const name = tokenKeyName(id);
    const bytes = await keyStore.load(name);
    if (bytes === undefined) return undefined;
    const key = openTokenKey(trustDomain, importKeptKey(name, bytes), notAfterSeconds);
    if (key.id !== id) return undefined;
    this.#opened.set(id, key);
    return key;
  }
}

/** Makes a key that signs tokens of a use, keeps it, and says what the log is to say of it. */
export async function makeTokenKey(
  keyStore: KeyStore,
  use: TokenUse,
  nowSeconds: number,
): Promise<EntryBody<"jwk.put">> {
  const { privateKey } = generateP256();
  const publicKey = exportPublicKey(privateKey);
  await keyStore.save(tokenKeyName(tokenKeyIdOf(publicKey)), exportPrivateKey(privateKey));
  const notAfterSeconds = Math.floor(nowSeconds) + tokenKeyLifetimeSecondsDefault;
  return { use, publicKey: base64Of(publicKey), notAfterSeconds };
}

/** What `ca.activate` calls the key of a `jwk.put`: its `kid`. */
export function idOfTokenKey({ publicKey }: EntryBody<"jwk.put">): string {
  return tokenKeyIdOf(bytesOfBase64(publicKey) ?? new Uint8Array(0));
}

/** The name in the key store of the key that signs under a `kid`. */
export function tokenKeyName(id: string): string {
  return `token-${id.slice(0, 40)}`;
}

function activeKey(state: TrustState, use: TokenUse): KnownTokenKey | undefined {
  return publishedTokenKeys(state, use).find(({ status }) => status === "active");
}

/** Whether the log lets the control plane alone put a key and have it sign. */
function mayRenew({ authority }: TrustState): boolean {
  return ["jwk.put", "ca.activate"].every((kind) => {
    const grant = authority.get(kind);
    return grant?.role === "issuer" && grant.signatures === 1 && grant.approvals === 0;
  });
}

function remedy(use: TokenUse, what: string): string {
  return `${what}: an operator makes the next one by troth ca prepare --kind ${use}, and some minutes later troth ca activate`;
}
