import { z } from "zod";
import { canonicalJson } from "../base/canonical-json.ts";
import { entryBodies, type TrustState } from "../trust-log/index.ts";
import { dialectVersion, servicePrefixText, textLike } from "./dialect-text.ts";

const federation = entryBodies["federation.put"].shape;
const remote = entryBodies["remote.put"].shape;

/** Another trust domain that is believed of its own workloads: entry kinds `federation.…` and `remote.…`. */
export const federationManifest = z.strictObject({
  apiVersion: z.literal(dialectVersion),
  kind: z.literal("Federation"),
  metadata: z.strictObject({
    name: textLike(federation.trustDomain, "a trust domain such as bank.example").describe(
      "The other trust domain.",
    ),
  }),
  spec: z
    .strictObject({
      url: textLike(federation.url, "an https URL without user information").describe(
        "Where its bundle is read.",
      ),
      profile: z
        .enum(["https_spiffe", "https_web"])
        .default("https_spiffe")
        .describe("How the endpoint proves itself; `https_spiffe` unless given."),
      endpointSpiffeId: textLike(federation.endpointSpiffeId.unwrap(), "a SPIFFE ID")
        .exactOptional()
        .describe("Whom the endpoint proves to be; with `https_spiffe` alone."),
      bundle: textLike(federation.bundle.unwrap(), "a SPIFFE bundle of at most 65 536 characters")
        .exactOptional()
        .describe(
          "The bundle (JSON) to begin with, which `https_spiffe` cannot do without. Once one is known, that is kept up from the URL, and this is without effect.",
        ),
      services: z
        .array(
          z.strictObject({
            name: servicePrefixText.describe("The service's name there."),
            addresses: z
              .array(textLike(remote.addresses.element, "HOST:PORT"))
              .min(1, "expected at least one address")
              .max(16, "expected at most 16 addresses")
              .describe("Where its instances are reached from here."),
          }),
        )
        .max(1024, "expected at most 1024 services")
        .refine(
          (all) => new Set(all.map(({ name }) => name)).size === all.length,
          "expected each service once",
        )
        .default([])
        .describe("Its services that may be called from here: applying removes those that are not listed."),
    })
    .describe("How its bundle is had, and where its services are."),
});

/** A federation as a file says it. */
export type FederationManifest = z.infer<typeof federationManifest>;

/** The part of the public state that says it. */
export type FederationState = Pick<TrustState, "federation" | "remotes">;

/** An entry about a federation. */
export interface FederationEntry {
  readonly kind: "federation.put" | "federation.remove" | "remote.put" | "remote.remove";
  readonly body: Readonly<Record<string, string | string[]>>;
}

/** The federation with a trust domain as the state has it, without the bundle, which its endpoint says anew. */
export function federationOf(state: FederationState, name: string): FederationManifest | undefined {
  const row = state.federation.get(name);
  if (row === undefined) return undefined;
  const { bundle: _, ...place } = row;
  const prefix = `spiffe://${name}`;
  const services = [...state.remotes.entries()]
    .filter(([id]) => id.startsWith(`${prefix}/`))
    .map(([id, { addresses }]) => ({ name: id.slice(prefix.length), addresses: [...addresses] }));
  const spec = { ...place, services };
  return orderedFederation({ apiVersion: dialectVersion, kind: "Federation", metadata: { name }, spec });
}

/** The same without a bundle where one is known already. */
export function withoutKnownBundle(state: FederationState, manifest: FederationManifest): FederationManifest {
  if (state.federation.get(manifest.metadata.name)?.bundle === undefined) return manifest;
  const { bundle: _, ...spec } = manifest.spec;
  return { ...manifest, spec };
}

/** The fewest entries that make one of the other. */
export function federationEntries(
  state: FederationState,
  { metadata: { name: trustDomain }, spec: { services, ...place } }: FederationManifest,
): FederationEntry[] {
  const before = federationOf(state, trustDomain);
  const { services: known = [], ...placeBefore } = before?.spec ?? {};
  const entries: FederationEntry[] = [];
  // An endpoint that moves proves itself by what is known of it.
  const bundle = state.federation.get(trustDomain)?.bundle;
  if (before === undefined || canonicalJson(placeBefore) !== canonicalJson(place))
    entries.push({
      kind: "federation.put",
      body: { trustDomain, ...place, ...(bundle === undefined ? {} : { bundle }) },
    });
  const addressesOf = new Map(known.map(({ name, addresses }) => [name, addresses]));
  for (const { name: service, addresses } of services)
    if (canonicalJson(addressesOf.get(service) ?? []) !== canonicalJson(addresses))
      entries.push({ kind: "remote.put", body: { trustDomain, service, addresses } });
  for (const { name: service } of known)
    if (services.every(({ name }) => name !== service))
      entries.push({ kind: "remote.remove", body: { trustDomain, service } });
  return entries;
}

/** The one form of all federations that mean the same. */
export function orderedFederation(manifest: FederationManifest): FederationManifest {
  const { url, profile, services, ...more } = manifest.spec;
  const inOrder = services.toSorted((left, right) => (left.name < right.name ? -1 : 1));
  return { ...manifest, spec: { url, profile, ...more, services: inOrder } };
}
