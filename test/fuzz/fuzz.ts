/**
 * Runs the fuzzers one after the other, or the one that is named: `node test/fuzz/fuzz.ts [seconds] [seed] [name]`.
 * Prints a line of JSON for each, and ends with 1 where one found something.
 */
import { fuzzers } from "./fuzzers.ts";

const [seconds = "60", seed = String(Date.now() % 2 ** 31), name = ""] = process.argv.slice(2);
const chosen = fuzzers.filter((fuzzer) => name === "" || fuzzer.name === name);
const whole = chosen.reduce((sum, { share }) => sum + share, 0);
for (const fuzzer of chosen) {
  const millis = (Number(seconds) * 1000 * fuzzer.share) / whole;
  const { executions, found, isHang } = await fuzzer.run({ millis, seed: Number(seed) });
  console.log(JSON.stringify({ name: fuzzer.name, executions, found, isHang }));
  if (found !== undefined) process.exitCode = 1;
  // What hangs would keep this process, too.
  if (isHang) process.exit();
}
