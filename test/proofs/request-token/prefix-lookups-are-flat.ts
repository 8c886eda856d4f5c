import { matchPrefix } from "../../../src/trust-log/index.ts";
import { ManyPrefixes, prefixNamed } from "../../apparatus/many-prefixes.ts";
import { type Claim, failed, ok } from "../claim.ts";

const sizes = [10, 1_000, 10_000] as const;
const instances = 1_000;
const rounds = 40;
const lookupsPerRound = 20_000;
/** Of so many names there are some; the caches of the machine are to be as cold for ten prefixes as for ten thousand. */
const namesAsked = 10_000;
const ratioMax = 3;

export const claim: Claim = {
  text: "finding the prefix that a name belongs to costs the same among 10, 1,000 and 10,000 prefixes of 1,000 instances",
  run: () => {
    const tables = sizes.map((size) => new ManyPrefixes(size, instances).state);
    const asked = sizes.map((size) =>
      Array.from({ length: namesAsked }, (_, number) => `${prefixNamed(number % size)}/part/${number}`),
    );
    const best = sizes.map(() => Number.POSITIVE_INFINITY);
    let missed = 0;
    for (let round = 0; round < rounds; round += 1)
      for (const [place, state] of tables.entries()) {
        const names = asked[place] ?? [];
        const started = performance.now();
        for (let count = 0; count < lookupsPerRound; count += 1)
          if (matchPrefix(state, names[count % namesAsked] ?? "") === undefined) missed += 1;
        const nanos = ((performance.now() - started) * 1e6) / lookupsPerRound;
        best[place] = Math.min(best[place] ?? nanos, nanos);
      }
    const [few = 0, some = 0, many = 0] = best;
    const figure = `${few.toFixed(0)}, ${some.toFixed(0)} and ${many.toFixed(0)} ns a name of 5 components (best of ${rounds} rounds), 10,000 prefixes cost ${(many / few).toFixed(2)} times what 10 do`;
    if (missed > 0) return Promise.resolve(failed(`${missed} names were not found`));
    return Promise.resolve(many / few <= ratioMax ? ok(figure) : failed(figure));
  },
};
