import { fail, ok, type Result } from "../base/result.ts";
import { matchPrefix, type TrustState } from "../trust-log/index.ts";

/**
 * What the person who writes a request token policy should know of whom it speaks of, or nothing (an empty text): of a
 * prefix the policy of the service counts that holds it, so one for the prefix alone would never be asked for.
 */
export function tokenPolicyReach(
  state: Pick<TrustState, "services" | "prefixes">,
  to: string,
): Result<string, "prefix-only"> {
  if (to.endsWith("/*")) return ok(elsewhereNote(state, to.slice(0, -1)));
  if (state.services.has(to)) return ok("");
  const match = matchPrefix(state, to);
  if (match === undefined) return ok(`${to} is not registered (yet)`);
  const { prefix, holder } = match;
  const counts = `what is asked for under it goes by the policy of ${holder}: troth token policy ${holder} MODE`;
  if (prefix === to) return fail("prefix-only", `${to} is a prefix that ${holder} holds; ${counts}`);
  return ok(
    `${to} is not registered (yet), and lies under the prefix ${prefix}, which ${holder} holds; ${counts}`,
  );
}

/** Of prefixes under a pattern that services hold of which it does not speak. */
function elsewhereNote({ prefixes }: Pick<TrustState, "prefixes">, under: string): string {
  let first: string | undefined;
  let count = 0;
  for (const [prefix, { holder }] of prefixes.entries()) {
    if (!prefix.startsWith(under) || holder.startsWith(under)) continue;
    first ??= `${prefix}, which ${holder} holds`;
    count += 1;
  }
  if (first === undefined) return "";
  const more = count === 1 ? "" : ` and ${count - 1} more`;
  return `the policy of its holder counts for a prefix: this one does not for ${first}${more}`;
}
