import { randomBytes } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { missingForPostgres, type PostgresMesh, postgresMesh } from "../../apparatus/postgres.ts";
import type { RunningCommand } from "../../apparatus/running-command.ts";
import { temporaryFolder } from "../../contracts/temporary-folder.ts";
import { type Claim, failed, ok, skipped } from "../claim.ts";

const rowsShort = 60_000;
const rowsFull = 1_000_000;
const idleMillisShort = 5_000;
const idleMillisFull = 120_000;
const endMillisMax = 60_000;

/** Its own server, psql and pgbench, which know nothing of the mesh. */
export const claim: Claim = {
  text: "PostgreSQL behind the mesh, by its own clients over two sidecars: queries, pgbench, COPY both ways with the same bytes back, a cancelled query, and a LISTEN connection that is heard after it was idle (--full: 110 MB, 2 minutes)",
  uses: [postgresMesh],
  run: async ({ isFull }) => {
    const missing = missingForPostgres();
    if (missing !== undefined) return skipped(missing);
    const database = await postgresMesh.get();
    const asked = await database.psql("-c", "SELECT count(*) FROM generate_series(1, 1000)");
    if (asked.stdout.trim() !== "1000") return failed(`a query: ${asked.stdout} ${asked.stderr}`);

    const idleMillis = isFull ? idleMillisFull : idleMillisShort;
    await using folder = await temporaryFolder();
    const signal = join(folder.path, "signal");
    await using listening = database.start("psql", "-X", "-q", ...listenUntil(signal));
    await listening.untilLine(/^listening/, endMillisMax);
    const silentSinceMillis = performance.now();
    const copied = await copyBothWays(database, isFull ? rowsFull : rowsShort);
    if (typeof copied === "string") return failed(copied);
    const rate = await bench(database);
    if (typeof rate === "string") return failed(rate);
    const cancelled = await cancelQuery(database);
    if (typeof cancelled === "string") return failed(cancelled);
    await sleep(Math.max(0, silentSinceMillis + idleMillis - performance.now()));
    const silentMillis = performance.now() - silentSinceMillis;
    const unheard = await notify(database, listening, signal);
    if (unheard !== undefined) return failed(unheard);
    return ok(
      `COPY of ${(copied.bytes / 1e6).toFixed(1)} MB in at ${copied.inRate} MB/s, out at ${copied.outRate} MB/s, equal; ` +
        `pgbench ${rate.transactions} transactions of 4 clients; a query cancelled after ${cancelled.millis.toFixed(0)} ms; ` +
        `a notification after ${(silentMillis / 1000).toFixed(0)} s of silence`,
    );
  },
};

/** Listens, says nothing to the server until a file is there, and shows what has come by then; `\\!` is for the shell. */
function listenUntil(file: string): string[] {
  const wait = `\\! while [ ! -e '${file}' ]; do sleep 0.1; done`;
  return ["LISTEN news", "\\! echo listening", wait, "SELECT 'awake'"].flatMap((command) => ["-c", command]);
}

/** What is wrong, where something is. */
async function copyBothWays(
  { psql }: PostgresMesh,
  rows: number,
): Promise<string | { readonly bytes: number; readonly inRate: string; readonly outRate: string }> {
  await using folder = await temporaryFolder();
  const [source, copy] = [join(folder.path, "source"), join(folder.path, "copy")];
  const lines = Array.from({ length: rows }, (_, place) => `${place}\t${randomBytes(48).toString("hex")}\n`);
  const text = lines.join("");
  writeFileSync(source, text);
  const created = await psql(
    "-c",
    "DROP TABLE IF EXISTS copied",
    "-c",
    "CREATE TABLE copied (id int, words text)",
  );
  if (created.code !== 0) return `CREATE TABLE: ${created.stderr}`;
  const into = await psql("-c", `\\copy copied FROM '${source}'`);
  if (into.code !== 0) return `COPY FROM: ${into.stderr}`;
  const outOf = await psql("-c", `\\copy (SELECT * FROM copied ORDER BY id) TO '${copy}'`);
  if (outOf.code !== 0) return `COPY TO: ${outOf.stderr}`;
  if (!readFileSync(copy).equals(Buffer.from(text)))
    return "COPY TO gave other bytes than COPY FROM was given";
  const rate = (millis: number): string => (text.length / 1000 / millis).toFixed(0);
  return { bytes: text.length, inRate: rate(into.millis), outRate: rate(outOf.millis) };
}

async function bench({ start }: PostgresMesh): Promise<string | { readonly transactions: number }> {
  for (const args of [
    ["-i", "-q", "-s", "1"],
    ["-n", "-c", "4", "-j", "2", "-t", "100"],
  ]) {
    await using running = start("pgbench", ...args);
    const { code, stdout, stderr } = await running.ended(endMillisMax);
    if (code !== 0) return `pgbench ${args.join(" ")}: ${stderr}`;
    const done = /actually processed: ([0-9]+)\/([0-9]+)/.exec(stdout);
    if (done !== null && done[1] === done[2]) return { transactions: Number(done[1]) };
  }
  return "pgbench did not process all transactions";
}

/** psql asks for it on a connection of its own, which has to reach the same server. */
async function cancelQuery({ start }: PostgresMesh): Promise<string | { readonly millis: number }> {
  await using running = start("psql", "-X", "-c", "\\! echo asking", "-c", "SELECT pg_sleep(50)");
  await running.untilLine(/^asking/, endMillisMax);
  await sleep(500);
  const atMillis = performance.now();
  running.kill("SIGINT");
  const { stderr } = await running.ended(endMillisMax);
  if (!stderr.includes("canceling statement due to user request")) return `no query was cancelled: ${stderr}`;
  return { millis: performance.now() - atMillis };
}

/** What is wrong, where something is. */
async function notify(
  { psql }: PostgresMesh,
  listening: RunningCommand,
  signal: string,
): Promise<string | undefined> {
  const sent = await psql("-c", "NOTIFY news, 'it is there'");
  if (sent.code !== 0) return `NOTIFY: ${sent.stderr}`;
  writeFileSync(signal, "");
  const { code, stdout, stderr } = await listening.ended(endMillisMax);
  return code === 0 && stdout.includes('notification "news" with payload "it is there"')
    ? undefined
    : `the listening connection heard nothing: ${code} ${stdout} ${stderr}`;
}
