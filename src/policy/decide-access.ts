/** The version of the rules in this file; recorded with every decision, so that it can be computed again. */
export const evaluatorVersion = 1;

/** Who may or may not call what. A name covers itself; a name with `/*` covers all below it; `/*` covers everybody. */
export interface AccessRule {
  readonly from: string;
  readonly to: string;
  readonly effect: "allow" | "deny";
  /** Any when empty. */
  readonly methods: readonly string[];
  /** Path prefixes, matched on component boundaries; any when empty. */
  readonly paths: readonly string[];
}

/** What is asked for: services by name, the path normalised and without its query. */
export interface AccessRequest {
  readonly from: string;
  readonly to: string;
  readonly method: string;
  readonly path: string;
}

/** Why access is granted or not. */
export type AccessReason = "rule-allows" | "rule-denies" | "no-rule";

/** The answer, with the rule that gave it. */
export interface AccessDecision {
  readonly effect: "allow" | "deny";
  readonly reason: AccessReason;
  /** `<from> <to>` of the rule; empty where none matched. */
  readonly rule: string;
}

/**
 * Decides by rules alone: a matching deny wins, then a matching allow, and without either the answer is no. Rules are
 * taken in the order of their names, so that two evaluators name the same one.
 */
export function decideAccess(rules: Iterable<AccessRule>, request: AccessRequest): AccessDecision {
  let allowed: string | undefined;
  let denied: string | undefined;
  for (const rule of rules) {
    if (!matches(rule, request)) continue;
    const name = `${rule.from} ${rule.to}`;
    if (rule.effect === "deny") denied = denied === undefined || name < denied ? name : denied;
    else allowed = allowed === undefined || name < allowed ? name : allowed;
  }
  if (denied !== undefined) return { effect: "deny", reason: "rule-denies", rule: denied };
  if (allowed !== undefined) return { effect: "allow", reason: "rule-allows", rule: allowed };
  return { effect: "deny", reason: "no-rule", rule: "" };
}

function matches(rule: AccessRule, request: AccessRequest): boolean {
  return (
    covers(rule.from, request.from) &&
    covers(rule.to, request.to) &&
    (rule.methods.length === 0 || rule.methods.includes(request.method)) &&
    (rule.paths.length === 0 || rule.paths.some((prefix) => isBelow(prefix, request.path)))
  );
}

/** Whether a rule's pattern is this name, or stands for it: a prefix and `/*`, or `/*`. */
export function covers(pattern: string, name: string): boolean {
  return pattern.endsWith("/*") ? name.startsWith(pattern.slice(0, -1)) : pattern === name;
}

/** `/cards` covers `/cards` and `/cards/1`, not `/cardsharp`; `/` covers everything. */
export function isBelow(prefix: string, path: string): boolean {
  if (!path.startsWith(prefix)) return false;
  return path.length === prefix.length || prefix.endsWith("/") || path[prefix.length] === "/";
}
