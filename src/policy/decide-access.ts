/** The version of the rules in this file; recorded with every decision, so that it can be computed again. */
export const evaluatorVersion = 2;

/**
 * Who may or may not call what. A name covers itself; a name with `/*` covers all below it; `/*` covers every service.
 * A caller of another trust domain goes by its SPIFFE ID: what is said of services never allows it anything, and a deny
 * of `/*` denies it as well.
 */
export interface AccessRule {
  readonly from: string;
  readonly to: string;
  readonly effect: "allow" | "deny";
  /** Any when empty. */
  readonly methods: readonly string[];
  /** Path prefixes, matched on component boundaries; any when empty. */
  readonly paths: readonly string[];
}

/** A TCP connection that is asked for: nothing is known of it but its two services, by name. */
export interface TcpAccess {
  readonly from: string;
  readonly to: string;
}

/** A request that is asked for; its path is normalised and without its query. */
export interface AccessRequest extends TcpAccess {
  readonly method: string;
  readonly path: string;
}

/** Why access is granted or not. */
export type AccessReason =
  | "rule-allows"
  | "rule-denies"
  | "no-rule"
  /** A deny for some methods or paths: whether a TCP connection carries one of them cannot be known. */
  | "request-rule-denies"
  /** There is an allow, but for some methods or paths only, and a TCP connection has neither. */
  | "only-requests-allowed";

/** The answer, with the rule that gave it. */
export interface AccessDecision {
  readonly effect: "allow" | "deny";
  readonly reason: AccessReason;
  /** `<from> <to>` of the rule; empty where none matched. */
  readonly rule: string;
}

/**
 * Decides on a request by rules alone: a matching deny wins, then a matching allow, and without either the answer is
 * no. Rules are taken in the order of their names, so that two evaluators name the same one.
 */
export function decideAccess(rules: Iterable<AccessRule>, request: AccessRequest): AccessDecision {
  let allowed: string | undefined;
  let denied: string | undefined;
  for (const rule of rules) {
    if (!matches(rule, request)) continue;
    if (rule.effect === "deny") denied = firstName(denied, rule);
    else allowed = firstName(allowed, rule);
  }
  if (denied !== undefined) return { effect: "deny", reason: "rule-denies", rule: denied };
  if (allowed !== undefined) return { effect: "allow", reason: "rule-allows", rule: allowed };
  return nothingMatches;
}

/**
 * Decides on a TCP connection, by the same order of deny before allow. A rule for some methods or paths cannot be held
 * against it: in doubt a deny of that form denies the connection, and an allow of that form does not allow it.
 */
export function decideTcpAccess(rules: Iterable<AccessRule>, connection: TcpAccess): AccessDecision {
  let allowed: string | undefined;
  let denied: string | undefined;
  let allowedInPart: string | undefined;
  let deniedInPart: string | undefined;
  for (const rule of rules) {
    if (!coversCaller(rule, connection.from) || !covers(rule.to, connection.to)) continue;
    const isInPart = rule.methods.length > 0 || rule.paths.length > 0;
    if (rule.effect === "deny")
      if (isInPart) deniedInPart = firstName(deniedInPart, rule);
      else denied = firstName(denied, rule);
    else if (isInPart) allowedInPart = firstName(allowedInPart, rule);
    else allowed = firstName(allowed, rule);
  }
  if (denied !== undefined) return { effect: "deny", reason: "rule-denies", rule: denied };
  if (deniedInPart !== undefined)
    return { effect: "deny", reason: "request-rule-denies", rule: deniedInPart };
  if (allowed !== undefined) return { effect: "allow", reason: "rule-allows", rule: allowed };
  if (allowedInPart !== undefined)
    return { effect: "deny", reason: "only-requests-allowed", rule: allowedInPart };
  return nothingMatches;
}

/**
 * Decides whether one service may call another with anything at all: for whoever carries bytes between the two and
 * sees no request. Only a deny for everything denies; an allow for some methods or paths is enough.
 */
export function decideAnyAccess(rules: Iterable<AccessRule>, { from, to }: TcpAccess): AccessDecision {
  let allowed: string | undefined;
  let denied: string | undefined;
  for (const rule of rules) {
    if (!coversCaller(rule, from) || !covers(rule.to, to)) continue;
    const isInPart = rule.methods.length > 0 || rule.paths.length > 0;
    if (rule.effect === "allow") allowed = firstName(allowed, rule);
    else if (!isInPart) denied = firstName(denied, rule);
  }
  if (denied !== undefined) return { effect: "deny", reason: "rule-denies", rule: denied };
  if (allowed !== undefined) return { effect: "allow", reason: "rule-allows", rule: allowed };
  return nothingMatches;
}

const nothingMatches: AccessDecision = { effect: "deny", reason: "no-rule", rule: "" };

function firstName(known: string | undefined, { from, to }: AccessRule): string {
  const name = `${from} ${to}`;
  return known === undefined || name < known ? name : known;
}

function matches(rule: AccessRule, request: AccessRequest): boolean {
  return (
    coversCaller(rule, request.from) &&
    covers(rule.to, request.to) &&
    (rule.methods.length === 0 || rule.methods.includes(request.method)) &&
    (rule.paths.length === 0 || rule.paths.some((prefix) => isBelow(prefix, request.path)))
  );
}

/** Whoever denies everybody does not mean to leave out strangers. */
function coversCaller({ from, effect }: AccessRule, caller: string): boolean {
  return covers(from, caller) || (effect === "deny" && from === "/*");
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
