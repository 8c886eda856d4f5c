import { base64Of } from "../base/bytes.ts";
import type { JsonObject } from "../base/canonical-json.ts";
import type { Clock, RandomBytes } from "../base/clock.ts";
import { exportPrivateKey, generateP256 } from "../crypto/index.ts";
import {
  type CertificateAuthority,
  createIntermediate,
  createRoot,
  intermediateLifetimeSecondsDefault,
  type TrustDomain,
} from "../identity/index.ts";
import type { KeyStore } from "../storage/index.ts";
import {
  type EntryKind,
  entryVersion,
  foundTrustLog,
  leafHash,
  type NoteSigner,
  signEntry,
} from "../trust-log/index.ts";
import type { LogKeys } from "./log-keys.ts";
import { idOfTokenKey, makeTokenKey, tokenUses } from "./token-keys.ts";

/** What a trust domain is founded with. */
export interface FoundingRequest {
  readonly trustDomain: TrustDomain;
  readonly isTestDomain: boolean;
  /** Has requests to every service carry request tokens until a policy says otherwise. */
  readonly wantsRequestTokens?: boolean;
  /** Signs genesis and the trust in the root; not kept. */
  readonly operator: NoteSigner;
  readonly keys: LogKeys;
  readonly keyStore: KeyStore;
  readonly clock: Clock;
  readonly randomBytes: RandomBytes;
  /** 90 days unless given. */
  readonly intermediateLifetimeSeconds?: number;
}

/** The first entries of a new trust log, and what has to be remembered of it. */
export interface FoundedDomain {
  readonly entries: readonly Uint8Array[];
  /** The leaf hash of genesis, in base64: the name of this log. */
  readonly genesis: string;
}

/**
 * Founds a trust domain: genesis and trust in the CA's root, signed by the operator; the intermediate, signed by the
 * issuer; a key for each use of tokens, put and activated by the operator. The keys of all of them go into the key store.
 */
export async function foundDomain(request: FoundingRequest): Promise<FoundedDomain> {
  const { trustDomain, operator, keys, clock, randomBytes, keyStore } = request;
  const genesisEntry = foundTrustLog({
    trustDomain,
    isTestDomain: request.isTestDomain,
    createdAtSeconds: Math.floor(clock.nowSeconds()),
    salt: randomBytes(32),
    logKey: keys.log,
    operators: [operator],
    others: [
      { role: "issuer", key: keys.issuer },
      { role: "sequencer", key: keys.sequencer },
      { role: "server", key: keys.server },
    ],
  });
  const genesis = base64Of(leafHash(genesisEntry));
  const world = { clock, randomBytes };
  const root = createRoot({ trustDomain, privateKey: generateP256().privateKey }, world);
  const lifetimeSeconds = request.intermediateLifetimeSeconds ?? intermediateLifetimeSecondsDefault;
  const intermediate = createIntermediate(
    root,
    { privateKey: generateP256().privateKey, lifetimeSeconds },
    world,
  );
  await saveAuthority(keyStore, "ca-root", root);
  await saveAuthority(keyStore, "ca-intermediate", intermediate);

  const tokenKeys = await Promise.all(
    tokenUses.map((use) => makeTokenKey(keyStore, use, clock.nowSeconds())),
  );

  const entry = (kind: EntryKind, body: JsonObject, signer: NoteSigner, sequence: number): Uint8Array =>
    signEntry({ kind, version: entryVersion, log: genesis, author: signer.name, sequence, body }, [signer]);
  const entries = [
    genesisEntry,
    entry("ca.trust", { certificate: base64Of(root.certificate.der) }, operator, 1),
    entry("ca.issue", { certificate: base64Of(intermediate.certificate.der) }, keys.issuer, 1),
    ...tokenKeys.flatMap((body, at) => [
      entry("jwk.put", body, operator, 2 + 2 * at),
      entry("ca.activate", { authority: idOfTokenKey(body) }, operator, 3 + 2 * at),
    ]),
    ...(request.wantsRequestTokens === true
      ? [entry("requesttoken.put", { to: "/*", mode: "granted" }, operator, 2 + 2 * tokenKeys.length)]
      : []),
  ];
  return { entries, genesis };
}

async function saveAuthority(
  keyStore: KeyStore,
  name: string,
  authority: CertificateAuthority,
): Promise<void> {
  await keyStore.save(name, exportPrivateKey(authority.privateKey));
  await keyStore.save(`${name}-certificate`, authority.certificate.der);
}
