import { join } from "node:path";
import { z } from "zod";
import { RunningCommand } from "../../apparatus/running-command.ts";
import { repository } from "../../apparatus/running-mesh.ts";
import { fuzzers } from "../../fuzz/fuzzers.ts";
import { type Claim, failed, ok } from "../claim.ts";

const secondsShort = 60;
const secondsFull = 3_600;
/** How much longer than its time a fuzzer may take before it is taken to hang. */
const graceSeconds = 30;

const findingsSchema = z.object({
  executions: z.number(),
  found: z.string().optional(),
  isHang: z.boolean(),
});

/** Each in a process of its own, so that a crash or a hang is seen as what it is. */
export const claim: Claim = {
  text: "fuzzing finds no crash, no hang and no disagreement with llhttp or nghttp2",
  limitSeconds: secondsFull + 600,
  run: async ({ isFull, note }) => {
    const seconds = isFull ? secondsFull : secondsShort;
    const seed = Date.now() % 2 ** 31;
    const counts = { executions: 0, crashes: 0, hangs: 0, disagreements: 0 };
    const said: string[] = [];
    const wrong: string[] = [];
    for (const { name, share } of fuzzers) {
      const seen = await runOne(name, { seconds: seconds * share, seed });
      counts.executions += seen.executions;
      said.push(`${name} ${seen.executions}`);
      note(`${name}: ${seen.executions} executions${seen.wrong === undefined ? "" : `, ${seen.wrong.kind}`}`);
      if (seen.wrong === undefined) continue;
      counts[seen.wrong.kind] += 1;
      wrong.push(`${name}: ${seen.wrong.detail}`);
    }
    const { executions, crashes, hangs, disagreements } = counts;
    const figure = `${executions} executions in ${seconds} s (${said.join(", ")}), seed ${seed}: ${crashes} crashes, ${hangs} hangs, ${disagreements} disagreements`;
    return wrong.length === 0 ? ok(figure) : failed(`${figure}\n${wrong.join("\n")}`);
  },
};

interface Seen {
  readonly executions: number;
  readonly wrong:
    | { readonly kind: "crashes" | "hangs" | "disagreements"; readonly detail: string }
    | undefined;
}

async function runOne(
  name: string,
  { seconds, seed }: { readonly seconds: number; readonly seed: number },
): Promise<Seen> {
  const script = join(repository, "test", "fuzz", "fuzz.ts");
  await using command = new RunningCommand(process.execPath, [script, String(seconds), String(seed), name]);
  try {
    await command.ended((seconds + graceSeconds) * 1000);
  } catch {
    return { executions: 0, wrong: { kind: "hangs", detail: `seed ${seed}: ${command.tail()}` } };
  }
  const line = command.stdout.split("\n").find((one) => one.startsWith("{"));
  if (line === undefined)
    return { executions: 0, wrong: { kind: "crashes", detail: `seed ${seed}: ${command.tail()}` } };
  const { executions, found, isHang } = findingsSchema.parse(JSON.parse(line));
  const kind = isHang ? "hangs" : "disagreements";
  return { executions, wrong: found === undefined ? undefined : { kind, detail: found } };
}
