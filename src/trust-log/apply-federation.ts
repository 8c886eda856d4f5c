import { fail, ok } from "../base/result.ts";
import type { Applied } from "./applied.ts";
import type { EntryBody } from "./entry-kinds.ts";
import type { EntryPlace } from "./fold.ts";
import { isTcpService, speaksOfRequests } from "./tcp-service.ts";
import type { TrustState } from "./trust-state.ts";

const federatedDomainsMax = 64;

/** Lets workloads of another trust domain be known here. */
export function applyFederation(
  state: TrustState,
  { trustDomain, ...row }: EntryBody<"federation.put">,
): Applied {
  if (trustDomain === state.genesis?.trustDomain) return fail("malformed-body", "it is this trust domain");
  const isSpiffe = row.profile === "https_spiffe";
  if (isSpiffe !== (row.endpointSpiffeId !== undefined))
    return fail("malformed-body", "https_spiffe takes the endpoint's SPIFFE ID, https_web none");
  if (isSpiffe && row.bundle === undefined && row.endpointSpiffeId?.startsWith(`spiffe://${trustDomain}/`))
    return fail(
      "malformed-body",
      "an endpoint that proves itself by its own bundle takes that bundle to begin with",
    );
  const known = state.federation.get(trustDomain);
  if (known === undefined && state.federation.size >= federatedDomainsMax)
    return fail("conflict", `there are ${state.federation.size} federated trust domains, and no more can be`);
  const bundle = row.bundle ?? known?.bundle;
  state.federation.set(trustDomain, bundle === undefined ? row : { ...row, bundle });
  return ok(true);
}

/** Takes what a federated trust domain says of its keys now. */
export function applyFederatedBundle(
  state: TrustState,
  { trustDomain, bundle }: EntryBody<"federation.bundle">,
): Applied {
  const row = state.federation.get(trustDomain);
  if (row === undefined) return fail("conflict", `no federation with ${trustDomain}`);
  state.federation.set(trustDomain, { ...row, bundle });
  return ok(true);
}

/** Ends it, with the addresses and rules that speak of it. */
export function applyFederationRemoval(
  state: TrustState,
  { trustDomain }: EntryBody<"federation.remove">,
): Applied {
  if (!state.federation.delete(trustDomain)) return fail("conflict", `no federation with ${trustDomain}`);
  const prefix = `spiffe://${trustDomain}/`;
  for (const [id] of state.remotes.entries()) if (id.startsWith(prefix)) state.remotes.delete(id);
  for (const [id, { from }] of state.rules.entries()) if (from.startsWith(prefix)) state.rules.delete(id);
  return ok(true);
}

/** Says where a service of a federated trust domain is reached. */
export function applyRemote(
  state: TrustState,
  { trustDomain, service, addresses }: EntryBody<"remote.put">,
): Applied {
  if (!state.federation.has(trustDomain)) return fail("conflict", `no federation with ${trustDomain}`);
  if (`.${trustDomain}`.endsWith(".mesh"))
    return fail("conflict", "names that end in .mesh are those of this trust domain's own services");
  const id = `spiffe://${trustDomain}${service}`;
  const host = hostOfRemote(id);
  // Two with the same host are as long as each other.
  for (const [known] of state.remotes.entries())
    if (known.length === id.length && known !== id && hostOfRemote(known) === host)
      return fail("conflict", `${known} goes by the name ${host} too`);
  state.remotes.set(id, { addresses });
  return ok(true);
}

/**
 * The host name by which applications call a service of a federated trust domain, by its SPIFFE ID: its segments
 * reversed, and the trust domain. No two in `remotes` have the same, and none ends in `.mesh`.
 */
export function hostOfRemote(spiffeId: string): string {
  const [trustDomain = "", ...segments] = spiffeId.slice("spiffe://".length).split("/");
  return [...segments.reverse(), trustDomain].join(".");
}

/** A rule for callers of a federated trust domain. */
export function applyForeignRule(
  state: TrustState,
  body: EntryBody<"foreignrule.put">,
  { size: index }: EntryPlace,
): Applied {
  const [, trustDomain = ""] = /^spiffe:\/\/([^/]+)\//.exec(body.from) ?? [];
  if (!state.federation.has(trustDomain)) return fail("conflict", `no federation with ${trustDomain}`);
  if (isTcpService(state, body.to) && speaksOfRequests(body))
    return fail("conflict", `${body.to} is called over TCP; a rule for it has no methods and no paths`);
  state.rules.set(`${body.from} ${body.to}`, { ...body, index });
  return ok(true);
}
