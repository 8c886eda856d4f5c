import { decideAnyAccess } from "../policy/index.ts";
import type { TrustState } from "../trust-log/index.ts";

/** Answers kept of pairs of services. */
const answersMax = 100_000;

/**
 * Says whether a service may call another at all: its name, or a prefix that it holds, by the rules of the trust log.
 * Answers are kept until rules or grants of prefixes change.
 */
export class PossibleCallers {
  readonly #answers = new Map<string, boolean>();
  #asOf = "";

  /** Whether any rule lets `from` call `to` with anything. */
  mayCall(state: Pick<TrustState, "rules" | "prefixes">, from: string, to: string): boolean {
    const asOf = `${state.rules.digest()} ${state.prefixes.digest()}`;
    if (asOf !== this.#asOf || this.#answers.size >= answersMax) this.#answers.clear();
    this.#asOf = asOf;
    const known = this.#answers.get(`${from} ${to}`);
    if (known !== undefined) return known;
    const held = [...state.prefixes.entries()].flatMap(([prefix, { holder }]) =>
      holder === to ? [prefix] : [],
    );
    const rules = [...state.rules.entries()].map(([, rule]) => rule);
    const may = [to, ...held].some((name) => decideAnyAccess(rules, { from, to: name }).effect === "allow");
    this.#answers.set(`${from} ${to}`, may);
    return may;
  }
}
