import { isSignedAdvertisement, parseAdvertisement } from "../data-plane/index.ts";
import type { FollowerStatus } from "../protocol/index.ts";
import { holdsPrefix, matchPrefix, type PrefixMatch, type TrustState } from "../trust-log/index.ts";

/** A grant that has something to do with a name and does not cover it. */
export interface NearGrant {
  readonly prefix: string;
  readonly holder: string;
  readonly why: string;
}

/** An instance that would be asked, or why it would not. */
export interface RouteCandidate {
  readonly instance: string;
  readonly node: string;
  readonly zone: string;
  readonly address: string;
  /** Empty where it would be asked. */
  readonly why: string;
}

/** Where a request for a name goes, by the log and by what instances say. */
export interface ExplainedRoute {
  readonly name: string;
  readonly match: PrefixMatch | undefined;
  readonly near: readonly NearGrant[];
  /** Those that would be asked first. */
  readonly candidates: readonly RouteCandidate[];
  readonly whatWouldChangeIt: string;
}

const nearMax = 10;

/** Explains a name by the state of the log and what its instances last said of themselves. */
export function explainedRoute(
  state: TrustState,
  followers: readonly FollowerStatus[],
  name: string,
): ExplainedRoute {
  const match = matchPrefix(state, name);
  const near = nearGrants(state, name, match);
  const candidates = match === undefined ? [] : candidatesFor(state, followers, match);
  return { name, match, near, candidates, whatWouldChangeIt: changeFor(name, match, candidates) };
}

/** The grants above a name that are not deep enough, and some below it. */
function nearGrants(state: TrustState, name: string, match: PrefixMatch | undefined): NearGrant[] {
  const near: NearGrant[] = [];
  for (const [prefix, { holder, depthMax }] of state.prefixes.entries()) {
    if (prefix === match?.prefix) continue;
    if (name.startsWith(`${prefix}/`)) {
      const depth = name.split("/").length - prefix.split("/").length;
      const why = depth > depthMax ? `covers ${depthMax} below, and the name is ${depth} below` : "shorter";
      near.push({ prefix, holder, why });
    } else if (prefix.startsWith(`${name}/`)) near.push({ prefix, holder, why: "below the name" });
  }
  return near.sort((left, right) => right.prefix.length - left.prefix.length).slice(0, nearMax);
}

function candidatesFor(
  state: TrustState,
  followers: readonly FollowerStatus[],
  { prefix, holder }: PrefixMatch,
): RouteCandidate[] {
  return [...state.instances.entries()]
    .filter(([, { service }]) => service === holder)
    .map(([instance, { node, isDraining }]): RouteCandidate => {
      const follower = followers.find((one) => one.instance === instance);
      const address = follower?.address ?? "";
      const zone = state.zones.get(node)?.zone ?? "";
      const drains = isDraining ? "draining" : "";
      const why = address === "" ? "serves nowhere now" : drains || whyNotAdvertised(state, follower, prefix);
      return { instance, node, zone, address, why };
    })
    .sort((left, right) => (left.why < right.why ? -1 : 1));
}

/** A service's own name needs no saying; anything else its proxy must have signed. */
function whyNotAdvertised(state: TrustState, follower: FollowerStatus | undefined, prefix: string): string {
  if (follower === undefined || follower.service === prefix) return "";
  const { advertisement } = follower;
  if (advertisement === undefined) return "its proxy is too old to advertise prefixes";
  const said = parseAdvertisement(advertisement);
  if (!said.ok || !isSignedAdvertisement(advertisement))
    return "its advertisement is not signed as it must be";
  const refused = said.value.prefixes.find((one) => !holdsPrefix(state, follower.service, one));
  const note = refused === undefined ? "" : `, and advertises ${refused}, which it does not hold`;
  return said.value.prefixes.includes(prefix)
    ? ""
    : `does not advertise it${note}: troth run --prefix ${prefix}`;
}

function changeFor(
  name: string,
  match: PrefixMatch | undefined,
  candidates: readonly RouteCandidate[],
): string {
  if (match === undefined) return `a grant that covers it: troth prefix grant ${name} SERVICE`;
  const { prefix, holder } = match;
  if (candidates.every(({ why }) => why !== ""))
    return prefix === holder
      ? `a running instance: troth run --service ${holder} -- CMD`
      : `an instance of ${holder} that advertises it: troth run --service ${holder} --prefix ${prefix} -- CMD`;
  return prefix === holder
    ? "nothing but the end of the service: a registered name is its own"
    : `a longer grant, or the end of this one: troth prefix revoke ${prefix}`;
}
