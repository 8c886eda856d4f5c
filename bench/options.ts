import { parseArgs } from "node:util";
import { messageOf } from "../src/base/mesh-error.ts";
import { fail, ok, type Result } from "../src/base/result.ts";
import { type Effort, efforts } from "./scenarios.ts";

/** What a run is to do. */
export interface BenchOptions {
  readonly effort: Effort;
  /** Measure what has this in its name; all when empty. */
  readonly only: string;
  /** A folder or git ref with another build of Troth; empty for the peers. */
  readonly compare: string;
  /** Whether this build is measured against itself without request tokens. */
  readonly tokens: boolean;
  readonly profile: boolean;
  readonly help: boolean;
}

const roundsMax = 1_000;

/** How the bench is called. */
export const benchUsage = `npm run bench                     Troth against the peers, some 35 minutes
npm run bench -- --quick          fewer scenarios, shorter rounds, some 8 minutes
npm run bench -- --full           more and longer rounds, about 90 minutes
npm run bench -- --only NAME      scenarios with NAME in their name; the others of all runs are left out
npm run bench -- --rounds N       each scenario so often: the more, the smaller the difference that shows
npm run bench -- --compare REF    another build of Troth (git ref, or folder of a checkout) against this one
npm run bench -- --tokens         a mesh whose requests carry request tokens against one whose requests do not
npm run bench -- --profile        where both sidecars spend their time at saturation, or in --only NAME
`;

/** Reads the command line. */
export function parseBenchOptions(args: readonly string[]): Result<BenchOptions, "usage"> {
  try {
    const { values } = parseArgs({
      args: [...args],
      options: {
        quick: { type: "boolean", default: false },
        full: { type: "boolean", default: false },
        only: { type: "string", default: "" },
        rounds: { type: "string", default: "" },
        compare: { type: "string", default: "" },
        tokens: { type: "boolean", default: false },
        profile: { type: "boolean", default: false },
        help: { type: "boolean", short: "h", default: false },
      },
    });
    if (values.quick && values.full) return fail("usage", "--quick and --full exclude each other");
    if ([values.profile, values.compare !== "", values.tokens].filter(Boolean).length > 1)
      return fail("usage", "--profile, --compare and --tokens exclude each other");
    const effort = values.quick ? efforts.quick : values.full ? efforts.full : efforts.default;
    const rounds = values.rounds === "" ? effort.rounds : Number(values.rounds);
    if (!Number.isInteger(rounds) || rounds < 1 || rounds > roundsMax)
      return fail("usage", `--rounds is a whole number from 1 to ${roundsMax}`);
    return ok({
      effort: { ...effort, rounds },
      only: values.only,
      compare: values.compare,
      tokens: values.tokens,
      profile: values.profile,
      help: values.help,
    });
  } catch (error) {
    return fail("usage", messageOf(error));
  }
}
