import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { messageOf } from "../../src/base/mesh-error.ts";
import { killMarked } from "../apparatus/marked-processes.ts";
import type { SharedApparatus } from "../apparatus/shared-apparatus.ts";
import { type Claim, failed, type Outcome, type ProofContext } from "./claim.ts";

const limitSecondsDefault = 300;
const closeSecondsMax = 30;

const usage = `Run with:
  npm run prove -- TOPIC              the claims of a topic, one after the other
  npm run prove -- TOPIC --full       in their long form
  npm run prove -- TOPIC --only TEXT  those whose file or sentence has TEXT in it
  npm run prove -- TOPIC --except TEXT  all but those whose file begins with TEXT; may be said again
`;

/** A claim, and the name of the file that it lives in. */
interface FiledClaim {
  readonly name: string;
  readonly claim: Claim;
}

process.exitCode = await main();

async function main(): Promise<number> {
  const { positionals, values } = parseArgs({
    allowPositionals: true,
    options: {
      full: { type: "boolean", default: false },
      only: { type: "string", default: "" },
      except: { type: "string", multiple: true, default: [] },
    },
  });
  const [topic] = positionals;
  if (topic === undefined) return listTopics();
  if (!topics().includes(topic)) {
    process.stderr.write(`no topic is called ${topic}; there are: ${topics().join(", ")}\n`);
    return 2;
  }
  const wanted = values.only.toLowerCase();
  const claims = (await claimsOf(topic)).filter(
    ({ name, claim }) =>
      !values.except.some((text) => name.startsWith(text)) &&
      (name.includes(wanted) || claim.text.toLowerCase().includes(wanted)),
  );
  if (claims.length === 0) {
    process.stderr.write(`no claim of ${topic} has "${values.only}" in it\n`);
    return 2;
  }
  return prove(claims, values.full);
}

async function listTopics(): Promise<number> {
  for (const topic of topics()) {
    process.stdout.write(`${topic}\n`);
    for (const { name, claim } of await claimsOf(topic)) process.stdout.write(`  ${name}: ${claim.text}\n`);
  }
  process.stdout.write(`\n${usage}`);
  return 0;
}

/** The folders beside this file. */
function topics(): string[] {
  return readdirSync(import.meta.dirname, { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .map(({ name }) => name)
    .sort();
}

async function claimsOf(topic: string): Promise<FiledClaim[]> {
  const folder = join(import.meta.dirname, topic);
  const files = existsSync(folder) ? readdirSync(folder).filter((file) => file.endsWith(".ts")) : [];
  return Promise.all(
    files.sort().map(async (file) => {
      const module: { claim: Claim } = await import(join(folder, file));
      return { name: file.slice(0, -".ts".length), claim: module.claim };
    }),
  );
}

/** Runs the experiments one after the other; the exit code is 1 when a claim does not hold. */
async function prove(claims: readonly FiledClaim[], isFull: boolean): Promise<number> {
  const stopped = Promise.withResolvers<Outcome>();
  let hasStopped = false;
  for (const name of ["SIGINT", "SIGTERM", "SIGHUP"] as const)
    process.once(name, () => {
      hasStopped = true;
      stopped.resolve(failed(`stopped by ${name}`));
    });
  // However this process ends, nothing that it started stays.
  process.once("exit", () => killMarked());

  const counts = { ok: 0, failed: 0, skipped: 0 };
  let open: readonly SharedApparatus[] = [];
  for (const { name, claim } of claims) {
    if (hasStopped) break;
    open = await closeAllBut(open, claim.uses ?? []);
    const context: ProofContext = { isFull, note: (text) => process.stderr.write(`   ${name}: ${text}\n`) };
    const started = performance.now();
    const outcome = await Promise.race([judge(claim, context), stopped.promise]);
    context.note(`${((performance.now() - started) / 1000).toFixed(1)} s`);
    open = [...new Set([...open, ...(claim.uses ?? [])])];
    counts[outcome.verdict] += 1;
    const seen = outcome.verdict === "ok" ? outcome.figure : outcome.why;
    process.stdout.write(
      `${outcome.verdict === "failed" ? "FAILED" : outcome.verdict}  ${claim.text} - ${seen}\n`,
    );
  }
  await closeAllBut(open, []);
  killMarked();
  const mayNotSkip = process.env["TROTH_NO_SKIPS"] === "1";
  if (mayNotSkip && counts.skipped > 0) process.stdout.write("skipped claims count as failures here\n");
  const skips = counts.skipped > 0 ? `, ${counts.skipped} skipped` : "";
  process.stdout.write(`${counts.ok} passed, ${counts.failed} failed${skips}\n`);
  return counts.failed > 0 || (mayNotSkip && counts.skipped > 0) ? 1 : 0;
}

async function judge(claim: Claim, context: ProofContext): Promise<Outcome> {
  const { limitSeconds = limitSecondsDefault } = claim;
  try {
    const outcome = await within(limitSeconds, claim.run(context));
    if (outcome !== "too late") return outcome;
    // Whatever it still waits for has to end, so that it is not in the way of the next one.
    killMarked();
    return failed(`no verdict within ${limitSeconds} s`);
  } catch (error) {
    return failed(`the experiment broke: ${messageOf(error)}`);
  }
}

async function closeAllBut(
  open: readonly SharedApparatus[],
  kept: readonly SharedApparatus[],
): Promise<readonly SharedApparatus[]> {
  for (const shared of open.filter((one) => !kept.includes(one)))
    await within(closeSecondsMax, shared.close()).catch((error: unknown) =>
      process.stderr.write(`not closed: ${messageOf(error)}\n`),
    );
  return open.filter((one) => kept.includes(one));
}

async function within<Value>(seconds: number, promise: Promise<Value>): Promise<Value | "too late"> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<"too late">((resolve) => {
    timer = setTimeout(resolve, seconds * 1000, "too late" as const);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}
