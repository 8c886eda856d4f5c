import { type NoteVerifier, parseVerifierKey } from "./signed-note.ts";

/**
 * The name of the log's key, and so the origin of its checkpoints, in a generation. Each has its own, so that no
 * checkpoint of one passes for one of another even where the key has stayed.
 */
export function logKeyName(trustDomain: string, generation: number): string {
  return generation === 1 ? `${trustDomain}/trust-log` : `${trustDomain}/trust-log-${generation}`;
}

/** The generation that the name of a log's key speaks of; 1 for a name that speaks of none. */
export function generationOf({ name }: Pick<NoteVerifier, "name">): number {
  return Number(/\/trust-log-([1-9][0-9]{0,3})$/.exec(name)?.[1] ?? 1);
}

/** Whether a verifier key is well-formed and named for this generation of the log. */
export function isKeyOfGeneration(logKey: string, trustDomain: string, generation: number): boolean {
  const parsed = parseVerifierKey(logKey);
  return parsed.ok && parsed.value.name === logKeyName(trustDomain, generation);
}
