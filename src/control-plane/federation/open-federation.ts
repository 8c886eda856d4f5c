import type { Clock, RandomBytes } from "../../base/clock.ts";
import type { Log } from "../../base/log.ts";
import type { CertificateAuthority, TrustDomain } from "../../identity/index.ts";
import type { FollowerRegistry } from "../follower-registry.ts";
import type { HeldAuthorities } from "../held-authorities.ts";
import type { Issuer } from "../issue-instance-svid.ts";
import { PublishedBundle } from "./domain-bundle.ts";
import { FederationPoller, type FederationStanding } from "./federation-poller.ts";
import { type EndpointProof, openBundleEndpoint } from "./open-bundle-endpoint.ts";

/** How a trust domain exchanges bundles with others. */
export interface FederationOptions {
  /** Where the trust domain's bundle is served to others, if anywhere, and how that place proves itself. */
  readonly bundleEndpoint?: {
    readonly listen: { readonly host: string; readonly port: number };
    readonly proof: EndpointProof;
  };
  /** CAs that bundle endpoints of the profile https_web may have, besides the public web's (PEM). */
  readonly federationAuthorities?: string;
}

/** The exchange of bundles, in both directions. */
export interface Federation extends AsyncDisposable {
  /** host:port of the bundle endpoint; empty where there is none. */
  readonly endpointAddress: string;
  /** How reading the others' bundles goes. */
  readonly standings: () => FederationStanding[];
  /** Reads one now; undefined where there is no such federation. */
  readonly refresh: (trustDomain: string) => Promise<FederationStanding | undefined>;
}

/** Opens the bundle endpoint, if there is to be one, and begins to read those of federated trust domains. */
export async function openFederation(
  options: FederationOptions & {
    readonly trustDomain: TrustDomain;
    readonly issuer: Issuer;
    readonly authorities: HeldAuthorities;
    readonly registry: FollowerRegistry;
    readonly clock: Clock;
    readonly randomBytes: RandomBytes;
    readonly log: Log;
  },
): Promise<Federation> {
  const { trustDomain, issuer, authorities, registry, clock, randomBytes, log, federationAuthorities } =
    options;
  const { writer, svidLifetimeSeconds } = issuer;
  await using opened = new AsyncDisposableStack();
  let endpointAddress = "";
  if (options.bundleEndpoint !== undefined) {
    const bundle = new PublishedBundle({
      trustDomain,
      state: () => writer.state,
      size: () => writer.newest?.size ?? 0,
    });
    await authorities.issuing();
    const authority = (): CertificateAuthority | undefined => authorities.latest;
    const parts = { bundle, authority, svidLifetimeSeconds, clock, randomBytes, log };
    const endpoint = opened.use(await openBundleEndpoint({ ...options.bundleEndpoint, ...parts }));
    endpointAddress = endpoint.address;
  }
  const random = (): number => (randomBytes(1)[0] ?? 0) / 256;
  const trust = federationAuthorities === undefined ? {} : { extraAuthorities: federationAuthorities };
  const poller = opened.use(new FederationPoller({ writer, registry, clock, random, log, ...trust }));
  const running = opened.move();
  return {
    endpointAddress,
    standings: () => poller.standings(),
    refresh: (trustDomain) => poller.refresh(trustDomain),
    [Symbol.asyncDispose]: () => running.disposeAsync(),
  };
}
