import type { SharedApparatus } from "../apparatus/shared-apparatus.ts";

/** What an experiment is told. */
export interface ProofContext {
  /** Whether the long form was asked for (`--full`). */
  readonly isFull: boolean;
  /** Says on standard error how far a long experiment is. */
  readonly note: (text: string) => void;
}

/** What an experiment saw. */
export type Outcome =
  | { readonly verdict: "ok"; readonly figure: string }
  | { readonly verdict: "failed" | "skipped"; readonly why: string };

/** Something that this repository says of itself, and the experiment that shows it against the real thing. */
export interface Claim {
  /** One sentence in the present tense. */
  readonly text: string;
  /** How long the experiment may take; five minutes unless given. */
  readonly limitSeconds?: number;
  /** What it shares with the claims next to it; closed before the first claim that does not name it. */
  readonly uses?: readonly SharedApparatus[];
  readonly run: (context: ProofContext) => Promise<Outcome>;
}

/** The claim holds; `figure` is what was measured. */
export function ok(figure: string): Outcome {
  return { verdict: "ok", figure };
}

/** The claim does not hold; `why` is what was seen instead. */
export function failed(why: string): Outcome {
  return { verdict: "failed", why };
}

/** This machine cannot show it. */
export function skipped(why: string): Outcome {
  return { verdict: "skipped", why };
}
