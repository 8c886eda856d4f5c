import type { AuthorRole } from "./entry-kinds.ts";

/** What a person may be. */
export type PersonRole = Extract<AuthorRole, "viewer" | "operator" | "approver" | "auditor">;

/** The roles of people. */
export const peoplesRoles: ReadonlySet<string> = new Set<PersonRole>([
  "viewer",
  "operator",
  "approver",
  "auditor",
]);
const personName = /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/;

/** Whether keys of a role are held by people, rather than by a control plane. */
export function isPeoples(role: AuthorRole): role is PersonRole {
  return peoplesRoles.has(role);
}

/** Whether a text can be a person's name. */
export function isPersonName(text: string): boolean {
  return personName.test(text);
}

/** Who holds the key of a name: the person of `shop.example/operator/alice`; a control plane's key is its own holder. */
export function personOf(name: string): string {
  const [, person] = /^[^/]+\/(?:viewer|operator|approver|auditor)\/([^/]+)$/.exec(name) ?? [];
  return person ?? name;
}

/**
 * What is wrong with a key's name, or undefined. People's keys are named `<trust domain>/<role>/<person>`, so that two
 * keys of one person are known as such; no other key may look like one.
 */
export function keyNameProblem(trustDomain: string, name: string, role: AuthorRole): string | undefined {
  if (!isPeoples(role)) {
    const isLikeAPersons = [...peoplesRoles].some((other) => name.startsWith(`${trustDomain}/${other}/`));
    return isLikeAPersons ? `${name} is the name of a person's key, not of an ${role}'s` : undefined;
  }
  const prefix = `${trustDomain}/${role}/`;
  return name.startsWith(prefix) && isPersonName(name.slice(prefix.length))
    ? undefined
    : `${name} is not ${prefix}<person>, the person in lower case`;
}
