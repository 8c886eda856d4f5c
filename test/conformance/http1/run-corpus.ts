import { setTimeout as sleep } from "node:timers/promises";
import type { GoHttp1Reader } from "../../apparatus/go-http1-reader.ts";
import type { Http1Ground } from "../../apparatus/http1-ground.ts";
import { disagreement } from "../../apparatus/http1-reading.ts";
import { finalStatuses, sendRaw } from "../../apparatus/raw-http1.ts";
import { type CorpusRow, chunked, sized } from "./corpus-row.ts";
import { judgeRow, type Sending } from "./judge-row.ts";
import { stalledRows } from "./stalled-rows.ts";

/** What came of rows that were sent in one way. */
export interface CorpusRun {
  /** Rows that were sent. */
  readonly sent: number;
  /** Rows that were not treated as they have to be, each with what was seen. */
  readonly wrong: readonly string[];
  /** Requests that reached the application, by llhttp's reading. */
  readonly reached: number;
  /** Where Go reads something else in what reached it than llhttp does. */
  readonly disagreements: readonly string[];
}

/** Sends rows, one after the other, and lets the readers compare what reached the application. */
export async function runCorpus(
  ground: Http1Ground,
  rows: readonly CorpusRow[],
  { sending, go }: { readonly sending: Sending; readonly go: GoHttp1Reader | undefined },
): Promise<CorpusRun> {
  const sendable = rows.filter((row) => sending.edge === "outbound" || row.isForEdgeOnly !== true);
  const wrong: string[] = [];
  for (const row of sendable)
    for (const complaint of await judgeRow(ground, row, sending)) wrong.push(`${row.name}: ${complaint}`);
  return { sent: sendable.length, wrong, ...(await compareReaders(ground, go)) };
}

async function compareReaders(
  { app }: Http1Ground,
  go: GoHttp1Reader | undefined,
): Promise<Pick<CorpusRun, "reached" | "disagreements">> {
  let reached = 0;
  const disagreements: string[] = [];
  for (const connection of await app.forget()) {
    reached += connection.messages.filter(({ isWhole }) => isWhole).length;
    if (connection.isRefused) disagreements.push("llhttp refuses what was passed on");
    if (go === undefined) continue;
    const other = disagreement(connection, await go.requestsIn(connection.bytes()));
    if (other !== undefined) disagreements.push(other);
  }
  return { reached, disagreements };
}

/** Sends messages that stop in their middle, lets the time run out, and answers with what was wrong about that. */
export async function runStalled(ground: Http1Ground): Promise<string[]> {
  const { app, caller } = ground;
  app.during = "stalled rows";
  const answers = stalledRows.map(async ({ name, bytes }) => {
    const sending = { pieces: [bytes], isEnded: false, waitMillisMax: 10_000 };
    return [name, await sendRaw(ground.at("outbound"), sending)] as const;
  });
  // Those that have a head get as far as the application, whose connections have to be open before time flies.
  const begun = stalledRows.filter(({ bytes }) => bytes.includes("\r\n\r\n")).length;
  const deadline = performance.now() + settleMillisMax;
  while (app.requests.length < begun && performance.now() < deadline) await sleep(pollMillis);
  await sleep(pollMillis);
  // More than any of a sidecar's timeouts for what a client sends, and than what it takes for a pause of its own.
  caller.clock.shiftMonotonic(61);
  const wrong: string[] = [];
  for (const answer of answers) {
    const [name, { text, end }] = await answer;
    const statuses = finalStatuses(text).join();
    if (statuses !== "408" || end === "open")
      wrong.push(`${name}: answered ${statuses || "nothing"}, ${end}`);
  }
  const whole = app.requests.filter(({ read }) => read().isWhole).length;
  if (whole > 0) wrong.push(`${whole} were completed for the application`);
  await app.forget();
  return wrong;
}

/** Whether a client is still waited for that has ended its side inside a body, of which the begin came pipelined. */
export async function isEndedClientAwaited(ground: Http1Ground): Promise<boolean> {
  const bytes = chunked("3\r\nabc\r\n0\r\n\r\n") + sized("Content-Length: 40000");
  const sending = { pieces: [bytes], isEnded: true, waitMillisMax: endedClientMillisMax };
  const { end } = await sendRaw(ground.at("outbound"), sending);
  await ground.app.forget();
  return end === "open";
}

const endedClientMillisMax = 2_000;
const settleMillisMax = 1_000;
const pollMillis = 50;
