import type { RequestTokenMode } from "./entry-kinds.ts";
import type { TrustState } from "./trust-state.ts";

/** How old a request token may be, and how far ahead, where nothing else is said: 30 s and 5 s. */
export const defaultTokenWindow: RequestTokenPolicy["window"] = { pastSeconds: 30, futureSeconds: 5 };

/** What holds for requests to a service, and which entry says so. */
export interface RequestTokenPolicy {
  readonly mode: RequestTokenMode;
  readonly window: { readonly pastSeconds: number; readonly futureSeconds: number };
  /** The pattern of the entry; empty where none speaks of the service. */
  readonly to: string;
}

const none: RequestTokenPolicy = { mode: "off", window: defaultTokenWindow, to: "" };

/**
 * Whether requests to a service carry request tokens: the entry for the service itself, else that for the longest prefix
 * and `/*`. Where no entry speaks of it they carry none. Costs a look-up a segment.
 */
export function requestTokenPolicyOf(
  { requestTokens }: Pick<TrustState, "requestTokens">,
  service: string,
): RequestTokenPolicy {
  if (requestTokens.size === 0) return none;
  for (const pattern of patternsFor(service)) {
    const row = requestTokens.get(pattern);
    if (row !== undefined) return { mode: row.mode, window: row.window ?? defaultTokenWindow, to: pattern };
  }
  return none;
}

/** `/a/b` is spoken of by `/a/b`, `/a/*` and `/*`, the most specific first. */
function* patternsFor(service: string): Generator<string> {
  yield service;
  for (let end = service.lastIndexOf("/"); end >= 0; end = end === 0 ? -1 : service.lastIndexOf("/", end - 1))
    yield `${service.slice(0, end)}/*`;
}
