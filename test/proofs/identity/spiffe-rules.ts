import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { systemClock } from "../../../src/cli/system.ts";
import { missingForGoPeer } from "../../apparatus/go-peer.ts";
import { GoSpiffe } from "../../apparatus/go-spiffe.ts";
import { type JudgedCase, judgedCases, judgedRandomIds } from "../../apparatus/judged-cases.ts";
import { type Claim, failed, ok, type ProofContext, skipped } from "../claim.ts";

const randomShort = 3_000;
const randomFull = 100_000;
const shownMax = 5;

export const claim: Claim = {
  text: "each rule of SPIFFE for IDs, X.509-, JWT- and WIT-SVIDs and bundles has a case that is judged as the standard says, and nothing that go-spiffe refuses is accepted",
  run: async (context) => {
    const missing = missingForGoPeer("spiffe-rules");
    if (missing !== undefined) return skipped(missing);
    await using folder = await temporary();
    await using go = await GoSpiffe.open(folder.path);
    const cases = [
      ...judgedCases(Math.floor(systemClock.nowSeconds())),
      ...judgedRandomIds(context.isFull ? randomFull : randomShort),
    ];
    const counts = new Map<string, number>();
    const wrong: string[] = [];
    const stricter: JudgedCase[] = [];
    for (const one of cases) {
      const isAcceptedThere = (await go.errorIn(one.job)) === "";
      const problem = problemWith(one, isAcceptedThere);
      if (problem === undefined) counts.set(one.table, (counts.get(one.table) ?? 0) + 1);
      else wrong.push(`${one.table}, ${one.name}: ${problem}`);
      if (isAcceptedThere && one.found !== "accepted") stricter.push(one);
    }
    if (wrong.length > 0) return failed(`${wrong.length} cases, ${wrong.slice(0, shownMax).join("; ")}`);
    tell(context, stricter);
    const tables = [...counts].map(([table, count]) => `${count} of ${table}`).join(", ");
    return ok(
      `${tables}: all as they should be; go-spiffe agrees on all but ${stricter.length}, which are refused here for a reason that is written down, and refuses none that is accepted`,
    );
  },
};

/** What is wrong with the judgements of a case, the one here and the one there; undefined where nothing is. */
function problemWith(
  { expected, found, stricter }: JudgedCase,
  isAcceptedThere: boolean,
): string | undefined {
  if (found !== expected) return `expected ${expected} and found ${found}`;
  if (stricter !== undefined && !isAcceptedThere)
    return "go-spiffe refuses it too, so nothing is to be explained";
  if (found === "accepted") return isAcceptedThere ? undefined : "go-spiffe refuses what is accepted here";
  return isAcceptedThere && stricter === undefined ? `go-spiffe accepts what is ${found} here` : undefined;
}

function tell({ note }: ProofContext, stricter: readonly JudgedCase[]): void {
  for (const { table, name, found, stricter: why } of stricter)
    note(`${table}, ${name}: ${found} here and accepted by go-spiffe: ${why}`);
}

async function temporary(): Promise<AsyncDisposable & { readonly path: string }> {
  const path = await mkdtemp(join(tmpdir(), "troth-spiffe-"));
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }) };
}
