import type { PrefixRow, TrustState } from "./trust-state.ts";

/** The prefix that a name belongs to, and the service that holds it. */
export interface PrefixMatch {
  readonly prefix: string;
  readonly holder: string;
}

/**
 * The longest prefix, on components, that somebody has been granted and that covers a name: a registered service its
 * own name, and whoever holds a `prefix.grant` what is no deeper below its prefix than the grant says. Whether anybody
 * serves it now makes no difference. Costs one look-up a component, however many prefixes there are.
 */
export function matchPrefix(
  { services, prefixes }: Pick<TrustState, "services" | "prefixes">,
  name: string,
): PrefixMatch | undefined {
  if (services.has(name)) return { prefix: name, holder: name };
  if (prefixes.size === 0) return undefined;
  let depth = 0;
  for (let end = name.length; end > 0; end = name.lastIndexOf("/", end - 1)) {
    const prefix = end === name.length ? name : name.slice(0, end);
    const row = prefixes.get(prefix);
    if (row !== undefined && depth <= row.depthMax) return { prefix, holder: row.holder };
    depth += 1;
  }
  return undefined;
}

/** Whether a service may say that it serves a prefix: its own name, or one that it has been granted. */
export function holdsPrefix(
  { services, prefixes }: Pick<TrustState, "services" | "prefixes">,
  service: string,
  prefix: string,
): boolean {
  return prefix === service ? services.has(service) : prefixes.get(prefix)?.holder === service;
}

/** How many components a prefix or a name has. */
export function componentsOf(name: string): number {
  return name.split("/").length - 1;
}

/** Whether a prefix is above another one, on components; no prefix is above itself. */
export function isAbove(prefix: string, other: string): boolean {
  return other.startsWith(`${prefix}/`);
}

/** What one row of grants allows of another below it: no deeper, no longer, and not handed on where it must not be. */
export function isWithin(parent: PrefixRow, under: string, child: PrefixRow, prefix: string): boolean {
  if (!parent.mayDelegate || !isAbove(under, prefix)) return false;
  const below = componentsOf(prefix) - componentsOf(under);
  if (below + child.depthMax > parent.depthMax) return false;
  if (parent.notAfterSeconds === 0) return true;
  return child.notAfterSeconds !== 0 && child.notAfterSeconds <= parent.notAfterSeconds;
}
