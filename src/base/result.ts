/** The outcome of judging something from outside: a value, or the reason why it was not accepted. */
export type Result<Value, Reason extends string> =
  | { readonly ok: true; readonly value: Value }
  | Refusal<Reason>;

/** A refusal carries a reason from a closed set and, for people, a sentence with the particulars. */
export interface Refusal<Reason extends string> {
  readonly ok: false;
  readonly reason: Reason;
  readonly detail: string;
}

/** Accepts with a value. */
export function ok<Value>(value: Value): { readonly ok: true; readonly value: Value } {
  return { ok: true, value };
}

/** Refuses with a reason from a closed set; `detail` names the particulars and never a secret. */
export function fail<Reason extends string>(reason: Reason, detail = ""): Refusal<Reason> {
  return { ok: false, reason, detail };
}
